/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Each backend against wolfCrypt as it is documented: every length around the block sizes, with and
 * without a tail byte.
 */
#include "net/aead.c"

#include <malloc.h>
#include <stdlib.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

#include "test.h"

enum { LEN_MAX = 16384 + 1 };

static const struct {
	enum aead_cipher cipher;
	unsigned key_len;
} ciphers[] = {
	{ AEAD_AES_128_GCM, 16 },
	{ AEAD_AES_256_GCM, 32 },
	{ AEAD_CHACHA20_POLY1305, 32 },
};

static uint8_t plain[LEN_MAX], want[LEN_MAX + AEAD_TAG], got[LEN_MAX + AEAD_TAG + 1];
static uint8_t key[32], nonce[AEAD_NONCE], aad[13];

static void fill(uint8_t *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (uint8_t)(seed >> 24);
	}
}

static void reference(enum aead_cipher c, unsigned key_len, size_t aad_len, const uint8_t *in,
		      size_t len, uint8_t *out)
{
	static Aes aes;

	if (c == AEAD_CHACHA20_POLY1305) {
		check_eq(wc_ChaCha20Poly1305_Encrypt(key, nonce, aad, (word32)aad_len, in,
						     (word32)len, out, out + len),
			 0);
		return;
	}
	check_eq(wc_AesInit(&aes, NULL, INVALID_DEVID), 0);
	check_eq(wc_AesGcmSetKey(&aes, key, key_len), 0);
	check_eq(wc_AesGcmEncrypt(&aes, out, in, (word32)len, nonce, AEAD_NONCE, out + len,
				  AEAD_TAG, aad, (word32)aad_len),
		 0);
	wc_AesFree(&aes);
}

/*
 * Seals plain[0..len) with and without a tail; both must be what wolfCrypt makes of it, and open.
 */
static void one_length(struct aead_engine *e, const struct aead_key *k, unsigned key_len,
		       size_t len, size_t aad_len)
{
	bool tail = len > 0;

	reference(k->cipher, key_len, aad_len, plain, len, want);
	got[len + AEAD_TAG] = 0xa5;
	aead_seal(e, k, nonce, aad, aad_len, plain, len, -1, got);
	check_mem(got, want, len + AEAD_TAG);
	check_eq(got[len + AEAD_TAG], 0xa5);
	if (tail) {
		aead_seal(e, k, nonce, aad, aad_len, plain, len - 1, plain[len - 1], got);
		check_mem(got, want, len + AEAD_TAG);
		check_eq(got[len + AEAD_TAG], 0xa5);
	}
	/* In place, as the record layer opens. */
	check(aead_open(e, k, nonce, aad, aad_len, got, len, got));
	check_mem(got, plain, len);
}

static void all_lengths(struct aead_engine *e)
{
	struct aead_key k;

	for (unsigned c = 0; c < countof(ciphers); c++) {
		fill(key, sizeof(key), c);
		aead_key_init(&k, e, ciphers[c].cipher, key);
		for (size_t len = 0; len <= 1100; len++) {
			fill(nonce, sizeof(nonce), (uint32_t)len);
			fill(aad, sizeof(aad), (uint32_t)len + 7);
			one_length(e, &k, ciphers[c].key_len, len, len % 2 ? 5 : 13);
		}
		for (size_t len = 4090; len <= 4102; len++)
			one_length(e, &k, ciphers[c].key_len, len, 5);
		for (size_t len = LEN_MAX - 40; len <= LEN_MAX; len++)
			one_length(e, &k, ciphers[c].key_len, len, 5);
		aead_key_fini(&k);
		check(!aead_key_is_set(&k));
	}
}

/* run() with an engine of each backend. */
static void with_each(void (*run)(struct aead_engine *e))
{
	for (unsigned i = 0; i < BACKENDS; i++) {
		struct aead_engine *e = aead_engine_of(backends[i]);

		require(e);
		printf("# %s\n", aead_engine_name(e, AEAD_AES_128_GCM));
		run(e);
		aead_engine_free(e);
	}
}

TEST(aead_equals_wolfcrypt_at_all_lengths)
{
	fill(plain, sizeof(plain), 1);
	with_each(all_lengths);
}

TEST(aead_the_quickest_backend_is_taken_for_each_cipher)
{
	struct aead_engine *e = aead_engine_new();

	require(e);
	for (unsigned c = 0; c < AEAD_CIPHERS; c++) {
		printf("# %u: %s %.0f MB/s\n", c, aead_engine_name(e, ciphers[c].cipher),
		       aead_engine_rate(ciphers[c].cipher) / 1e6);
		check(best.rate[c] > 0);
		check(e->choice[c] == best.backend[c]);
	}
	aead_engine_free(e);
}

/* Each as if it were alone; what has been wiped is found nowhere. */
static void used_in_turn(struct aead_engine *e)
{
	enum { KEYS = 6, LEN = 100 };
	void *state = e->state[e->choice[0]];
	static uint8_t raw[KEYS][AEAD_KEY_MAX], sealed[KEYS][LEN + AEAD_TAG];
	struct aead_key k[KEYS];

	for (unsigned i = 0; i < KEYS; i++) {
		fill(raw[i], sizeof(raw[i]), 100 + i);
		aead_key_init(&k[i], e, ciphers[i % countof(ciphers)].cipher, raw[i]);
		aead_seal(e, &k[i], nonce, aad, 5, plain, LEN, -1, sealed[i]);
	}
	for (unsigned i = 0; i < 50; i++) {
		unsigned n = i * 7 % KEYS;

		aead_seal(e, &k[n], nonce, aad, 5, plain, LEN, -1, got);
		check_mem(got, sealed[n], LEN + AEAD_TAG);
		n = i * 5 % KEYS;
		check(aead_open(e, &k[n], nonce, aad, 5, sealed[n], LEN, got));
		check(!aead_open(e, &k[(n + 1) % KEYS], nonce, aad, 5, sealed[n], LEN, got));
	}
	for (unsigned i = 0; i < KEYS; i++) {
		aead_seal(e, &k[i], nonce, aad, 5, plain, LEN, -1, got);
		aead_key_fini(&k[i]);
		check(!memmem(state, malloc_usable_size(state), raw[i], 16));
		check(!memmem(&k[i], sizeof(k[i]), raw[i], 16));
	}
}

TEST(aead_keys_used_in_turn)
{
	with_each(used_in_turn);
}

static void forged(struct aead_engine *e)
{
	static const size_t lens[] = { 1, 16, 63, 1000, 16384 };
	struct aead_key k;

	for (unsigned c = 0; c < countof(ciphers); c++) {
		aead_key_init(&k, e, ciphers[c].cipher, key);
		for (unsigned i = 0; i < countof(lens); i++) {
			size_t len = lens[i];
			const size_t at[] = { 0, len / 2, len, len + AEAD_TAG - 1 };

			for (unsigned j = 0; j < countof(at); j++) {
				uint8_t sum = 0;

				aead_seal(e, &k, nonce, aad, 5, plain, len, -1, got);
				got[at[j]] ^= 0x80;
				check(!aead_open(e, &k, nonce, aad, 5, got, len, want));
				for (size_t n = 0; n < len; n++)
					sum |= want[n];
				check_eq(sum, 0);
			}
			aead_seal(e, &k, nonce, aad, 5, plain, len, -1, got);
			aad[0] ^= 1;
			check(!aead_open(e, &k, nonce, aad, 5, got, len, want));
			aad[0] ^= 1;
			nonce[11] ^= 1;
			check(!aead_open(e, &k, nonce, aad, 5, got, len, want));
			nonce[11] ^= 1;
			check(aead_open(e, &k, nonce, aad, 5, got, len, want));
		}
		aead_key_fini(&k);
	}
}

TEST(aead_forged_input_is_refused_and_wiped)
{
	with_each(forged);
}
