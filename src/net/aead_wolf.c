/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * wolfCrypt.  Its one-shot calls take one piece, so the inner type byte is put behind the plaintext
 * in <out> and sealed in place.
 */
#include "net/aead_backend.h"

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

struct wolf {
	struct slot seal;
	struct slot open;
};

static void *wolf_open(void)
{
	return calloc(1, sizeof(struct wolf));
}

static void slot_clear(struct slot *s)
{
	if (s->id != 0)
		wc_AesFree(&s->aes);
	explicit_bzero(s, sizeof(*s));
}

static void wolf_forget(void *state, uint64_t id)
{
	struct wolf *e = state;

	if (e->seal.id == id)
		slot_clear(&e->seal);
	if (e->open.id == id)
		slot_clear(&e->open);
}

static void wolf_close(void *state)
{
	struct wolf *e = state;

	if (!e)
		return;
	slot_clear(&e->seal);
	slot_clear(&e->open);
	free(e);
}

static const char *wolf_name(const void *state)
{
	(void)state;
	return "wolfcrypt";
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

static void wolf_seal(void *state, const struct aead_pass *p)
{
	struct wolf *e = state;
	const uint8_t *in = p->in;
	size_t len = p->len;
	int err;

	if (p->tail >= 0) {
		memmove(p->out, in, len);
		p->out[len++] = (uint8_t)p->tail;
		in = p->out;
	}
	if (p->key->cipher == AEAD_CHACHA20_POLY1305)
		err = wc_ChaCha20Poly1305_Encrypt(p->key->raw, p->nonce, p->aad, (word32)p->aad_len,
						  in, (word32)len, p->out, p->out + len);
	else
		err = wc_AesGcmEncrypt(aes_of(p->key, &e->seal), p->out, in, (word32)len, p->nonce,
				       AEAD_NONCE, p->out + len, AEAD_TAG, p->aad,
				       (word32)p->aad_len);
	assert(err == 0);
}

static bool wolf_unseal(void *state, const struct aead_pass *p)
{
	struct wolf *e = state;
	const uint8_t *tag = p->in + p->len;

	if (p->key->cipher == AEAD_CHACHA20_POLY1305)
		return wc_ChaCha20Poly1305_Decrypt(p->key->raw, p->nonce, p->aad,
						   (word32)p->aad_len, p->in, (word32)p->len, tag,
						   p->out) == 0;
	return wc_AesGcmDecrypt(aes_of(p->key, &e->open), p->out, p->in, (word32)p->len, p->nonce,
				AEAD_NONCE, tag, AEAD_TAG, p->aad, (word32)p->aad_len) == 0;
}

const struct aead_backend aead_wolfcrypt = {
	.open = wolf_open,
	.close = wolf_close,
	.name = wolf_name,
	.forget = wolf_forget,
	.seal = wolf_seal,
	.unseal = wolf_unseal,
};
