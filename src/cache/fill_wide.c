/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/fill_wide.h"

#include <errno.h>

#include "base/err.h"
#include "base/limits.h"
#include "cache/cache_private.h"
#include "cache/fill_private.h"
#include "cache/partial.h"

enum {
	/* A job of less costs more than it does; one of more keeps others from a helper. */
	WIDE_HASH_MIN = 1024 * 1024,
	WIDE_HASH_MAX = 8 * 1024 * 1024,
};

static void wide_hashed(struct job *job);
static void wide_hash_work(struct job *job);

bool fill_settle(struct fill *f)
{
	if (f->state == FILL_LOST)
		return false;
	assert(f->state == FILL_FLOWING);
	if (f->written < f->received) {
		fill_flush(f);
		return false;
	}
	assert(!op_busy(&f->file_op));
	fill_chunk_put(f, &f->chunk[f->filling]);
	return true;
}

void fill_widen(struct fill *f, uint64_t step)
{
	struct fill_wide *w = &f->wide;

	assert(f->state == FILL_FLOWING);
	assert(!w->on);
	assert(f->written == f->received);
	assert(f->size != BLOB_SIZE_UNKNOWN);
	assert(f->hashed == f->received);
	mill_leave(f);
	*w = (struct fill_wide){
		.on = true,
		.hashed = f->written,
		.job = { .work = wide_hash_work, .done = wide_hashed },
	};
	spread_begin(&w->spread, f->written, f->size, step);
}

bool fill_narrow(struct fill *f)
{
	struct fill_wide *w = &f->wide;

	if (f->state == FILL_LOST)
		return true;
	assert(f->state == FILL_FLOWING);
	assert(w->on);
	if (f->inflight > 0)
		return false;
	w->narrowing = true;
	fill_wide_hash(f);
	if (f->state == FILL_LOST)
		return true;
	if (w->busy)
		return false;
	assert(w->hashed == f->written);
	w->on = w->narrowing = false;
	mill_enter(f);
	return true;
}

/* ---- hashing ---- */

void fill_wide_hash(struct fill *f)
{
	struct fill_wide *w = &f->wide;
	uint64_t ahead = f->written - w->hashed;

	if (w->busy || ahead == 0 || (ahead < WIDE_HASH_MIN && !f->finish && !w->narrowing))
		return;
	w->mem = cache_chunk_get(f->cache);
	if (!w->mem) {
		fill_lose(f, &(struct blob_failure){ .err = -ENOMEM });
		return;
	}
	w->upto = w->hashed + (ahead < WIDE_HASH_MAX ? ahead : WIDE_HASH_MAX);
	w->busy = true;
	offload_submit(f->cache->helpers, f->loop, &w->job);
}

static void wide_hash_work(struct job *job)
{
	struct fill *f = container_of(job, struct fill, wide.job);
	struct fill_wide *w = &f->wide;

	w->err = partial_hash(f->fd, w->hashed, w->upto, w->mem, &f->hash);
}

static void wide_hashed(struct job *job)
{
	struct fill *f = container_of(job, struct fill, wide.job);
	struct fill_wide *w = &f->wide;
	struct digest unused;

	w->busy = false;
	cache_chunk_put(f->cache, w->mem);
	w->mem = NULL;
	loop_wake(f->loop, f->owner);
	if (f->state == FILL_LOST) {
		fill_hash_end(f, &unused);
		return;
	}
	if (w->err) {
		fill_lose_disk(f, "cannot read again what was written to", w->err);
		return;
	}
	w->hashed = w->upto;
	if (!f->finish || w->hashed < f->size) {
		if (f->finish)
			fill_limit(f);
		fill_wide_hash(f);
		return;
	}
	loop_timer_clear(f->loop, &f->stuck);
	fill_check(f);
}

/* ---- parts ---- */

static void part_end(struct fill_part *p)
{
	loop_timer_clear(p->fill->loop, &p->stuck);
	fill_chunk_put(p->fill, &p->chunk);
	if (p->st)
		spread_leave(p->st);
	p->st = NULL;
	p->left = false;
}

static void part_advance(struct fill *f)
{
	uint64_t prefix = spread_prefix(&f->wide.spread);

	if (prefix == f->written)
		return;
	f->received = f->written = prefix;
	blob_advance(f->blob, fill_avail(f));
	if (!f->job_busy)
		fill_save_due(f);
	fill_wide_hash(f);
}

static void part_write(struct fill_part *p)
{
	struct fill *f = p->fill;

	loop_timer_set(f->loop, &p->stuck, loop_now_ms(f->loop) + FILL_STUCK_MS);
	loop_write(f->loop, &p->op, f->fd, p->chunk.mem + p->chunk.head, buf_len(&p->chunk),
		   p->st->at);
}

static cold void part_stuck(struct timer *t)
{
	struct fill_part *p = container_of(t, struct fill_part, stuck);

	if (p->fill->state != FILL_LOST)
		fill_lose_stuck(p->fill);
}

static void part_wrote(struct op *op, int res)
{
	struct fill_part *p = container_of(op, struct fill_part, op);
	struct fill *f = p->fill;

	loop_wake(f->loop, f->owner);
	if (f->state == FILL_LOST) {
		part_end(p);
		return;
	}
	if (res <= 0) {
		part_end(p);
		fill_lose_disk(f, "cannot write", res < 0 ? res : -EIO);
		return;
	}
	loop_timer_clear(f->loop, &p->stuck);
	buf_take(&p->chunk, (size_t)res);
	spread_wrote(p->st, (uint64_t)res);
	if (buf_len(&p->chunk) > 0) {
		part_write(p);
	} else {
		fill_chunk_put(f, &p->chunk);
		if (p->left)
			part_end(p);
	}
	part_advance(f);
}

void fill_part_init(struct fill_part *p, struct fill *f)
{
	*p = (struct fill_part){ .fill = f };
	op_init(&p->op, &f->inflight, part_wrote);
	timer_init(&p->stuck, part_stuck);
}

bool fill_part_begin(struct fill_part *p)
{
	if (p->fill->state != FILL_FLOWING || op_busy(&p->op))
		return false;
	assert(!p->st);
	p->st = spread_take(&p->fill->wide.spread);
	return p->st != NULL;
}

bool fill_part_follow(struct fill_part *p)
{
	assert(fill_part_is_written(p));
	p->st = spread_follow(&p->fill->wide.spread, p->st);
	return p->st != NULL;
}

struct buf *fill_part_room(struct fill_part *p)
{
	struct fill *f = p->fill;
	uint64_t left;

	if (f->state == FILL_LOST || op_busy(&p->op))
		return NULL;
	assert(f->state == FILL_FLOWING);
	left = p->st->end - fill_part_from(p);
	if (left == 0)
		return NULL;
	if (!p->chunk.mem) {
		char *mem = cache_chunk_get(f->cache);

		if (!mem) {
			fill_lose(f, &(struct blob_failure){ .err = -ENOMEM });
			return NULL;
		}
		buf_init(&p->chunk, mem, left < FILL_CHUNK ? (size_t)left : FILL_CHUNK);
	}
	assert(buf_room(&p->chunk) > 0);
	return &p->chunk;
}

void fill_part_added(struct fill_part *p, size_t bytes, bool flush)
{
	struct fill *f = p->fill;

	assert(bytes <= buf_len(&p->chunk));
	if (f->state == FILL_LOST || buf_len(&p->chunk) == 0)
		return;
	if (buf_room(&p->chunk) == 0 || (flush && spread_is_first(&f->wide.spread, p->st)))
		fill_part_flush(p);
}

void fill_part_flush(struct fill_part *p)
{
	if (p->fill->state != FILL_LOST && buf_len(&p->chunk) > 0 && !op_busy(&p->op))
		part_write(p);
}

void fill_part_leave(struct fill_part *p)
{
	if (op_busy(&p->op))
		p->left = true;
	else
		part_end(p);
}
