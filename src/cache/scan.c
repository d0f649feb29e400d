/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rebuilds the index at start, on a helper, while requests are served: a blob not seen yet is found
 * by its fill in FILL_DISK.  Files whose names are not ours are left alone.
 *
 * All entries are collected, then put in by last use, behind what was used since the start.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "cache/cache_private.h"

struct scan {
	struct cache *cache;
	struct blob **found;
	size_t count;
	size_t cap;
	unsigned strange; /* names that are not ours */
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
 * Access times are set by evict_touch(); a clock that was wrong once must not pin a blob for ever.
 */
static uint32_t scan_used_s(const struct stat *st)
{
	int64_t used_s = st->st_atime > st->st_mtime ? st->st_atime : st->st_mtime;
	uint32_t now_s = cache_now_s();

	if (used_s < 0)
		return 0;
	return used_s > (int64_t)now_s ? now_s : (uint32_t)used_s;
}

static void scan_add(struct scan *s, enum cache_kind kind, const struct digest *d, uint8_t type,
		     const struct stat *st)
{
	struct blob *b = scan_reserve(s) ? blob_new(kind, d, false) : NULL;

	if (!b) {
		s->short_of_memory = true;
		return;
	}
	blob_set_ready(b, -1, (uint64_t)st->st_size, type);
	b->used_s = scan_used_s(st);
	b->saved_s = b->used_s;
	s->found[s->count++] = b;
}

/* folder/<alg>/<two>: the files. */
static void scan_files(struct scan *s, enum cache_kind kind, enum digest_alg alg, const char *two,
		       const char *path)
{
	const struct store *store = &s->cache->store;
	DIR *dir = store_list(store, path);
	struct dirent *e;

	while (dir && !scan_is_over(s) && (e = readdir(dir))) {
		struct digest d;
		struct stat st;
		uint8_t type;

		if (e->d_name[0] == '.')
			continue;
		if (store_name_parse(store, kind, alg, two, e->d_name, &d, &type) &&
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			scan_add(s, kind, &d, type, &st);
		else
			s->strange++;
	}
	if (dir)
		closedir(dir);
}

/* folder/<alg>: the folders of two hex digits. */
static void scan_folders(struct scan *s, enum cache_kind kind, enum digest_alg alg)
{
	char path[STORE_PATH_MAX];
	DIR *dir;
	struct dirent *e;

	snprintf(path, sizeof(path), "%s/%s", store_kind_folder(kind), digest_alg_name(alg));
	dir = store_list(&s->cache->store, path);
	while (dir && !scan_is_over(s) && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		if (strlen(e->d_name) != 2) {
			s->strange++;
			continue;
		}
		snprintf(path, sizeof(path), "%s/%s/%.2s", store_kind_folder(kind),
			 digest_alg_name(alg), e->d_name);
		scan_files(s, kind, alg, e->d_name, path);
	}
	if (dir)
		closedir(dir);
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

	for (unsigned alg = DIGEST_SHA256; alg <= DIGEST_SHA512; alg++) {
		scan_folders(&s, CACHE_BLOB, (enum digest_alg)alg);
		scan_folders(&s, CACHE_MANIFEST, (enum digest_alg)alg);
	}
	tag_files_load(c, &s.strange);
	scan_publish(&s);
	__atomic_store_n(&c->scanning, false, __ATOMIC_RELEASE);
	if (s.short_of_memory)
		log_err("cache scan path=%s error=\"no memory for all of it\"", c->store.root);
	if (s.strange)
		log_warn("cache scan path=%s strange=%u note=\"files not ours are left alone\"",
			 c->store.root, s.strange);
	log_info("cache scan path=%s blobs=%zu bytes=%llu", c->store.root, s.count,
		 (unsigned long long)__atomic_load_n(&c->index.bytes, __ATOMIC_RELAXED));
}
