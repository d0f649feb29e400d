/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rebuilds the index at start, on a helper, while requests are served: a blob not seen yet is found
 * by its fill in FILL_DISK.  Files whose names are not ours are left alone.
 *
 * All entries are collected, then put in by last use, behind what was used since the start.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "cache/cache_private.h"

struct scan {
	struct cache *cache;
	struct blob **found;
	size_t count;
	size_t cap;
	bool short_of_memory;
};

static bool scan_is_over(const struct scan *s)
{
	return s->short_of_memory || __atomic_load_n(&s->cache->closing, __ATOMIC_RELAXED);
}

static bool scan_reserve(struct scan *s)
{
	size_t cap = s->cap ? 2 * s->cap : 1024;
	struct blob **bigger;

	if (s->count < s->cap)
		return true;
	bigger = realloc(s->found, cap * sizeof(struct blob *));
	if (!bigger)
		return false;
	s->found = bigger;
	s->cap = cap;
	return true;
}

/*
 * Access times are set by evict_touch() (modification times are the verifier's); a clock that was
 * wrong once must not pin a blob for ever.
 */
static uint32_t scan_used_s(const struct stat *st)
{
	int64_t used_s = st->st_atime;
	uint32_t now_s = cache_now_s();

	if (used_s < 0)
		return 0;
	return used_s > (int64_t)now_s ? now_s : (uint32_t)used_s;
}

static void scan_add(struct scan *s, const struct walk_file *f)
{
	struct blob *b = scan_reserve(s) ? blob_new(f->kind, &f->digest, false) : NULL;

	if (!b) {
		s->short_of_memory = true;
		return;
	}
	blob_set_ready(b, -1, (uint64_t)f->st.st_size, f->type);
	b->used_s = scan_used_s(&f->st);
	b->saved_s = b->used_s;
	s->found[s->count++] = b;
}

static int scan_later_first(const void *a, const void *b)
{
	const struct blob *one = *(struct blob *const *)a;
	const struct blob *two = *(struct blob *const *)b;

	return one->used_s < two->used_s ? 1 : one->used_s > two->used_s ? -1 : 0;
}

static void scan_publish(struct scan *s)
{
	if (s->count > 0)
		qsort(s->found, s->count, sizeof(struct blob *), scan_later_first);
	for (size_t i = 0; i < s->count; i++)
		if (!index_add_old(&s->cache->index, s->found[i]))
			blob_unref(s->found[i]);
	free(s->found);
}

void scan_run(struct cache *c)
{
	struct scan s = { .cache = c };
	struct walk w;
	struct walk_file f;

	walk_begin(&w, &c->store);
	while (!scan_is_over(&s) && walk_next(&w, &f))
		scan_add(&s, &f);
	walk_end(&w);
	tag_files_load(c, &w.strange);
	scan_publish(&s);
	__atomic_store_n(&c->scanning, false, __ATOMIC_RELEASE);
	if (s.short_of_memory)
		log_err("cache scan path=%s error=\"no memory for all of it\"", c->store.root);
	if (w.strange)
		log_warn("cache scan path=%s strange=%u note=\"files not ours are left alone\"",
			 c->store.root, w.strange);
	log_info("cache scan path=%s blobs=%zu bytes=%llu", c->store.root, s.count,
		 (unsigned long long)__atomic_load_n(&c->index.bytes, __ATOMIC_RELAXED));
}
