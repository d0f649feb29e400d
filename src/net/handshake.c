/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/handshake.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>

#include "base/err.h"
#include "base/limits.h"
#include "net/names.h"
#include "net/tls_ctx.h"

/*
 * Without it, wolfSSL would not show us a leaf that it is content with, and no name would be
 * checked.
 */
#ifndef WOLFSSL_ALWAYS_VERIFY_CB
#error wolfSSL must be built with WOLFSSL_ALWAYS_VERIFY_CB (see src/deps/wolfssl.sh)
#endif

/* Our longest flight is the certificate chain; ten certificates of 4 KiB are a long one. */
enum { OUT_MAX = 128 * 1024, OUT_FIRST = 4096 };

struct handshake {
	WOLFSSL *ssl;
	bool client;
	struct buf *raw;       /* during a run only */
	struct buf out;        /* malloc'ed */
	size_t offered;        /* of <out>, by the last handshake_out() */
	bool sent_ccs;         /* TLS 1.2: what we send now is encrypted */
	uint64_t last_nonce;   /* TLS 1.2 GCM: of our Finished */
	uint8_t secret[2][48]; /* TLS 1.3: the client's, the server's */
	int secret_len;
	bool verified;        /* client: chain and name are good */
	char *common;         /* server: of a good certificate of the client */
	const char *cert_why; /* the peer's certificate was refused, because */
	const char *why;
	char alert[32];
	char host[256]; /* client: whom we want */
};

static int on_read(WOLFSSL *ssl, char *mem, int len, void *ctx)
{
	struct handshake *h = ctx;
	size_t n = buf_len(h->raw);

	(void)ssl;
	if (n == 0)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	if (n > (size_t)len)
		n = (size_t)len;
	memcpy(mem, buf_data(h->raw).ptr, n);
	buf_take(h->raw, n);
	return (int)n;
}

static bool out_reserve(struct buf *out, size_t n)
{
	size_t cap = out->cap ? out->cap : OUT_FIRST;
	char *mem;

	while (cap < out->tail + n)
		cap *= 2;
	if (cap > OUT_MAX)
		return false;
	if (cap == out->cap)
		return true;
	mem = realloc(out->mem, cap);
	if (!mem)
		return false;
	out->mem = mem;
	out->cap = cap;
	return true;
}

/*
 * wolfSSL gives whole records.  In TLS 1.2 it starts the explicit nonce anywhere and tells nobody,
 * so it is read off our Finished: the first record behind our ChangeCipherSpec.
 */
static void watch_nonce(struct handshake *h, const uint8_t *p, size_t len)
{
	while (len >= TLS_HEADER + 8) {
		size_t n = TLS_HEADER + ((size_t)p[3] << 8 | p[4]);

		if (n > len)
			return;
		if (h->sent_ccs && p[0] == RECORD_HANDSHAKE)
			for (unsigned i = 0; i < 8; i++)
				h->last_nonce = h->last_nonce << 8 | p[TLS_HEADER + i];
		h->sent_ccs |= p[0] == RECORD_CCS;
		p += n;
		len -= n;
	}
}

static int on_write(WOLFSSL *ssl, char *mem, int len, void *ctx)
{
	struct handshake *h = ctx;
	size_t n = (size_t)len;

	(void)ssl;
	if (!out_reserve(&h->out, n))
		return WOLFSSL_CBIO_ERR_GENERAL;
	memcpy(buf_tail(&h->out), mem, n);
	buf_grew(&h->out, n);
	watch_nonce(h, (const uint8_t *)mem, n);
	return len;
}

static int on_secret(WOLFSSL *ssl, int id, const unsigned char *secret, int len, void *ctx)
{
	struct handshake *h = ctx;

	(void)ssl;
	if (id != CLIENT_TRAFFIC_SECRET && id != SERVER_TRAFFIC_SECRET)
		return 0;
	assert((size_t)len <= sizeof(h->secret[0]));
	memcpy(h->secret[id == SERVER_TRAFFIC_SECRET], secret, (size_t)len);
	h->secret_len = len;
	return 0;
}

static const char *cert_error_text(int err)
{
	switch (err) {
	case ASN_AFTER_DATE_E: return "certificate expired";
	case ASN_BEFORE_DATE_E: return "certificate not yet valid";
	case ASN_NO_SIGNER_E: return "certificate of an unknown authority";
	case ASN_SELF_SIGNED_E: return "certificate is self-signed and not trusted";
	case ASN_SIG_CONFIRM_E: return "certificate has a wrong signature";
	}
	return wolfSSL_ERR_reason_error_string((unsigned long)err);
}

/* wolfSSL judges the chain, and calls this for a good leaf too; the name is judged here. */
static int on_verify(int ok, WOLFSSL_X509_STORE_CTX *store)
{
	struct handshake *h = store->userCtx;
	struct cert_names names;

	if (!ok) {
		h->cert_why = cert_error_text(store->error);
		return 0;
	}
	if (store->error_depth != 0)
		return 1;
	h->cert_why = "certificate cannot be read";
	if (names_init(&names, (struct slice){ (const char *)store->certs[0].buffer,
					       store->certs[0].length }) != 0)
		return 0;
	h->cert_why = names_cover(&names, slice_of(h->host)) ? NULL
							     : "certificate is for another name";
	names_fini(&names);
	h->verified = h->cert_why == NULL;
	return h->verified;
}

/* The same of a client's, where any name is good: what it may do is the owner's to say. */
static int on_verify_client(int ok, WOLFSSL_X509_STORE_CTX *store)
{
	struct handshake *h = store->userCtx;

	/* It is asked for, not demanded. */
	if (store->totalCerts == 0 || !store->certs || !store->certs[0].buffer)
		return 1;
	if (!ok) {
		h->cert_why = cert_error_text(store->error);
		return 0;
	}
	if (store->error_depth != 0)
		return 1;
	free(h->common);
	h->common = names_common(
		(struct slice){ (const char *)store->certs[0].buffer, store->certs[0].length });
	h->cert_why = h->common ? NULL : "certificate has no common name";
	return h->common != NULL;
}

static struct handshake *new_over(WOLFSSL_CTX *ctx)
{
	struct handshake *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->ssl = wolfSSL_new(ctx);
	if (!h->ssl) {
		free(h);
		return NULL;
	}
	wolfSSL_SSLSetIORecv(h->ssl, on_read);
	wolfSSL_SSLSetIOSend(h->ssl, on_write);
	wolfSSL_SetIOReadCtx(h->ssl, h);
	wolfSSL_SetIOWriteCtx(h->ssl, h);
	if (wolfSSL_set_tls13_secret_cb(h->ssl, on_secret, h) == WOLFSSL_SUCCESS)
		return h;
	handshake_free(h);
	return NULL;
}

/* A protocol that the peer does not know is no reason to fail: HTTP/1.1 is spoken without ALPN. */
static bool set_alpn(struct handshake *h, const char *list)
{
	char names[16];

	snprintf(names, sizeof(names), "%s", list);
	return wolfSSL_UseALPN(h->ssl, names, (unsigned)strlen(names),
			       WOLFSSL_ALPN_CONTINUE_ON_MISMATCH) == WOLFSSL_SUCCESS;
}

struct handshake *handshake_new_server(const struct tls_server *tls, const char *sni)
{
	struct handshake *h = new_over(tls_server_ctx(tls, slice_of(sni)));

	if (!h)
		return NULL;
	if (tls_server_asks(tls)) {
		wolfSSL_set_verify(h->ssl, WOLFSSL_VERIFY_PEER, on_verify_client);
		wolfSSL_SetCertCbCtx(h->ssl, h);
	}
	if (set_alpn(h, tls_server_has_h2(tls) ? "h2,http/1.1" : "http/1.1"))
		return h;
	handshake_free(h);
	return NULL;
}

static bool is_ip_literal(const char *host)
{
	uint8_t ip[16];

	return inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1;
}

struct handshake *handshake_new_client(const struct tls_client *tls, const char *host)
{
	struct handshake *h = new_over(tls_client_ctx(tls));
	size_t len = strlen(host);

	if (!h)
		return NULL;
	h->client = true;
	assert(len < sizeof(h->host));
	memcpy(h->host, host, len);
	wolfSSL_set_verify(h->ssl, WOLFSSL_VERIFY_PEER, on_verify);
	wolfSSL_SetCertCbCtx(h->ssl, h);
	if (set_alpn(h, "http/1.1") &&
	    (is_ip_literal(host) || wolfSSL_UseSNI(h->ssl, WOLFSSL_SNI_HOST_NAME, host,
						   (unsigned short)len) == WOLFSSL_SUCCESS))
		return h;
	handshake_free(h);
	return NULL;
}

void handshake_free(struct handshake *h)
{
	if (!h)
		return;
	wolfSSL_free(h->ssl);
	free(h->out.mem);
	free(h->common);
	explicit_bzero(h->secret, sizeof(h->secret));
	free(h);
}

static bool cipher_of(WOLFSSL *ssl, enum aead_cipher *c)
{
	switch (wolfSSL_GetBulkCipher(ssl)) {
	case wolfssl_aes_gcm:
		*c = wolfSSL_GetKeySize(ssl) == 16 ? AEAD_AES_128_GCM : AEAD_AES_256_GCM;
		return true;
	case wolfssl_chacha: *c = AEAD_CHACHA20_POLY1305; return true;
	}
	return false;
}

/* Keys of the direction that the client (or the server) writes. */
static void take_keys(struct handshake *h, struct record_keys *k, bool by_server)
{
	const unsigned char *key, *iv;

	if (k->minor == 4) {
		k->secret_len = (uint8_t)h->secret_len;
		memcpy(k->secret, h->secret[by_server], (size_t)h->secret_len);
		record_keys_derive(k);
		return;
	}
	key = by_server ? wolfSSL_GetServerWriteKey(h->ssl) : wolfSSL_GetClientWriteKey(h->ssl);
	iv = by_server ? wolfSSL_GetServerWriteIV(h->ssl) : wolfSSL_GetClientWriteIV(h->ssl);
	memcpy(k->key, key, (size_t)wolfSSL_GetKeySize(h->ssl));
	memcpy(k->iv, iv, k->cipher == AEAD_CHACHA20_POLY1305 ? 12 : 4);
}

static bool alpn_is_h2(WOLFSSL *ssl)
{
	unsigned short len = 0;
	char *name = NULL;

	return wolfSSL_ALPN_GetProtocol(ssl, &name, &len) == WOLFSSL_SUCCESS &&
	       slice_eq((struct slice){ name, len }, SLICE("h2"));
}

static int failed(struct handshake *h, int err, const char *why)
{
	h->why = why;
	return err;
}

static int take_end(struct handshake *h, struct handshake_end *end)
{
	word64 rx_seq = 0, tx_seq = 0;

	*end = (struct handshake_end){ 0 };
	end->tx.minor = wolfSSL_GetVersion(h->ssl) == WOLFSSL_TLSV1_3 ? 4 : 3;
	if (!cipher_of(h->ssl, &end->tx.cipher))
		return failed(h, ERR_TLS_HANDSHAKE, "cipher without a record layer");
	if (end->tx.minor == 4 && h->secret_len == 0)
		return failed(h, ERR_TLS_HANDSHAKE,
			      "no traffic secrets: wolfSSL was built without "
			      "HAVE_SECRET_CALLBACK");
	if (h->client && !h->verified)
		return failed(h, ERR_TLS_CERT, "no certificate was shown");
	end->rx = end->tx;
	/* Not error codes: they say whether the number is 0. */
	(void)wolfSSL_GetSequenceNumber(h->ssl, &tx_seq);
	(void)wolfSSL_GetPeerSequenceNumber(h->ssl, &rx_seq);
	end->tx.seq = tx_seq;
	end->rx.seq = rx_seq;
	take_keys(h, &end->tx, !h->client);
	take_keys(h, &end->rx, h->client);
	end->explicit_nonce = h->last_nonce + 1;
	end->h2 = alpn_is_h2(h->ssl);
	end->resumed = wolfSSL_session_reused(h->ssl) == 1;
	end->common = h->common;
	h->common = NULL;
	return 1;
}

static int judge_failure(struct handshake *h, int err)
{
	WOLFSSL_ALERT_HISTORY alerts;

	if (h->cert_why)
		return failed(h, ERR_TLS_CERT, h->cert_why);
	if (err == FATAL_ERROR && wolfSSL_get_alert_history(h->ssl, &alerts) == WOLFSSL_SUCCESS &&
	    alerts.last_rx.level == alert_fatal) {
		snprintf(h->alert, sizeof(h->alert), "alert %d", alerts.last_rx.code);
		return failed(h, ERR_TLS_ALERT, h->alert);
	}
	return failed(h, ERR_TLS_HANDSHAKE, wolfSSL_ERR_reason_error_string((unsigned long)err));
}

int handshake_run(struct handshake *h, struct buf *raw, struct handshake_end *end)
{
	int r;

	buf_take(&h->out, h->offered);
	h->offered = 0;
	h->raw = raw;
	r = h->client ? wolfSSL_connect(h->ssl) : wolfSSL_accept(h->ssl);
	h->raw = NULL;
	if (r == WOLFSSL_SUCCESS)
		return take_end(h, end);
	r = wolfSSL_get_error(h->ssl, r);
	return r == WOLFSSL_ERROR_WANT_READ ? 0 : judge_failure(h, r);
}

struct slice handshake_out(struct handshake *h)
{
	struct slice out = buf_data(&h->out);

	h->offered = out.len;
	return out;
}

const char *handshake_why(const struct handshake *h)
{
	return h->why ? h->why : "given up";
}
