/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What upstream has allowed to whom: one worker's positive answers, for mirrors with auth = client.
 * Knows no network: who asks is private.c.
 *
 * Invariants
 *  1. A grant is for one mirror and upstream, one value of Authorization, one repository and one
 *     digest, of the size that upstream told.  A grant for a repository alone would let whoever may
 *     read any repository have every cached blob whose digest he can guess.
 *  2. It ends with the token's life as far as that can be known, and after GATE_LIFE_MAX_MS at
 *     most: so long may what upstream has revoked be read.
 *  3. No secret is kept: keys are SHA-256 with a salt of this worker's own, compared in constant
 *     time.  A refusal is not kept at all.
 *  4. At most GATE_GRANTS; the one unused for longest goes first.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

enum {
	/* 80 B each; one for each blob of a hundred clients' images. */
	GATE_GRANTS = 8192,
	GATE_LIFE_MAX_MS = 5 * 60 * 1000,
	/* Where no end is told: no token lives shorter (distribution's token.md). */
	GATE_LIFE_MS = 60 * 1000,
};

struct gate;

struct gate_key {
	uint8_t bytes[32];
};

/* NULL: no memory, or no random salt. */
struct gate *gate_new(void) must_check;
void gate_free(struct gate *g);
/* <parts>: what the grant is for; no part can be taken for a piece of another. */
void gate_key_of(const struct gate *g, const struct slice *parts, unsigned count,
		 struct gate_key *out);
/* *bytes: what gate_add() was told. */
bool gate_has(struct gate *g, const struct gate_key *k, uint64_t now_ms,
	      uint64_t *bytes) must_check;
void gate_add(struct gate *g, const struct gate_key *k, uint64_t now_ms, uint64_t life_ms,
	      uint64_t bytes);

/*
 * How long upstream's yes to this Authorization may count, from the `exp` of a JWT; 0: not at all.
 * Nothing of it is believed but an earlier end.
 */
uint64_t gate_life_ms(struct slice authorization, int64_t now_s);
