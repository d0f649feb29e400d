/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * AES-GCM and ChaCha20-Poly1305 behind one face: wolfCrypt, and intel-ipsec-mb on x86-64.  Which of
 * the two is quicker depends on the CPU and the cipher (ipsec-mb 1.3: four times with AVX-512, 0.8
 * times for ChaCha20 without), so both are timed when the process makes its first engine.  One
 * engine per thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

enum aead_cipher { AEAD_AES_128_GCM, AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };

enum { AEAD_CIPHERS = AEAD_CHACHA20_POLY1305 + 1 };

enum { AEAD_TAG = 16, AEAD_NONCE = 12, AEAD_KEY_MAX = 32 };

struct aead_engine;

/*
 * A key.  Expanded it takes 1 KB, which most connections, being idle, need not have: the engine
 * expands it when it is used and was not the last one used, once for 64 KiB at most where there is
 * much to do.  No copies: _fini wipes this one and what the engine has of it.
 */
struct aead_key {
	struct aead_engine *engine; /* NULL: there is no key */
	enum aead_cipher cipher;
	uint64_t id; /* no other key of the engine has it */
	uint8_t raw[AEAD_KEY_MAX];
};

/* NULL: no memory.  The first takes 2 ms. */
struct aead_engine *aead_engine_new(void) must_check;
void aead_engine_free(struct aead_engine *e);
/* "ipsec-mb 1.3.0 avx512", for the log. */
const char *aead_engine_name(const struct aead_engine *e, enum aead_cipher c);
/* Bytes a second that it sealed in records of 16 KiB when it was chosen. */
double aead_engine_rate(enum aead_cipher c);

void aead_key_init(struct aead_key *k, struct aead_engine *e, enum aead_cipher c,
		   const uint8_t *key);
/* Before its engine goes. */
void aead_key_fini(struct aead_key *k);
static inline bool aead_key_is_set(const struct aead_key *k)
{
	return k->engine != NULL;
}
static inline size_t aead_key_bytes(enum aead_cipher c)
{
	return c == AEAD_AES_128_GCM ? 16 : AEAD_KEY_MAX;
}

/*
 * Encrypts in[0..len) and then the one byte <tail> if tail >= 0 (TLS 1.3's inner type) into <out>,
 * tag behind it.
 */
void aead_seal(struct aead_engine *e, const struct aead_key *k, const uint8_t nonce[AEAD_NONCE],
	       const uint8_t *aad, size_t aad_len, const uint8_t *in, size_t len, int tail,
	       uint8_t *out);
/* in[0..len) without the tag, which is at in + len.  false: forged; <out> is then wiped. */
bool aead_open(struct aead_engine *e, const struct aead_key *k, const uint8_t nonce[AEAD_NONCE],
	       const uint8_t *aad, size_t aad_len, const uint8_t *in, size_t len,
	       uint8_t *out) must_check;
