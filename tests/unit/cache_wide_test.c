/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A fill of several writers that come, go and leave at random: what readers see is right. */
#include "cache/fill_wide.h"

#include "cache_rig.h"

enum { PARTS = 5, LEN = 40 * FILL_CHUNK + 4321, ODD = 70 * 1000 };

enum mode { ALONE, SETTLING, WIDE, NARROWING, ALONE_AGAIN };

struct writer {
	struct task task;
	struct fill fill;
	struct fill_part parts[PARTS];
	struct loop *loop;
	struct stats stats;
	const char *body;
	enum mode mode;
	size_t widen_at, narrow_at; /* narrow_at 0: never */
	uint64_t step;
	size_t spoil; /* this byte is given wrong, by a part; 0: none */
	size_t kill_at;
	unsigned leaves;
	uint64_t seen; /* by a reader */
	bool done;
};

static struct rig r;
static struct loop *l;

static void writer_alone(struct writer *w, size_t until)
{
	struct fill *f = &w->fill;

	while (f->state == FILL_FLOWING && f->received < until) {
		size_t n = until - f->received < ODD ? until - f->received : ODD;
		struct buf *room = fill_room(f);

		if (!room)
			return;
		n = n < buf_room(room) ? n : buf_room(room);
		memcpy(buf_tail(room), w->body + f->received, n);
		buf_grew(room, n);
		fill_added(f, n);
	}
	if (f->state != FILL_FLOWING)
		return;
	if (w->mode == ALONE)
		w->mode = SETTLING;
	else
		fill_finish(f);
}

static void part_step(struct writer *w, struct fill_part *p)
{
	uint64_t from, n;
	struct buf *room;

	if (!p->st && !fill_part_begin(p))
		return;
	if (!op_busy(&p->op) && fill_part_is_written(p)) {
		if (rand() % 2 == 0 || !fill_part_follow(p))
			fill_part_leave(p);
		return;
	}
	if (rand() % 50 == 0) {
		fill_part_leave(p);
		w->leaves++;
		return;
	}
	room = fill_part_room(p);
	if (!room)
		return;
	from = fill_part_from(p);
	n = 1 + (uint64_t)rand() % ODD;
	if (n > buf_room(room))
		n = buf_room(room);
	memcpy(buf_tail(room), w->body + from, n);
	if (w->spoil && from <= w->spoil && w->spoil < from + n)
		buf_tail(room)[w->spoil - from] ^= 1;
	buf_grew(room, n);
	fill_part_added(p, n, rand() % 3 == 0);
}

static void writer_wide(struct writer *w)
{
	struct fill *f = &w->fill;

	if (w->narrow_at && f->written >= w->narrow_at) {
		w->mode = NARROWING;
		for (unsigned i = 0; i < PARTS; i++)
			fill_part_leave(&w->parts[i]);
		return;
	}
	if (w->kill_at && f->written >= w->kill_at)
		fill_fail(f, &(struct blob_failure){ .err = ERR_KILLED });
	for (unsigned i = 0; i < PARTS * 3 && f->state == FILL_FLOWING; i++)
		part_step(w, &w->parts[(unsigned)rand() % PARTS]);
	if (f->state == FILL_FLOWING && fill_wide_is_whole(f))
		fill_finish(f);
}

/* As any reader does: what is there must be right at any moment. */
static void reader_looks(struct writer *w)
{
	static char mem[LEN];
	struct blob_view v;
	uint64_t n;

	blob_look(w->fill.blob, &v);
	n = v.avail - w->seen;
	if (n == 0)
		return;
	check(v.avail > w->seen && (v.avail < LEN || w->fill.whole));
	check_eq(pread(v.fd, mem, n, (off_t)w->seen), (ssize_t)n);
	if (!w->spoil)
		check(memcmp(mem, w->body + w->seen, n) == 0);
	w->seen = v.avail;
}

static void writer_run(struct task *task)
{
	struct writer *w = container_of(task, struct writer, task);
	struct fill *f = &w->fill;

	if (w->done)
		return;
	if (f->state == FILL_ABSENT && fill_partial(f) > 0)
		fill_resume(f);
	else if (f->state == FILL_ABSENT)
		fill_open(f, LEN, 0);
	if (f->state == FILL_FLOWING && w->mode == ALONE)
		writer_alone(w, w->widen_at);
	if (f->state == FILL_FLOWING && w->mode == SETTLING && fill_settle(f)) {
		fill_widen(f, w->step);
		w->mode = WIDE;
	}
	if (f->state == FILL_FLOWING && w->mode == WIDE) {
		writer_wide(w);
		loop_wake(w->loop, &w->task);
	}
	if (f->state == FILL_FLOWING && w->mode == NARROWING && fill_narrow(f))
		w->mode = ALONE_AGAIN;
	if (f->state == FILL_FLOWING && w->mode == ALONE_AGAIN)
		writer_alone(w, LEN);
	reader_looks(w);
	if (!fill_is_over(f))
		return;
	for (unsigned i = 0; i < PARTS; i++)
		fill_part_leave(&w->parts[i]);
	if (!fill_close(f))
		return;
	w->done = true;
	loop_stop(w->loop);
}

static int go(struct writer *w, const char *body, const struct digest *d)
{
	struct blob *b;

	if (!check_eq(cache_get(r.cache, CACHE_BLOB, d, &b), CACHE_MISS))
		return -1;
	w->loop = l;
	w->body = body;
	task_init(&w->task, writer_run);
	fill_begin(&w->fill, r.cache, b, l, &w->stats, NULL, &w->task);
	for (unsigned i = 0; i < PARTS; i++)
		fill_part_init(&w->parts[i], &w->fill);
	rig_run(l);
	check(w->done);
	if (w->fill.err == 0)
		check(rig_body_is(b, body, LEN));
	blob_unref(b);
	return w->fill.err;
}

static bool begin(void)
{
	l = rig_loop();
	return l && rig_init(&r, NULL);
}

static void end(void)
{
	check_eq(loop_inflight(l), 0);
	check_eq(r.cache->chunks.out, 0);
	rig_fini(&r);
	loop_free(l);
}

TEST(wide_fills_are_published_whole)
{
	require(begin());
	for (unsigned seed = 1; seed <= 12; seed++) {
		struct writer w = { .widen_at = seed % 3 * FILL_CHUNK + seed,
				    .narrow_at = seed % 2 ? 0 : LEN / 2,
				    .step = FILL_CHUNK / 2 + seed * 77777 };
		struct digest d;
		char *body = body_make(seed, LEN, &d);

		srand(seed);
		check_eq(go(&w, body, &d), 0);
		check(w.leaves > 0);
		check(seed % 2 || w.mode == ALONE_AGAIN);
		free(body);
	}
	check_eq(rig_count(&r, "tmp"), 0);
	check_eq(rig_count(&r, "partial"), 0);
	end();
}

TEST(a_wrong_byte_of_one_part_is_found)
{
	struct writer w = { .widen_at = 1, .step = FILL_CHUNK, .spoil = LEN - FILL_CHUNK };
	struct digest d;
	char *body = body_make(77, LEN, &d);

	require(begin());
	srand(1);
	check_eq(go(&w, body, &d), ERR_DIGEST);
	check(w.seen < LEN);
	check_eq(rig_count(&r, "blobs/sha256"), 0);
	check_eq(rig_count(&r, "partial"), 0);
	free(body);
	end();
}

/* The journal names no byte behind which one is missing. */
TEST(what_was_given_up_wide_is_gone_on_with)
{
	struct writer w = { .widen_at = 1, .step = FILL_CHUNK, .kill_at = LEN / 2 };
	struct writer again = { .widen_at = LEN - 5, .step = FILL_CHUNK };
	struct digest d;
	char *body = body_make(78, LEN, &d);

	require(begin());
	srand(1);
	check_eq(go(&w, body, &d), ERR_KILLED);
	check_eq(rig_count(&r, "partial"), 2);
	rig_settle(&r); /* the lock goes with the last descriptor */
	srand(2);
	check_eq(go(&again, body, &d), 0);
	check_eq(again.stats.v[STAT_FILLS_RESUMED], 1);
	check_eq(rig_count(&r, "partial"), 0);
	free(body);
	end();
}
