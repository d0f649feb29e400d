/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which part of a file is written by whom, while several write it at once: the rest of it is cut
 * into stretches, which are taken in order, since readers want the beginning first.  Pure.
 *
 * Invariants
 *  1. A stretch has one writer at a time, and is written from its beginning to its end; one that is
 *     left is gone on with by the next who takes it.
 *  2. The prefix ends at the first byte that is not written, and never goes back.
 *  3. At most SPREAD_STRETCHES are begun and beyond the prefix: who is that far ahead waits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

/* Twice as many as there may be writers: a slow one does not stop the others at once. */
enum { SPREAD_STRETCHES = 32 };

struct stretch {
	uint64_t at; /* written up to here */
	uint64_t end;
	bool taken;
};

struct spread {
	uint64_t prefix;
	uint64_t next; /* from here on nothing is begun */
	uint64_t size;
	uint64_t step;  /* length of a stretch */
	unsigned first; /* of v, a ring */
	unsigned count;
	struct stretch v[SPREAD_STRETCHES];
};

/* The bytes before <from> are written. */
void spread_begin(struct spread *s, uint64_t from, uint64_t size, uint64_t step);
/*
 * The first stretch that nobody writes.  NULL: there is none, or too many are begun.  Good until
 * spread_leave().
 */
struct stretch *spread_take(struct spread *s) must_check;
/*
 * The one that follows on <st>, which is written whole and left for it: its writer has a stream
 * that goes on there, and passes by what another wrote of it.  NULL: somebody has it, or it is
 * written, or there is none.
 */
struct stretch *spread_follow(struct spread *s, struct stretch *st) must_check;
void spread_wrote(struct stretch *st, uint64_t bytes);
void spread_leave(struct stretch *st);
/* Where the prefix ends now. */
uint64_t spread_prefix(struct spread *s);
/* Does the prefix end in it? */
bool spread_is_first(const struct spread *s, const struct stretch *st);
