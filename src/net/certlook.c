/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/certlook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include "base/err.h"
#include "net/tls_ctx.h"

enum { CHAIN_MAX = 16, FILE_BYTES_MAX = 4 * 1024 * 1024 };

struct chain {
	DerBuffer *der[CHAIN_MAX];
	unsigned count;
};

static int read_file(const char *path, struct slice *out)
{
	char *mem = malloc(FILE_BYTES_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int err = fd < 0 ? -errno : mem ? 0 : -ENOMEM;
	size_t len = 0;
	ssize_t n = 1;

	while (err == 0 && n > 0 && len < FILE_BYTES_MAX) {
		n = read(fd, mem + len, FILE_BYTES_MAX - len);
		if (n < 0)
			err = -errno;
		else
			len += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	if (err < 0)
		free(mem);
	else
		*out = (struct slice){ mem, len };
	return err;
}

static void chain_free(struct chain *c)
{
	for (unsigned i = 0; i < c->count; i++)
		wc_FreeDer(&c->der[i]);
	c->count = 0;
}

static void chain_read(struct chain *c, struct slice text)
{
	struct slice block;

	while (c->count < CHAIN_MAX && tls_pem_next(&text, &block)) {
		if (wc_PemToDer((const uint8_t *)block.ptr, (long)block.len, CERT_TYPE,
				&c->der[c->count], NULL, NULL, NULL) != 0)
			return;
		c->count++;
	}
}

/* Was certificate <i> issued in the name of number <by>?  *not_before: of <i>. */
static bool issued_by(const struct chain *c, unsigned i, unsigned by, int64_t *not_before)
{
	DecodedCert a, b;
	bool is;

	wc_InitDecodedCert(&a, c->der[i]->buffer, c->der[i]->length, NULL);
	wc_InitDecodedCert(&b, c->der[by]->buffer, c->der[by]->length, NULL);
	is = wc_ParseCert(&a, CERT_TYPE, NO_VERIFY, NULL) == 0 &&
	     wc_ParseCert(&b, CERT_TYPE, NO_VERIFY, NULL) == 0 &&
	     memcmp(a.issuerHash, b.subjectHash, sizeof(a.issuerHash)) == 0;
	*not_before = names_time(a.beforeDate, a.beforeDateLen, 0);
	wc_FreeDecodedCert(&a);
	wc_FreeDecodedCert(&b);
	return is;
}

static bool is_verified(WOLFSSL_CERT_MANAGER *m, const DerBuffer *d)
{
	int r = wolfSSL_CertManagerVerifyBuffer(m, d->buffer, (long)d->length,
						WOLFSSL_FILETYPE_ASN1);

	/* What is too old or too new is told apart from what leads nowhere. */
	return r == WOLFSSL_SUCCESS || r == ASN_AFTER_DATE_E || r == ASN_BEFORE_DATE_E;
}

/* Roots that are of no use are left out, as net/tls.c does. */
static void load_roots(WOLFSSL_CERT_MANAGER *m)
{
	struct slice file, left, block;

	if (read_file(tls_bundle_path(), &file) < 0)
		return;
	for (left = file; tls_pem_next(&left, &block);)
		(void)wolfSSL_CertManagerLoadCABuffer(m, (const uint8_t *)block.ptr,
						      (long)block.len, WOLFSSL_FILETYPE_PEM);
	free((void *)(uintptr_t)file.ptr);
}

/* From the last one to the first: each that is verified is good for the one before it. */
static bool is_rooted(const struct chain *c)
{
	WOLFSSL_CERT_MANAGER *m = wolfSSL_CertManagerNew();
	bool ok;

	if (!m)
		return false;
	load_roots(m);
	for (unsigned i = c->count - 1; i > 0; i--)
		if (is_verified(m, c->der[i]))
			(void)wolfSSL_CertManagerLoadCABuffer(m, c->der[i]->buffer,
							      (long)c->der[i]->length,
							      WOLFSSL_FILETYPE_ASN1);
	ok = is_verified(m, c->der[0]);
	wolfSSL_CertManagerFree(m);
	return ok;
}

int cert_look(const char *path, struct cert_look *out)
{
	struct chain c = { 0 };
	struct slice text;
	int64_t ignored;
	int err = read_file(path, &text);

	*out = (struct cert_look){ 0 };
	if (err < 0)
		return err;
	chain_read(&c, text);
	free((void *)(uintptr_t)text.ptr);
	if (c.count == 0 || names_init(&out->names, (struct slice){ (char *)c.der[0]->buffer,
								    c.der[0]->length }) < 0) {
		chain_free(&c);
		return ERR_TLS_CERT;
	}
	out->count = c.count;
	out->self_issued = issued_by(&c, 0, 0, &out->not_before);
	for (unsigned i = 0; i + 1 < c.count && !out->gap; i++)
		if (!issued_by(&c, i, i + 1, &ignored))
			out->gap = i + 1;
	out->rooted = is_rooted(&c);
	chain_free(&c);
	return 0;
}

void cert_look_fini(struct cert_look *l)
{
	names_fini(&l->names);
}
