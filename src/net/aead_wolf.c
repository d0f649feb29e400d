/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * net/aead.h on wolfCrypt, where intel-ipsec-mb is not.
 *
 * wolfCrypt's one-shot calls take one piece, so the inner type byte is put behind the plaintext in
 * <out> and sealed in place.
 */
#include "net/aead.h"

#if !defined(__x86_64__) || defined(AEAD_WOLFCRYPT)

#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

/* The AES key that was used last, expanded. */
struct slot {
	Aes aes;
	uint64_t id; /* 0: none */
};

struct aead_engine {
	struct slot seal;
	struct slot open;
	uint64_t ids;
};

struct aead_engine *aead_engine_new(void)
{
	return calloc(1, sizeof(struct aead_engine));
}

void aead_engine_free(struct aead_engine *e)
{
	free(e);
}

const char *aead_engine_name(const struct aead_engine *e)
{
	(void)e;
	return "wolfcrypt";
}

void aead_key_init(struct aead_key *k, struct aead_engine *e, enum aead_cipher c,
		   const uint8_t *key)
{
	*k = (struct aead_key){ .engine = e, .cipher = c, .id = ++e->ids };
	memcpy(k->raw, key, aead_key_bytes(c));
}

static void slot_clear(struct slot *s)
{
	if (s->id != 0)
		wc_AesFree(&s->aes);
	explicit_bzero(s, sizeof(*s));
}

void aead_key_fini(struct aead_key *k)
{
	if (!k->engine)
		return;
	if (k->engine->seal.id == k->id)
		slot_clear(&k->engine->seal);
	if (k->engine->open.id == k->id)
		slot_clear(&k->engine->open);
	explicit_bzero(k, sizeof(*k));
}

static Aes *aes_of(const struct aead_key *k, struct slot *s)
{
	if (s->id == k->id)
		return &s->aes;
	slot_clear(s);
	if (wc_AesInit(&s->aes, NULL, INVALID_DEVID) != 0 ||
	    wc_AesGcmSetKey(&s->aes, k->raw, (word32)aead_key_bytes(k->cipher)) != 0)
		unreachable("an AES key of a legal length");
	s->id = k->id;
	return &s->aes;
}

void aead_seal(struct aead_engine *e, const struct aead_key *k, const uint8_t nonce[AEAD_NONCE],
	       const uint8_t *aad, size_t aad_len, const uint8_t *in, size_t len, int tail,
	       uint8_t *out)
{
	int err;

	assert(k->engine == e);
	if (tail >= 0) {
		memmove(out, in, len);
		out[len++] = (uint8_t)tail;
		in = out;
	}
	if (k->cipher == AEAD_CHACHA20_POLY1305)
		err = wc_ChaCha20Poly1305_Encrypt(k->raw, nonce, aad, (word32)aad_len, in,
						  (word32)len, out, out + len);
	else
		err = wc_AesGcmEncrypt(aes_of(k, &e->seal), out, in, (word32)len, nonce, AEAD_NONCE,
				       out + len, AEAD_TAG, aad, (word32)aad_len);
	assert(err == 0);
}

bool aead_open(struct aead_engine *e, const struct aead_key *k, const uint8_t nonce[AEAD_NONCE],
	       const uint8_t *aad, size_t aad_len, const uint8_t *in, size_t len, uint8_t *out)
{
	int err;

	assert(k->engine == e);
	if (k->cipher == AEAD_CHACHA20_POLY1305)
		err = wc_ChaCha20Poly1305_Decrypt(k->raw, nonce, aad, (word32)aad_len, in,
						  (word32)len, in + len, out);
	else
		err = wc_AesGcmDecrypt(aes_of(k, &e->open), out, in, (word32)len, nonce, AEAD_NONCE,
				       in + len, AEAD_TAG, aad, (word32)aad_len);
	if (err == 0)
		return true;
	explicit_bzero(out, len);
	return false;
}

#endif
