/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/record.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/kdf.h>

#include "base/err.h"
#include "base/limits.h"

enum {
	MINOR_12 = 3,
	MINOR_13 = 4,
	EXPLICIT = 8, /* TLS 1.2 GCM: bytes of nonce in each record */
	SALT = 4,     /* and the implicit ones before it */
	AAD_12 = 13,
	INNER_TYPE = 1, /* TLS 1.3 */
};

/*
 * Records that one key may seal.  AES-GCM in 1.3: RFC 8446 5.5 says 2^24.5 full ones.  In 1.2,
 * where a key cannot be changed: 2^32 (NIST SP 800-38D 8.3).  ChaCha20 has no limit of practice.
 */
static uint64_t records_max(const struct record_keys *k)
{
	if (k->cipher == AEAD_CHACHA20_POLY1305)
		return (uint64_t)1 << 48;
	return (uint64_t)1 << (k->minor == MINOR_13 ? 24 : 32);
}

static bool has_explicit_nonce(const struct record_keys *k)
{
	return k->minor == MINOR_12 && k->cipher != AEAD_CHACHA20_POLY1305;
}

static void put_be16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put_be64(uint8_t *p, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* HKDF-Expand-Label(secret, label, "", len): RFC 8446 7.1. */
static void expand(const struct record_keys *k, const char *label, uint8_t *out, unsigned len)
{
	int hash = k->cipher == AEAD_AES_256_GCM ? WC_SHA384 : WC_SHA256;
	int err = wc_Tls13_HKDF_Expand_Label(out, len, k->secret, k->secret_len,
					     (const uint8_t *)"tls13 ", 6, (const uint8_t *)label,
					     (word32)strlen(label), NULL, 0, hash);

	assert(err == 0);
}

void record_keys_derive(struct record_keys *k)
{
	assert(k->minor == MINOR_13);
	assert(k->secret_len == (k->cipher == AEAD_AES_256_GCM ? 48 : 32));
	expand(k, "key", k->key, (unsigned)aead_key_bytes(k->cipher));
	expand(k, "iv", k->iv, sizeof(k->iv));
}

static void keys_update(struct record_keys *k)
{
	uint8_t next[sizeof(k->secret)];

	expand(k, "traffic upd", next, k->secret_len);
	memcpy(k->secret, next, k->secret_len);
	explicit_bzero(next, sizeof(next));
	record_keys_derive(k);
	k->seq = 0;
}

/* One copy of the key is enough; KeyUpdate makes the next from the secret. */
static void key_load(struct aead_key *key, struct record_keys *k, struct aead_engine *e)
{
	aead_key_init(key, e, k->cipher, k->key);
	explicit_bzero(k->key, sizeof(k->key));
}

void record_tx_init(struct record_tx *t, struct aead_engine *e, const struct record_keys *k)
{
	assert(k->minor == MINOR_12 || k->minor == MINOR_13);
	*t = (struct record_tx){ .k = *k, .explicit_nonce = k->seq };
	key_load(&t->key, &t->k, e);
}

void record_rx_init(struct record_rx *r, struct aead_engine *e, const struct record_keys *k)
{
	assert(k->minor == MINOR_12 || k->minor == MINOR_13);
	*r = (struct record_rx){ .k = *k };
	key_load(&r->key, &r->k, e);
}

void record_tx_fini(struct record_tx *t)
{
	aead_key_fini(&t->key);
	explicit_bzero(t, sizeof(*t));
}

void record_rx_fini(struct record_rx *r)
{
	aead_key_fini(&r->key);
	explicit_bzero(r, sizeof(*r));
}

void record_tx_update(struct record_tx *t, struct aead_engine *e)
{
	aead_key_fini(&t->key);
	keys_update(&t->k);
	key_load(&t->key, &t->k, e);
}

void record_rx_update(struct record_rx *r, struct aead_engine *e)
{
	aead_key_fini(&r->key);
	keys_update(&r->k);
	key_load(&r->key, &r->k, e);
}

bool record_tx_spent(const struct record_tx *t)
{
	return t->k.seq >= records_max(&t->k);
}

uint64_t record_tx_max(const struct record_tx *t)
{
	return records_max(&t->k);
}

size_t record_sealed_bytes(const struct record_tx *t, size_t len)
{
	size_t extra = t->k.minor == MINOR_13      ? (size_t)INNER_TYPE
		       : has_explicit_nonce(&t->k) ? (size_t)EXPLICIT
						   : 0;

	return TLS_HEADER + extra + len + AEAD_TAG;
}

/* RFC 8446 5.3, RFC 7905 2: the sequence number, xor'ed into the end of the IV. */
static void nonce_of_seq(const struct record_keys *k, uint8_t nonce[AEAD_NONCE])
{
	uint8_t seq[8];

	put_be64(seq, k->seq);
	memcpy(nonce, k->iv, AEAD_NONCE);
	for (unsigned i = 0; i < 8; i++)
		nonce[AEAD_NONCE - 8 + i] ^= seq[i];
}

/* RFC 5288 3. */
static void nonce_explicit(const struct record_keys *k, const uint8_t *explicit,
			   uint8_t nonce[AEAD_NONCE])
{
	memcpy(nonce, k->iv, SALT);
	memcpy(nonce + SALT, explicit, EXPLICIT);
}

/* RFC 5246 6.2.3.3. */
static void aad_12(const struct record_keys *k, unsigned type, size_t len, uint8_t aad[AAD_12])
{
	put_be64(aad, k->seq);
	aad[8] = (uint8_t)type;
	aad[9] = 3;
	aad[10] = 3;
	put_be16(aad + 11, len);
}

static void seal_12(struct record_tx *t, struct aead_engine *e, enum record_type type,
		    struct slice in, uint8_t *body)
{
	uint8_t nonce[AEAD_NONCE];
	uint8_t aad[AAD_12];

	if (has_explicit_nonce(&t->k)) {
		put_be64(body, t->explicit_nonce++);
		nonce_explicit(&t->k, body, nonce);
		body += EXPLICIT;
	} else {
		nonce_of_seq(&t->k, nonce);
	}
	aad_12(&t->k, type, in.len, aad);
	aead_seal(e, &t->key, nonce, aad, sizeof(aad), (const uint8_t *)in.ptr, in.len, -1, body);
}

size_t record_seal(struct record_tx *t, struct aead_engine *e, enum record_type type,
		   struct slice in, uint8_t *out)
{
	size_t bytes = record_sealed_bytes(t, in.len);
	uint8_t nonce[AEAD_NONCE];

	assert(in.len <= TLS_PLAIN_MAX);
	assert(t->k.seq < UINT64_MAX);
	out[0] = (uint8_t)(t->k.minor == MINOR_13 ? RECORD_DATA : type);
	out[1] = 3;
	out[2] = 3;
	put_be16(out + 3, bytes - TLS_HEADER);
	if (t->k.minor == MINOR_13) {
		nonce_of_seq(&t->k, nonce);
		aead_seal(e, &t->key, nonce, out, TLS_HEADER, (const uint8_t *)in.ptr, in.len,
			  (int)type, out + TLS_HEADER);
	} else {
		seal_12(t, e, type, in, out + TLS_HEADER);
	}
	t->k.seq++;
	return bytes;
}

int record_size(struct slice raw)
{
	const uint8_t *h = (const uint8_t *)raw.ptr;
	size_t len;

	if (raw.len < TLS_HEADER)
		return 0;
	len = (size_t)h[3] << 8 | h[4];
	if (h[0] < RECORD_CCS || h[0] > RECORD_DATA || h[1] != 3 || h[2] != 3)
		return ERR_TLS_RECORD;
	if (len == 0 || len > TLS_CIPHER_MAX)
		return ERR_TLS_RECORD;
	return (int)(TLS_HEADER + len);
}

/* Without the padding and the type; ERR_TLS_RECORD if there is no type. */
static int strip_padding(const uint8_t *inner, size_t len, unsigned *type)
{
	while (len > 0 && inner[len - 1] == 0)
		len--;
	if (len == 0)
		return ERR_TLS_RECORD;
	*type = inner[len - 1];
	return (int)(len - 1);
}

static int open_13(struct record_rx *r, struct aead_engine *e, const uint8_t *rec, size_t bytes,
		   uint8_t *out, unsigned *type)
{
	uint8_t nonce[AEAD_NONCE];
	size_t len;

	/* Change cipher spec and alerts in the clear belong to the handshake, which is over. */
	if (rec[0] != RECORD_DATA || bytes < TLS_HEADER + INNER_TYPE + AEAD_TAG)
		return ERR_TLS_RECORD;
	len = bytes - TLS_HEADER - AEAD_TAG;
	if (len > TLS_PLAIN_MAX + INNER_TYPE)
		return ERR_TLS_RECORD;
	nonce_of_seq(&r->k, nonce);
	if (!aead_open(e, &r->key, nonce, rec, TLS_HEADER, rec + TLS_HEADER, len, out))
		return ERR_TLS_RECORD;
	return strip_padding(out, len, type);
}

static int open_12(struct record_rx *r, struct aead_engine *e, const uint8_t *rec, size_t bytes,
		   uint8_t *out, unsigned *type)
{
	size_t extra = has_explicit_nonce(&r->k) ? EXPLICIT : 0;
	/* Engines work in place or apart; a shift by the nonce's eight bytes is neither. */
	uint8_t *dst = out == rec + TLS_HEADER ? out + extra : out;
	uint8_t nonce[AEAD_NONCE];
	uint8_t aad[AAD_12];
	size_t len;

	if (bytes < TLS_HEADER + extra + AEAD_TAG)
		return ERR_TLS_RECORD;
	len = bytes - TLS_HEADER - extra - AEAD_TAG;
	if (len > TLS_PLAIN_MAX)
		return ERR_TLS_RECORD;
	if (extra)
		nonce_explicit(&r->k, rec + TLS_HEADER, nonce);
	else
		nonce_of_seq(&r->k, nonce);
	aad_12(&r->k, rec[0], len, aad);
	if (!aead_open(e, &r->key, nonce, aad, sizeof(aad), rec + TLS_HEADER + extra, len, dst))
		return ERR_TLS_RECORD;
	if (dst != out)
		memmove(out, dst, len);
	*type = rec[0];
	return (int)len;
}

int record_open(struct record_rx *r, struct aead_engine *e, struct slice raw, uint8_t *out,
		enum record_type *type)
{
	const uint8_t *rec = (const uint8_t *)raw.ptr;
	unsigned t = 0;
	int len;

	assert(raw.len > TLS_HEADER);
	assert(raw.len <= TLS_RECORD_MAX);
	assert(r->k.seq < UINT64_MAX);
	len = r->k.minor == MINOR_13 ? open_13(r, e, rec, raw.len, out, &t)
				     : open_12(r, e, rec, raw.len, out, &t);
	if (len < 0)
		return len;
	r->k.seq++;
	*type = (enum record_type)t;
	switch (t) {
	case RECORD_DATA: return len;
	case RECORD_ALERT:
	case RECORD_HANDSHAKE:
		return len > 0 ? len : ERR_TLS_RECORD; /* RFC 8446 5.1: never empty */
	}
	return ERR_TLS_RECORD;
}
