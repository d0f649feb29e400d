/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * net/aead.h on wolfCrypt, where intel-ipsec-mb is not.
 *
 * wolfCrypt's one-shot calls take one piece, so the inner type byte is put behind the plaintext in
 * <out> and sealed in place.
 */
#include "net/aead.h"

#if !defined(__x86_64__) || defined(AEAD_WOLFCRYPT)

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

struct aead_engine {
	char unused;
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

/*
 * wolfCrypt's sealing calls change nothing in an expanded key, but their prototypes do not say
 * so.
 */
union sched {
	Aes aes;
	uint8_t chacha[CHACHA20_POLY1305_AEAD_KEYSIZE];
};

int aead_key_init(struct aead_key *k, struct aead_engine *e, enum aead_cipher c, const uint8_t *key)
{
	union sched *s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);

	(void)e;
	*k = (struct aead_key){ .cipher = c, .sched = s };
	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	if (c == AEAD_CHACHA20_POLY1305) {
		memcpy(s->chacha, key, sizeof(s->chacha));
		return 0;
	}
	if (wc_AesInit(&s->aes, NULL, INVALID_DEVID) == 0 &&
	    wc_AesGcmSetKey(&s->aes, key, c == AEAD_AES_128_GCM ? 16 : 32) == 0)
		return 0;
	aead_key_fini(k);
	return -ENOMEM;
}

void aead_key_fini(struct aead_key *k)
{
	union sched *s = k->sched;

	if (!s)
		return;
	if (k->cipher != AEAD_CHACHA20_POLY1305)
		wc_AesFree(&s->aes);
	explicit_bzero(s, sizeof(*s));
	free(s);
	k->sched = NULL;
}

void aead_seal(struct aead_engine *e, const struct aead_key *k, const uint8_t nonce[AEAD_NONCE],
	       const uint8_t *aad, size_t aad_len, const uint8_t *in, size_t len, int tail,
	       uint8_t *out)
{
	union sched *s = k->sched;
	int err;

	(void)e;
	assert(s != NULL);
	if (tail >= 0) {
		memmove(out, in, len);
		out[len++] = (uint8_t)tail;
		in = out;
	}
	if (k->cipher == AEAD_CHACHA20_POLY1305)
		err = wc_ChaCha20Poly1305_Encrypt(s->chacha, nonce, aad, (word32)aad_len, in,
						  (word32)len, out, out + len);
	else
		err = wc_AesGcmEncrypt(&s->aes, out, in, (word32)len, nonce, AEAD_NONCE, out + len,
				       AEAD_TAG, aad, (word32)aad_len);
	assert(err == 0);
}

bool aead_open(struct aead_engine *e, const struct aead_key *k, const uint8_t nonce[AEAD_NONCE],
	       const uint8_t *aad, size_t aad_len, const uint8_t *in, size_t len, uint8_t *out)
{
	union sched *s = k->sched;
	int err;

	(void)e;
	assert(s != NULL);
	if (k->cipher == AEAD_CHACHA20_POLY1305)
		err = wc_ChaCha20Poly1305_Decrypt(s->chacha, nonce, aad, (word32)aad_len, in,
						  (word32)len, in + len, out);
	else
		err = wc_AesGcmDecrypt(&s->aes, out, in, (word32)len, nonce, AEAD_NONCE, in + len,
				       AEAD_TAG, aad, (word32)aad_len);
	if (err == 0)
		return true;
	explicit_bzero(out, len);
	return false;
}

#endif
