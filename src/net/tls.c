/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One WOLFSSL_CTX for each certificate, shared by all workers: it is not changed once made, and
 * wolfSSL counts its references with a lock of its own.  Ticket keys live in it (wolfSSL makes
 * and changes them under a lock), so any worker resumes what another began, and a ticket of one
 * certificate is of no use at another.
 */
#include "net/tls_ctx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include "base/log.h"
#include "net/names.h"

static const char suites[] = "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:"
			     "TLS13-CHACHA20-POLY1305-SHA256:"
			     "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
			     "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
			     "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/* Where distributions keep the bundle of trust roots: Debian and most, Fedora, Alpine. */
static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/cert.pem",
};

enum { PEM_FILE_MAX = 4 * 1024 * 1024 };

struct tls_cert {
	WOLFSSL_CTX *ctx;
	struct cert_names names;
};

struct tls_server {
	unsigned refs; /* atomic */
	bool h2;
	bool asks;
	size_t count;
	struct tls_cert certs[];
};

struct tls_client {
	unsigned refs; /* atomic */
	WOLFSSL_CTX *ctx;
};

/* Where the sentence about a failure goes. */
struct reason {
	char *text;
	size_t len;
};

static int cold printf_like(2, 3) fail(struct reason why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why.text, why.len, fmt, ap);
	va_end(ap);
	return -1;
}

int tls_global_init(void)
{
	return wolfSSL_Init() == WOLFSSL_SUCCESS ? 0 : -ENOMEM;
}

void tls_global_fini(void)
{
	wolfSSL_Cleanup();
}

/* A whole file; free it by pem_free. */
struct pem {
	char *mem;
	size_t len;
};

static void pem_free(struct pem *p)
{
	if (p->mem)
		explicit_bzero(p->mem, p->len);
	free(p->mem);
	*p = (struct pem){ 0 };
}

static int pem_fill(struct pem *p, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > PEM_FILE_MAX)
		return -EINVAL;
	p->mem = malloc((size_t)st.st_size + 1);
	if (!p->mem)
		return -ENOMEM;
	while (p->len < (size_t)st.st_size) {
		ssize_t n = read(fd, p->mem + p->len, (size_t)st.st_size - p->len);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p->len += (size_t)n;
	}
	return 0;
}

static int pem_read(struct pem *p, const char *what, const char *path, struct reason why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int err = fd < 0 ? -errno : 0;

	*p = (struct pem){ 0 };
	if (fd >= 0) {
		err = pem_fill(p, fd);
		close(fd);
	}
	if (err == 0)
		return 0;
	pem_free(p);
	return fail(why, "%s %s cannot be read: %s", what, path, strerror(-err));
}

static const char *wolf_text(int err)
{
	return wolfSSL_ERR_reason_error_string((unsigned long)err);
}

/* What both roles have in common. */
static int ctx_setup(WOLFSSL_CTX *ctx, struct reason why)
{
	int groups[] = { WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1 };

	if (!ctx)
		return fail(why, "out of memory for a TLS context");
	if (wolfSSL_CTX_SetMinVersion(ctx, WOLFSSL_TLSV1_2) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_cipher_list(ctx, suites) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_groups(ctx, groups, countof(groups)) != WOLFSSL_SUCCESS)
		return fail(why, "this build of wolfSSL lacks a cipher suite or group that Sluice "
				 "needs: rebuild it with make");
	/* Tickets do without a cache, and the cache is a lock that all workers would share. */
	wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_OFF);
	return 0;
}

static int cert_names_load(struct tls_cert *c, const struct tls_cert_opts *o, const struct pem *p,
			   struct reason why)
{
	DerBuffer *der = NULL;
	int err = wc_PemToDer((const uint8_t *)p->mem, (long)p->len, CERT_TYPE, &der, NULL, NULL,
			      NULL);

	if (err == 0)
		err = names_init(&c->names,
				 (struct slice){ (const char *)der->buffer, der->length });
	wc_FreeDer(&der);
	if (err != 0)
		return fail(why,
			    "[certificate %s] chain %s does not begin with a certificate in PEM "
			    "form: put the server's own certificate first, then its issuers",
			    o->name, o->chain);
	if (c->names.not_after < time(NULL))
		log_warn("tls certificate=%s chain=%s state=expired advice=\"renew it\"", o->name,
			 o->chain);
	return 0;
}

static int cert_chain_load(struct tls_cert *c, const struct tls_cert_opts *o, struct reason why)
{
	struct pem p;
	int err;

	if (pem_read(&p, "certificate chain", o->chain, why) != 0)
		return -1;
	err = cert_names_load(c, o, &p, why);
	if (err == 0) {
		int r = wolfSSL_CTX_use_certificate_chain_buffer(c->ctx, (const uint8_t *)p.mem,
								 (long)p.len);

		if (r != WOLFSSL_SUCCESS)
			err = fail(why, "[certificate %s] chain %s is not usable: %s", o->name,
				   o->chain, wolf_text(r));
	}
	pem_free(&p);
	return err;
}

static int cert_key_load(struct tls_cert *c, const struct tls_cert_opts *o, struct reason why)
{
	struct pem p;
	int r;

	if (pem_read(&p, "private key", o->key, why) != 0)
		return -1;
	r = wolfSSL_CTX_use_PrivateKey_buffer(c->ctx, (const uint8_t *)p.mem, (long)p.len,
					      WOLFSSL_FILETYPE_PEM);
	pem_free(&p);
	if (r != WOLFSSL_SUCCESS)
		return fail(
			why,
			"[certificate %s] key %s is not a usable private key (RSA or ECDSA, PEM, "
			"without a pass phrase): %s",
			o->name, o->key, wolf_text(r));
	if (wolfSSL_CTX_check_private_key(c->ctx) != WOLFSSL_SUCCESS)
		return fail(why,
			    "[certificate %s] key %s does not belong to the first certificate of "
			    "chain %s: give the key that this certificate was made for",
			    o->name, o->key, o->chain);
	return 0;
}

static int cert_load(struct tls_cert *c, const struct tls_cert_opts *o, struct reason why)
{
	c->ctx = wolfSSL_CTX_new(wolfTLS_server_method());
	if (ctx_setup(c->ctx, why) != 0)
		return -1;
	if (cert_chain_load(c, o, why) != 0)
		return -1;
	return cert_key_load(c, o, why);
}

static void cert_fini(struct tls_cert *c)
{
	wolfSSL_CTX_free(c->ctx);
	names_fini(&c->names);
}

struct tls_server *tls_server_new(const struct tls_cert_opts *certs, size_t count, bool h2,
				  char *err, size_t err_len)
{
	struct tls_server *s = calloc(1, sizeof(*s) + count * sizeof(s->certs[0]));
	struct reason why = { err, err_len };

	assert(count > 0);
	if (!s) {
		fail(why, "out of memory for certificates");
		return NULL;
	}
	s->refs = 1;
	s->h2 = h2;
	s->count = count;
	for (size_t i = 0; i < count; i++) {
		if (cert_load(&s->certs[i], &certs[i], why) != 0) {
			tls_server_unref(s);
			return NULL;
		}
	}
	return s;
}

struct tls_server *tls_server_ref(struct tls_server *s)
{
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void tls_server_unref(struct tls_server *s)
{
	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (size_t i = 0; i < s->count; i++)
		cert_fini(&s->certs[i]);
	free(s);
}

static const struct tls_cert *cert_for(const struct tls_server *s, struct slice sni)
{
	for (size_t i = 0; i < s->count; i++)
		if (names_cover(&s->certs[i].names, sni))
			return &s->certs[i];
	return &s->certs[0];
}

struct WOLFSSL_CTX *tls_server_ctx(const struct tls_server *s, struct slice sni)
{
	return cert_for(s, sni)->ctx;
}

int64_t tls_server_expires(const struct tls_server *s, size_t i)
{
	assert(i < s->count);
	return s->certs[i].names.not_after;
}

bool tls_server_asks(const struct tls_server *s)
{
	return s->asks;
}

bool tls_server_has_h2(const struct tls_server *s)
{
	return s->h2;
}

/* SSL_CERT_FILE as OpenSSL and Go take it, else the system's. */
const char *tls_bundle_path(void)
{
	const char *path = getenv("SSL_CERT_FILE");

	if (path && path[0])
		return path;
	for (size_t i = 0; i < countof(bundles); i++)
		if (access(bundles[i], R_OK) == 0)
			return bundles[i];
	return bundles[0];
}

bool tls_pem_next(struct slice *left, struct slice *block)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	static const char end[] = "-----END CERTIFICATE-----";
	const char *from = memmem(left->ptr, left->len, begin, sizeof(begin) - 1);

	if (!from)
		return false;
	*left = slice_range(from, left->ptr + left->len);
	const char *to = memmem(from, left->len, end, sizeof(end) - 1);

	*block = to ? slice_range(from, to + sizeof(end) - 1) : *left;
	*left = slice_skip(*left, block->len);
	return true;
}

/*
 * A root of the system's bundle that cannot be used (expired, of an unknown kind) is left out; in a
 * file that the operator named, it is an error.
 */
static int roots_load(WOLFSSL_CTX *ctx, const char *path, bool strict, struct reason why)
{
	unsigned loaded = 0;
	int r = WOLFSSL_SUCCESS;
	struct slice left, block;
	struct pem p;

	if (pem_read(&p, "file of trust roots", path, why) != 0)
		return -1;
	left = (struct slice){ p.mem, p.len };
	while ((r == WOLFSSL_SUCCESS || !strict) && tls_pem_next(&left, &block)) {
		r = wolfSSL_CTX_load_verify_buffer(ctx, (const uint8_t *)block.ptr, (long)block.len,
						   WOLFSSL_FILETYPE_PEM);
		loaded += r == WOLFSSL_SUCCESS;
	}
	pem_free(&p);
	if (loaded > 0 && (r == WOLFSSL_SUCCESS || !strict))
		return 0;
	return fail(why, "file of trust roots %s %s: %s", path,
		    loaded ? "has a certificate that cannot be used"
			   : "holds no usable CA certificate",
		    r == WOLFSSL_SUCCESS ? "no certificate in PEM form in it" : wolf_text(r));
}

/* handshake.c says that it is wanted, and takes the name. */
bool tls_server_ask(struct tls_server *s, const char *client_ca, char *err, size_t err_len)
{
	struct reason why = { err, err_len };

	for (size_t i = 0; i < s->count; i++) {
		WOLFSSL_CTX *ctx = s->certs[i].ctx;

		if (roots_load(ctx, client_ca, true, why) != 0)
			return false;
		if (wolfSSL_CTX_no_ticket_TLSv13(ctx) != 0 ||
		    wolfSSL_CTX_NoTicketTLSv12(ctx) != WOLFSSL_SUCCESS) {
			fail(why, "this wolfSSL cannot do without tickets: rebuild it with make");
			return false;
		}
	}
	s->asks = true;
	return true;
}

struct tls_client *tls_client_new(const char *extra_ca, char *err, size_t err_len)
{
	struct tls_client *c = calloc(1, sizeof(*c));
	struct reason why = { err, err_len };

	if (!c) {
		fail(why, "out of memory for trust roots");
		return NULL;
	}
	c->refs = 1;
	c->ctx = wolfSSL_CTX_new(wolfTLS_client_method());
	if (ctx_setup(c->ctx, why) != 0 || roots_load(c->ctx, tls_bundle_path(), false, why) != 0 ||
	    (extra_ca && roots_load(c->ctx, extra_ca, true, why) != 0)) {
		tls_client_unref(c);
		return NULL;
	}
	return c;
}

struct tls_client *tls_client_ref(struct tls_client *c)
{
	__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
	return c;
}

void tls_client_unref(struct tls_client *c)
{
	if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	wolfSSL_CTX_free(c->ctx);
	free(c);
}

struct WOLFSSL_CTX *tls_client_ctx(const struct tls_client *c)
{
	return c->ctx;
}
