/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Hashes for the fills of one loop, several at once (digest_update_many): what came is not hashed
 * as it comes, but when a fill cannot wait any more, since its chunk goes back or its end is there.
 * The other fills are at about the same place then, and theirs costs little more.
 *
 * Invariants
 *  1. A chunk is hashed before its memory goes anywhere else, and all is before the digest counts.
 *  2. A fill is on the list while its hash is the loop's: not before its file is there, not while a
 *     helper hashes (fill_wide.h), not once it is lost.
 */
#pragma once

#include <stdint.h>

#include "base/list.h"

struct fill;

struct mill {
	struct list fills;
};

static inline void mill_init(struct mill *m)
{
	list_init(&m->fills);
}

/* <f> was hashed up to what was received.  Without a mill it is hashed alone. */
void mill_enter(struct fill *f);
/* Being out already is legal. */
void mill_leave(struct fill *f);
/* Hashes <f> at least up to <upto> bytes of the blob. */
void mill_run(struct fill *f, uint64_t upto);
