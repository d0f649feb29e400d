/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A keyed hash for tables whose keys come from outside: whoever does not know the seed cannot make
 * keys that meet in one chain.  Folded 128-bit products, eight bytes a step.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

struct hash_seed {
	uint64_t word[2];
};

static inline void hash_seed_make(struct hash_seed *s)
{
	ssize_t n = getrandom(s, sizeof(*s), 0);

	assert(n == (ssize_t)sizeof(*s)); /* never short up to 256 bytes; random(4) */
}

static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_bytes(const struct hash_seed *s, const void *mem, size_t len)
{
	const char *p = mem;
	uint64_t h = s->word[0] ^ len;
	uint64_t word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = hash_fold(h ^ word, s->word[1]) ^ s->word[0];
	}
	word = 0;
	memcpy(&word, p, len);
	return hash_fold(h ^ word, s->word[1] ^ 0x9e3779b97f4a7c15);
}
