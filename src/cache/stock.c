/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/stock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cache/cache_private.h"

int64_t cache_list(struct cache *c, struct cache_item **out)
{
	struct cache_item *all = NULL;
	size_t count = 0, cap = 0;

	*out = NULL;
	for (unsigned i = 0; i < INDEX_SHARDS; i++) {
		struct cache_item *more;

		/* With room for what comes meanwhile; what is more is too new to be told. */
		cap = count + index_count_of(&c->index, i) + 64;
		more = reallocarray(all, cap, sizeof(*all));
		if (!more) {
			free(all);
			return -ENOMEM;
		}
		all = more;
		count += index_copy(&c->index, i, all + count, cap - count);
	}
	*out = all;
	return (int64_t)count;
}

int cache_read(struct cache *c, const struct cache_item *item, char *mem, size_t cap)
{
	char path[STORE_PATH_MAX];
	struct digest d;
	uint64_t size;
	size_t got = 0;
	int fd;

	store_path(&c->store, item->kind, &item->digest, item->type, path);
	fd = store_open(&c->store, path, &size);
	if (fd < 0)
		return fd;
	while (size <= cap && got < size) {
		ssize_t n = pread(fd, mem + got, size - got, (off_t)got);

		if (n <= 0)
			break;
		got += (size_t)n;
	}
	close(fd);
	if (size > cap)
		return -EFBIG;
	if (got < size)
		return -EIO;
	digest_of((enum digest_alg)item->digest.alg, (struct slice){ mem, got }, &d);
	return digest_eq(&d, &item->digest) ? (int)got : ERR_DIGEST;
}

/* As an eviction: evict.c says what the order of these two means. */
bool cache_purge(struct cache *c, uint32_t kind, const struct digest *d)
{
	char path[STORE_PATH_MAX];
	struct blob *b = index_take(&c->index, kind, d);
	int err;

	if (!b)
		return false;
	store_path(&c->store, b->kind, &b->digest, b->type, path);
	err = store_remove(&c->store, path);
	if (err < 0 && err != -ENOENT)
		cache_fault(c, "cannot remove a file", path, err);
	blob_unref(b);
	return true;
}

bool cache_pin(struct cache *c, uint32_t kind, const struct digest *d, bool on)
{
	return index_pin(&c->index, kind, d, on);
}

void cache_hold(struct cache *c, bool on)
{
	__atomic_store_n(&c->held, on, __ATOMIC_RELAXED);
	if (!on)
		cache_house(c, HOUSE_EVICT);
}

int cache_note_read(struct cache *c, const char *name, char *mem, size_t cap)
{
	uint64_t size;
	int fd = store_open(&c->store, name, &size);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = size <= cap ? read(fd, mem, cap) : -1;
	close(fd);
	return n < 0 ? -EFBIG : (int)n;
}

int cache_note_write(struct cache *c, const char *name, struct slice text)
{
	return store_write_small(&c->store, name, text.ptr, text.len);
}

/* "<registry>/<repo...>/_tags/<tag>" */
static bool key_split(struct slice key, struct cache_tag *t)
{
	static const char mark[] = "/_tags/";
	const char *at = memmem(key.ptr, key.len, mark, sizeof(mark) - 1);

	if (!at)
		return false;
	t->repo = slice_range(key.ptr, at);
	t->registry = slice_cut(&t->repo, '/');
	t->tag = slice_range(at + sizeof(mark) - 1, key.ptr + key.len);
	return true;
}

bool cache_tags(struct cache *c, void (*each)(void *arg, const struct cache_tag *t), void *arg)
{
	struct tags_some some = { 0 };
	bool all = true;

	for (unsigned from = 0; from < TAG_BUCKETS && all; from += TAGS_SOME_BUCKETS) {
		all = tags_copy(&c->tags, from, &some);
		for (unsigned i = 0; i < some.count; i++) {
			struct cache_tag t = { .record = some.v[i].record };

			if (key_split((struct slice){ some.v[i].key, some.v[i].key_len }, &t))
				each(arg, &t);
		}
	}
	free(some.v);
	return all;
}
