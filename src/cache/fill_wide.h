/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A fill that several writers fill at once, each a stretch of its own (spread.h); for one that is
 * FLOWING and whose size is known.  Beginning and end are those of any fill.
 *
 *   fill_settle() until true, fill_widen(); then for each writer fill_part_begin(),
 *   fill_part_room/fill_part_added ... until fill_part_is_written(), again; fill_finish() when
 *   fill_wide_is_whole(), or fill_narrow() until true, and it goes on as before.
 *
 * Invariants
 *  1. Readers and the journal are told of the written prefix alone, as ever.  What is beyond it is
 *     forgotten by fill_narrow() and by a restart.
 *  2. The hash follows the prefix: a helper reads it again, from the page cache.
 *  3. A part holds one chunk of memory at most, and none while nothing flows: it takes no more
 *     while that is being written.
 */
#pragma once

#include "cache/fill.h"

/* One writer; lives in its owner.  Its op is counted by the fill: fill_close() waits for it. */
struct fill_part {
	struct fill *fill;
	struct stretch *st; /* NULL: it has none */
	struct op op;
	struct buf chunk;
	struct timer stuck; /* while that runs */
	bool left;          /* its stretch goes when the write has ended */
};

/* Has all been written that was added?  False: it will be, the owner is woken; or it is LOST. */
bool fill_settle(struct fill *f) must_check;
/* The rest of it in stretches of about <step> bytes. */
void fill_widen(struct fill *f, uint64_t step);
static inline bool fill_wide_is_whole(const struct fill *f)
{
	return f->wide.on && f->written == f->size;
}
/*
 * When every part was left: back to one writer, who goes on at f->received.  False: not yet, the
 * owner will be woken.
 */
bool fill_narrow(struct fill *f) must_check;

void fill_part_init(struct fill_part *p, struct fill *f);
/* Takes the first stretch that nobody has.  False: there is none now, or its write still runs. */
bool fill_part_begin(struct fill_part *p) must_check;
/* From one that is written to the one that follows on it.  False: it is not to be had. */
bool fill_part_follow(struct fill_part *p) must_check;
/* The next byte that it wants, and the one behind the last. */
static inline uint64_t fill_part_from(const struct fill_part *p)
{
	return p->st->at + buf_len(&p->chunk);
}
static inline uint64_t fill_part_end(const struct fill_part *p)
{
	return p->st->end;
}
static inline bool fill_part_is_written(const struct fill_part *p)
{
	return p->st->at == p->st->end;
}
/*
 * Where its next bytes go, never beyond its end.  NULL: it is being written, or has all, and the
 * owner will be woken; or the fill is LOST.  Good until the owner returns to the loop.
 */
struct buf *fill_part_room(struct fill_part *p);
/* <flush>: nothing more comes now; it is written if a reader could have it then. */
void fill_part_added(struct fill_part *p, size_t bytes, bool flush);
/* Writes what it has. */
void fill_part_flush(struct fill_part *p);
/* Gives up the stretch and what is not written of it.  In any state, also without one. */
void fill_part_leave(struct fill_part *p);
