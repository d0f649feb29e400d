/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Many readers and fillers on several loops over a few blobs in a cache that is too small: joins,
 * waits that are cancelled, fills that fail, evictions and closed files, all at once.
 */
#include "cache/blob.h"

#include "cache_rig.h"

enum {
	THREADS = 3,
	CLIENTS = 12, /* at once, on each */
	ROUNDS = 400, /* in all, on each */
	BODIES = 60,
	BODY_BYTES = 5 * FILL_CHUNK / 4 + 17,
};

struct worker;

struct client {
	struct task task;
	struct worker *worker;
	struct blob *blob;
	struct blob_waiter waiter;
	struct filler filler;
	const char *body;
	uint64_t off;
	bool reading;
	bool filling;
	bool cancel; /* stop waiting at the next turn */
};

struct worker {
	pthread_t thread;
	struct rig *rig;
	struct loop *loop;
	struct mill mill;
	unsigned seed;
	unsigned rounds;
	unsigned clients_busy;
	unsigned hits, joins, misses, failed, cancelled, late; /* late: the mail was faster */
	unsigned bad;
	struct client clients[CLIENTS];
};

static struct {
	char *mem;
	struct digest digest;
} bodies[BODIES];

static unsigned dice(struct worker *w, unsigned sides)
{
	w->seed = w->seed * 1103515245 + 12345;
	return (w->seed >> 16) % sides;
}

static void client_filled(struct filler *f)
{
	struct client *c = container_of(f, struct client, filler);

	c->filling = false;
	loop_wake(c->worker->loop, &c->task);
}

static void client_fill(struct client *c)
{
	struct worker *w = c->worker;

	c->filling = true;
	c->filler = (struct filler){
		.announced = dice(w, 3) ? BODY_BYTES : BLOB_SIZE_UNKNOWN,
		.flush = dice(w, 2),
		.mill = &w->mill,
		.stop_at = dice(w, 4) ? 0 : 1 + dice(w, BODY_BYTES),
		.step = 16 * 1024 - dice(w, 1000),
		.ended = client_filled,
	};
	filler_start(&c->filler, w->rig->cache, w->loop, c->blob, c->body, BODY_BYTES);
}

static void client_begin(struct client *c)
{
	struct worker *w = c->worker;
	unsigned which = dice(w, BODIES);

	c->body = bodies[which].mem;
	c->off = 0;
	c->cancel = false;
	c->reading = true;
	switch (cache_get(w->rig->cache, CACHE_BLOB, &bodies[which].digest, &c->blob)) {
	case CACHE_HIT: w->hits++; break;
	case CACHE_JOIN: w->joins++; break;
	case CACHE_MISS:
		w->misses++;
		client_fill(c);
		break;
	case CACHE_NONE: w->bad++; break;
	}
}

/* Reads what there is; true: nothing more to read, for better or worse. */
static bool client_read(struct client *c, const struct blob_view *v)
{
	static _Thread_local char mem[BODY_BYTES];
	struct worker *w = c->worker;

	if (v->avail > c->off) {
		size_t len = v->avail - c->off;

		if (pread(v->fd, mem, len, (off_t)c->off) != (ssize_t)len ||
		    memcmp(mem, c->body + c->off, len) != 0)
			w->bad++;
		c->off = v->avail;
	}
	if (v->state == BLOB_FAILED) {
		struct blob_failure why;

		blob_failure(c->blob, &why);
		w->bad += why.err != ERR_KILLED;
		w->failed++;
		return true;
	}
	return v->size == c->off;
}

static void client_wait(struct client *c)
{
	struct blob_view v;

	do {
		blob_look(c->blob, &v);
		c->reading = !client_read(c, &v);
	} while (c->reading && !blob_wait(c->blob, &c->waiter, &v));
	c->cancel = c->reading && dice(c->worker, 8) == 0;
	if (c->cancel)
		loop_wake(c->worker->loop, &c->task);
}

static void client_run(struct task *task)
{
	struct client *c = container_of(task, struct client, task);
	struct worker *w = c->worker;

	if (c->reading && c->cancel && c->waiter.waiting) {
		if (!blob_unwait(&c->waiter)) {
			w->late++;
			return;
		}
		w->cancelled++;
		c->reading = false;
	}
	if (c->reading && !c->waiter.waiting)
		client_wait(c);
	if (c->reading || c->filling)
		return;
	if (c->blob)
		blob_unref(c->blob);
	c->blob = NULL;
	if (w->rounds == 0) {
		if (--w->clients_busy == 0)
			loop_stop(w->loop);
		return;
	}
	w->rounds--;
	client_begin(c);
	loop_wake(w->loop, &c->task);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *c = &w->clients[i];

		c->worker = w;
		task_init(&c->task, client_run);
		blob_waiter_init(&c->waiter, w->loop, &c->task);
		loop_wake(w->loop, &c->task);
	}
	w->clients_busy = CLIENTS;
	loop_run(w->loop);
	return NULL;
}

TEST(blobs_shared_by_threads)
{
	struct cache_opts opts = { .size_bytes = 5 * BODY_BYTES, .fds_max = 2 };
	struct worker *workers = calloc(THREADS, sizeof(*workers));
	struct cache_totals totals;
	struct rig r;
	unsigned hits = 0, joins = 0, misses = 0, failed = 0, cancelled = 0, late = 0;

	require(rig_init(&r, &opts));
	for (unsigned i = 0; i < BODIES; i++)
		bodies[i].mem = body_make(i, BODY_BYTES, &bodies[i].digest);
	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];

		w->rig = &r;
		w->seed = i + 1;
		mill_init(&w->mill);
		w->rounds = ROUNDS;
		w->loop = rig_loop();
		require(w->loop);
		pthread_create(&w->thread, NULL, worker_main, w);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];

		pthread_join(w->thread, NULL);
		check_eq(w->bad, 0);
		check_eq(loop_inflight(w->loop), 0);
		hits += w->hits, joins += w->joins, misses += w->misses;
		failed += w->failed, cancelled += w->cancelled, late += w->late;
	}
	cache_house(r.cache, HOUSE_EVICT);
	rig_settle(&r);
	cache_totals(r.cache, &totals);
	printf("# hits %u joins %u misses %u failed %u cancelled %u late %u evictions %llu\n", hits,
	       joins, misses, failed, cancelled, late, (unsigned long long)totals.evictions);
	check(joins > 0 && misses > 0 && failed > 0 && cancelled > 0 && totals.evictions > 0);
	check(totals.bytes <= opts.size_bytes);
	check_eq(totals.errors, 0);
	check_eq(rig_count(&r, "tmp"), 0);
	rig_fini(&r);
	for (unsigned i = 0; i < THREADS; i++)
		loop_free(workers[i].loop);
	for (unsigned i = 0; i < BODIES; i++)
		free(bodies[i].mem);
	free(workers);
}

/* Everybody asks for one blob at once: one fill, and each gets the whole body. */
TEST(blob_filled_once_for_all)
{
	struct filler f = { 0 };
	struct blob_view v;
	struct digest d;
	struct rig r;
	struct loop *l = rig_loop();
	char *body = body_make(1, 1000, &d);
	struct blob *b, *joined[50];

	require(l && rig_init(&r, NULL));
	f.announced = 1000;
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, body, 1000);
	for (unsigned i = 0; i < countof(joined); i++)
		check_eq(cache_get(r.cache, CACHE_BLOB, &d, &joined[i]), CACHE_JOIN);
	check_eq(blob_readers(b), 51);
	check(!cache_peek(r.cache, CACHE_BLOB, &d));
	blob_look(b, &v);
	check_eq(v.state, BLOB_EMPTY);
	check_eq(v.fd, -1);
	check(v.size == BLOB_SIZE_UNKNOWN);
	rig_run(l);
	check_eq(f.stats.v[STAT_FILLS_OK], 1);
	for (unsigned i = 0; i < countof(joined); i++) {
		check(joined[i] == b);
		check(rig_body_is(joined[i], body, 1000));
		blob_unref(joined[i]);
	}
	check_eq(blob_readers(b), 1);
	blob_unref(b);
	free(body);
	rig_fini(&r);
	loop_free(l);
}
