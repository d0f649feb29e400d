/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verifies all files again and again, each once in `period_s`, at a bounded rate.  A step is a part
 * of the housekeeping job, once a second (cache_clock()), and takes no longer than reading and
 * hashing a second's worth of bytes: so no helper is held, and other housekeeping goes on.
 *
 * Where it was is not kept over a restart; what was verified is (verify.h), so nothing is read
 * twice.
 */
#include <errno.h>
#include <stdlib.h>

#include "cache/cache_private.h"

enum {
	SCRUB_NAMES_MAX = 4096,   /* looked at in one step */
	SCRUB_PAUSE_MAX_S = 3600, /* between two walks through the folders */
};

void scrub_init(struct scrub *s, const struct cache_opts *opts)
{
	*s = (struct scrub){
		.period_s = opts->scrub_s,
		.rate_bytes = opts->scrub_bytes,
	};
}

void scrub_fini(struct scrub *s)
{
	if (s->verifying)
		verify_end(&s->verify);
	walk_end(&s->walk);
	free(s->mem);
}

/* A time in the future was set by a clock that was wrong. */
static bool scrub_is_due(const struct scrub *s, const struct walk_file *f)
{
	int64_t age_s = (int64_t)cache_now_s() - f->st.st_mtime;

	return age_s < 0 || (uint64_t)age_s >= __atomic_load_n(&s->period_s, __ATOMIC_RELAXED);
}

static cold void scrub_found(struct cache *c, const char *path)
{
	const struct walk_file *f = &c->scrub.file;
	bool made;
	struct blob *b = index_get(&c->index, f->kind, &f->digest, cache_now_s(), false, &made);
	int err;

	if (b && blob_state(b) == BLOB_READY && b->type == f->type) {
		blob_damaged(b, -EUCLEAN);
		blob_unref(b);
		return;
	}
	if (b)
		blob_unref(b);
	err = quarantine_file(&c->store, path);
	if (err < 0)
		cache_fault(c, "cannot put a damaged file into quarantine", path, err);
}

static void scrub_verified(struct cache *c, enum verify_result r)
{
	char path[STORE_PATH_MAX];

	c->scrub.verifying = false;
	if (r == VERIFY_GOOD || r == VERIFY_DAMAGED)
		__atomic_fetch_add(&c->scrub.blobs, 1, __ATOMIC_RELAXED);
	if (r != VERIFY_DAMAGED)
		return;
	store_path(&c->store, c->scrub.file.kind, &c->scrub.file.digest, c->scrub.file.type, path);
	scrub_found(c, path);
}

/* Until the next walk: files come due meanwhile. */
static uint32_t scrub_pause_s(const struct scrub *s)
{
	uint64_t eighth_s = __atomic_load_n(&s->period_s, __ATOMIC_RELAXED) / 8;

	return 1 + (uint32_t)(eighth_s < SCRUB_PAUSE_MAX_S ? eighth_s : SCRUB_PAUSE_MAX_S);
}

/* The next file that is due.  False: none now. */
static bool scrub_next(struct cache *c, unsigned *names)
{
	struct scrub *s = &c->scrub;
	char path[STORE_PATH_MAX];
	enum verify_result r;

	while (++*names < SCRUB_NAMES_MAX) {
		if (!walk_next(&s->walk, &s->file)) {
			walk_end(&s->walk);
			s->walking = false;
			s->walk_s = cache_now_s() + scrub_pause_s(s);
			return false;
		}
		if (!scrub_is_due(s, &s->file))
			continue;
		store_path(&c->store, s->file.kind, &s->file.digest, s->file.type, path);
		r = verify_begin(&s->verify, &c->store, path, &s->file.digest);
		s->verifying = r == VERIFY_MORE;
		if (s->verifying)
			return true;
		scrub_verified(c, r);
	}
	return false;
}

void scrub_run(struct cache *c)
{
	struct scrub *s = &c->scrub;
	uint64_t read = 0;
	const uint64_t rate = __atomic_load_n(&s->rate_bytes, __ATOMIC_RELAXED);
	unsigned names = 0;

	if (!s->mem)
		s->mem = malloc(VERIFY_CHUNK);
	if (!s->mem || (!s->walking && cache_now_s() < s->walk_s))
		return;
	if (!s->walking)
		walk_begin(&s->walk, &c->store);
	s->walking = true;
	while (read < rate && !__atomic_load_n(&c->closing, __ATOMIC_RELAXED)) {
		uint64_t before;
		enum verify_result r;

		if (!s->verifying && !scrub_next(c, &names))
			break;
		before = s->verify.at;
		r = verify_step(&s->verify, s->mem);
		read += s->verify.at - before;
		if (r != VERIFY_MORE)
			scrub_verified(c, r);
	}
	__atomic_fetch_add(&s->bytes, read, __ATOMIC_RELAXED);
}
