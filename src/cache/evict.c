/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Keeps the cache within its size and the file system above its floor of free space, by last use;
 * and writes last use into the files' access times, so that the order outlives a restart.
 *
 * A blob leaves the index before its file is removed.  Who asks for it in between finds the file
 * (FILL_DISK) or publishes a new one, which is then removed: the entry is served from its open fd
 * and, once that is closed, found missing and fetched again.  Rare, and never wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "cache/cache_private.h"

/*
 * Taken once per run: many file systems give space back some time after the unlink, and waiting for
 * the number to rise would empty the cache.  The next run, soon, sees the rest.
 */
static uint64_t evict_need(struct cache *c)
{
	uint64_t bytes = __atomic_load_n(&c->index.bytes, __ATOMIC_RELAXED);
	uint64_t free_bytes = store_free_bytes(&c->store);
	uint64_t size = cache_size(c);
	uint64_t floor = __atomic_load_n(&c->free_bytes, __ATOMIC_RELAXED);
	uint64_t over = bytes > size ? bytes - size : 0;
	uint64_t lack = free_bytes < floor ? floor - free_bytes : 0;
	uint64_t want = __atomic_exchange_n(&c->disk.want_bytes, 0, __ATOMIC_RELAXED);

	lack = want > lack ? want : lack;
	return over > lack ? over : lack;
}

/* On a disk that cannot be written, leaving the index would give no space back. */
static bool evict_helps(struct cache *c)
{
	return disk_is_usable(c) || c->disk.err == -ENOSPC || c->disk.err == -EDQUOT;
}

/*
 * Another server on this folder has used it, more than an hour after we did, which is how exact
 * access times are.  Ours is what was written into it at most; a time to come is nobody's.
 */
static bool evict_is_used(struct cache *c, const struct blob *b, const char *path, uint32_t now_s)
{
	struct stat st;

	return fstatat(c->store.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_atime > (int64_t)b->used_s + CACHE_TOUCH_S && st.st_atime <= (int64_t)now_s;
}

/* False: it stays, as used now, so that it is not asked again in this run. */
static bool evict_blob(struct cache *c, struct blob *b)
{
	uint32_t now_s = cache_now_s();
	char path[STORE_PATH_MAX];
	int err;

	store_path(&c->store, b->kind, &b->digest, b->type, path);
	if (evict_is_used(c, b, path, now_s)) {
		if (!index_put_back(&c->index, b, now_s))
			blob_unref(b);
		return false;
	}
	err = store_remove(&c->store, path);
	if (err < 0 && err != -ENOENT)
		cache_fault(c, "cannot remove a file", path, err);
	__atomic_fetch_add(&c->evictions, 1, __ATOMIC_RELAXED);
	log_debug("cache evicted=%s bytes=%llu", path, (unsigned long long)b->size);
	blob_unref(b);
	return true;
}

static void evict_bytes(struct cache *c, uint64_t need)
{
	uint64_t gone = 0;
	struct blob *b;

	while (gone < need && !__atomic_load_n(&c->closing, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&c->held, __ATOMIC_RELAXED) && (b = index_take_oldest(&c->index))) {
		uint64_t bytes = b->size;

		if (evict_blob(c, b))
			gone += bytes;
	}
	/* Until it is looked at again, so that what was made room for once is not twice. */
	if (gone > 0 && __atomic_load_n(&c->disk.free_bytes, __ATOMIC_RELAXED) != UINT64_MAX)
		__atomic_fetch_add(&c->disk.free_bytes, gone, __ATOMIC_RELAXED);
}

void evict_run(struct cache *c)
{
	assert(!c->scanning);
	if (evict_helps(c))
		evict_bytes(c, evict_need(c));
}

/*
 * So that the sum of what is published never passes the bound, not even for a moment.  The order of
 * last use is not known before the scan has ended, and then evict_run() comes.
 */
void evict_for(struct cache *c, uint64_t bytes)
{
	uint64_t sum = __atomic_load_n(&c->index.bytes, __ATOMIC_RELAXED) + bytes;
	uint64_t size = cache_size(c);

	if (sum > size && !__atomic_load_n(&c->scanning, __ATOMIC_ACQUIRE))
		evict_bytes(c, sum - size);
}

void evict_touch(struct cache *c)
{
	enum { BATCH = 64 };
	uint32_t since_s = c->touched_s;

	c->touched_s = cache_now_s();
	for (unsigned shard = 0; shard < INDEX_SHARDS; shard++) {
		struct index_due due[BATCH];
		unsigned count;

		do {
			count = index_take_due(&c->index, shard, since_s, CACHE_TOUCH_S, due,
					       BATCH);
			for (unsigned i = 0; i < count; i++) {
				char path[STORE_PATH_MAX];

				store_path(&c->store, due[i].kind, &due[i].digest, due[i].type,
					   path);
				/* Evicted or deleted meanwhile: nothing lost. */
				store_touch(&c->store, path, due[i].used_s);
			}
		} while (count == BATCH);
	}
}
