/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A cache in a folder of its own, a loop, and an owner of fills that does what it is told. */
#pragma once

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "cache/cache_private.h"
#include "cache/fill.h"
#include "cache/tag.h"
#include "test.h"

enum { RIG_LIMIT_MS = 20 * 1000 };

static const char *const rig_suffixes[] = { NULL, "oci-index", "oci-manifest", "docker-manifest" };

struct rig {
	char dir[64];
	struct offload *helpers;
	struct cache *cache;
	struct cache_opts opts;
	char err[300];
};

static inline bool rig_open(struct rig *r)
{
	r->opts.path = r->dir;
	r->opts.helpers = r->helpers;
	r->opts.suffixes = rig_suffixes;
	r->opts.suffixes_count = countof(rig_suffixes);
	if (!r->opts.fds_max)
		r->opts.fds_max = 16;
	if (!r->opts.size_bytes)
		r->opts.size_bytes = 1 << 30;
	return check_eq(cache_open(&r->cache, &r->opts, r->err, sizeof(r->err)), 0);
}

static inline bool rig_init(struct rig *r, const struct cache_opts *opts)
{
	*r = (struct rig){ .dir = "/tmp/sluice-test-XXXXXX" };
	if (opts)
		r->opts = *opts;
	log_set_level(LOG_ERR);
	return check(mkdtemp(r->dir)) && check_eq(offload_new(&r->helpers, 2), 0) && rig_open(r);
}

/* Until the housekeeping job has nothing to do. */
static inline void rig_settle(struct rig *r)
{
	for (unsigned ms = 0; ms < RIG_LIMIT_MS; ms++) {
		bool busy;

		pthread_mutex_lock(&r->cache->jobs_lock);
		busy = r->cache->jobs > 0;
		pthread_mutex_unlock(&r->cache->jobs_lock);
		if (!busy)
			return;
		usleep(1000);
	}
	check(!"the cache's jobs ended in time");
}

static inline void rig_reopen(struct rig *r)
{
	cache_close(r->cache);
	if (rig_open(r))
		rig_settle(r);
}

static inline void rig_fini(struct rig *r)
{
	cache_close(r->cache);
	offload_free(r->helpers);
	test_remove(r->dir);
}

static inline void rig_path(const struct rig *r, const char *below, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s", r->dir, below);
}

static inline bool rig_has(const struct rig *r, const char *below)
{
	char path[PATH_MAX];

	rig_path(r, below, path);
	return access(path, F_OK) == 0;
}

static inline void rig_write(const struct rig *r, const char *below, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	rig_path(r, below, path);
	for (char *slash = strchr(path + strlen(r->dir) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	f = fopen(path, "w");
	if (check(f)) {
		fputs(text, f);
		fclose(f);
	}
}

/* How many names a folder has. */
static inline unsigned rig_count(const struct rig *r, const char *below)
{
	DIR *dir = store_list(&r->cache->store, below);
	struct dirent *e;
	unsigned count = 0;

	while (dir && (e = readdir(dir)))
		count += e->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

static inline void rig_blob_path(struct rig *r, uint32_t kind, const struct digest *d, uint8_t type,
				 char out[STORE_PATH_MAX])
{
	store_path(&r->cache->store, kind, d, type, out);
}

static inline void body_make_digest(const void *mem, size_t len, struct digest *d)
{
	struct digest_ctx ctx;

	digest_begin(&ctx, DIGEST_SHA256);
	digest_update(&ctx, mem, len);
	digest_end(&ctx, d);
}

/* The body number <seed>: bytes that differ everywhere. */
static inline char *body_make(unsigned seed, size_t len, struct digest *d)
{
	char *mem = malloc(len + 1);
	uint64_t x = seed * 0x9e3779b97f4a7c15 + 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 6364136223846793005 + 1442695040888963407;
		mem[i] = (char)(x >> 56);
	}
	body_make_digest(mem, len, d);
	return mem;
}

static inline struct loop *rig_loop(void)
{
	const struct loop_opts opts = { .entries = 64 };
	struct loop *l = NULL;
	const char *why;

	if (!check_eq(loop_new(&l, &opts, &why), 0))
		printf("# %s\n", why);
	return l;
}

/* The owner of one fill: gives the body in steps, and closes.  Its task runs on the loop. */
struct filler {
	struct task task;
	struct fill fill;
	struct loop *loop;
	struct cache *cache;
	struct stats stats;
	struct blob *blob; /* the reference from cache_get() */
	const char *body;
	size_t len; /* of the body; given up to here */
	size_t given;
	size_t step; /* bytes at a time */
	uint64_t announced;
	uint8_t type;
	size_t stop_at; /* fill_fail() when so much was given; 0: never */
	bool flush;
	struct mill *mill;
	bool hold; /* give no more for now */
	bool found;
	bool done;
	int err;                         /* 0, or why it was lost */
	void (*ended)(struct filler *f); /* may be NULL: stops the loop */
};

static inline void filler_give(struct filler *f)
{
	while (!f->hold && f->given < f->len && f->fill.state == FILL_FLOWING) {
		size_t n = f->len - f->given < f->step ? f->len - f->given : f->step;
		struct buf *room = fill_room(&f->fill);

		if (!room)
			return;
		n = n < buf_room(room) ? n : buf_room(room);
		memcpy(buf_tail(room), f->body + f->given, n);
		buf_grew(room, n);
		f->given += n;
		fill_added(&f->fill, n);
		if (f->flush)
			fill_flush(&f->fill);
		if (f->stop_at && f->given >= f->stop_at)
			fill_fail(&f->fill, &(struct blob_failure){ .err = ERR_KILLED });
	}
	if (!f->hold && f->given == f->len && f->fill.state == FILL_FLOWING)
		fill_finish(&f->fill);
}

static inline void filler_run(struct task *task)
{
	struct filler *f = container_of(task, struct filler, task);

	if (f->done)
		return;
	if (f->fill.state == FILL_ABSENT)
		fill_open(&f->fill, f->announced, f->type);
	if (f->fill.state == FILL_FLOWING)
		filler_give(f);
	if (f->fill.state != FILL_FOUND && f->fill.state != FILL_DONE && f->fill.state != FILL_LOST)
		return;
	f->err = f->fill.err;
	f->found = f->fill.state == FILL_FOUND;
	if (!fill_close(&f->fill))
		return;
	f->done = true;
	if (f->ended)
		f->ended(f);
	else
		loop_stop(f->loop);
}

/* After CACHE_MISS. */
static inline void filler_start(struct filler *f, struct cache *c, struct loop *l, struct blob *b,
				const char *body, size_t len)
{
	f->cache = c;
	f->loop = l;
	f->blob = b;
	f->body = body;
	f->len = len;
	if (!f->step)
		f->step = 16 * 1024;
	task_init(&f->task, filler_run);
	fill_begin(&f->fill, c, b, l, &f->stats, f->mill, &f->task);
}

struct rig_limit {
	struct timer timer;
	struct loop *loop;
	bool fired;
};

static inline void rig_limit_fired(struct timer *t)
{
	struct rig_limit *limit = container_of(t, struct rig_limit, timer);

	limit->fired = true;
	loop_stop(limit->loop);
}

/* Runs the loop until somebody stops it. */
static inline void rig_run(struct loop *l)
{
	struct rig_limit limit = { .loop = l };

	timer_init(&limit.timer, rig_limit_fired);
	loop_timer_set(l, &limit.timer, loop_now_ms(l) + RIG_LIMIT_MS);
	loop_run(l);
	loop_timer_clear(l, &limit.timer);
	check(!limit.fired);
}

/* Gets a blob that is not there, fills it, and gives the reference back.  The filler's err. */
static inline int rig_fill_of(struct rig *r, struct loop *l, const char *body, size_t len,
			      const struct digest *d, uint8_t type, uint32_t owner)
{
	struct filler f = { .announced = len, .type = type };
	uint32_t kind = type ? CACHE_MANIFEST : CACHE_BLOB;
	struct blob *b;

	if (!check_eq(cache_get(r->cache, owner | kind, d, &b), CACHE_MISS))
		return -1;
	filler_start(&f, r->cache, l, b, body, len);
	rig_run(l);
	blob_unref(b);
	return f.err;
}

static inline int rig_fill(struct rig *r, struct loop *l, const char *body, size_t len,
			   const struct digest *d, uint8_t type)
{
	return rig_fill_of(r, l, body, len, d, type, 0);
}

static inline bool rig_body_is(struct blob *b, const char *body, size_t len)
{
	struct blob_view v;
	char *mem = malloc(len + 1);
	bool same;

	blob_look(b, &v);
	same = v.avail == len && v.size == len && pread(v.fd, mem, len + 1, 0) == (ssize_t)len &&
	       memcmp(mem, body, len) == 0;
	free(mem);
	return same;
}
