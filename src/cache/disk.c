/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Can the disk be written?  A fill that fails says no; from then on nothing is filled, until a
 * probe on a helper has written a file again.  Also: is there room for one more blob.
 *
 *   usable --disk_failed()--> not usable --disk_probe()--> usable
 *
 * Said once for each of these moves.  A disk that fails again soon is tried less and less often.
 */
#include <errno.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "cache/cache_private.h"

void disk_init(struct cache *c)
{
	c->disk = (struct disk){
		.usable = true,
		.pause_s = CACHE_PROBE_MIN_S,
		.free_bytes = UINT64_MAX, /* not looked at yet */
	};
}

/* Of this process or of this one file: the next fill may well succeed. */
static bool is_disk(int err)
{
	return err != -EMFILE && err != -ENFILE && err != -ENOMEM && err != -EFBIG &&
	       err != -EISDIR;
}

static bool is_full(int err)
{
	return err == -ENOSPC || err == -EDQUOT;
}

/* Under the lock.  True: this is news. */
static bool disk_leave(struct disk *d, int err)
{
	uint32_t now_s = cache_now_s();

	if (!d->usable)
		return false;
	if (now_s - d->since_s >= CACHE_PROBE_MAX_S)
		d->pause_s = CACHE_PROBE_MIN_S;
	else if (d->pause_s < CACHE_PROBE_MAX_S)
		d->pause_s *= 2;
	d->since_s = now_s;
	d->probe_s = now_s + d->pause_s;
	__atomic_store_n(&d->err, err, __ATOMIC_RELAXED);
	__atomic_store_n(&d->usable, false, __ATOMIC_RELEASE);
	return true;
}

cold void disk_failed(struct cache *c, const char *what, const char *path, int err)
{
	bool news;

	if (!is_disk(err)) {
		cache_fault(c, what, path, err);
		return;
	}
	__atomic_fetch_add(&c->errors, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&c->jobs_lock);
	news = disk_leave(&c->disk, err);
	pthread_mutex_unlock(&c->jobs_lock);
	if (!news)
		return;
	log_err("cache path=%s/%s unusable error=\"%s: %s\" note=\"what is not cached is relayed "
		"until the disk can be written again\"",
		c->store.root, path, what, err_text(err));
	if (is_full(err)) {
		__atomic_store_n(&c->disk.want_bytes, CACHE_FULL_BYTES, __ATOMIC_RELAXED);
		cache_house(c, HOUSE_EVICT);
	}
}

bool cache_is_stuck(const struct cache *c)
{
	return !disk_is_usable(c) && __atomic_load_n(&c->disk.err, __ATOMIC_RELAXED) == ERR_STUCK;
}

void disk_look(struct cache *c)
{
	__atomic_store_n(&c->disk.free_bytes, store_free_bytes(&c->store), __ATOMIC_RELAXED);
	if (disk_is_usable(c) && store_is_lost(&c->store))
		disk_failed(c, "the folder is not at its path any more", "", -ENOENT);
}

void disk_probe(struct cache *c)
{
	struct disk *d = &c->disk;
	int err;

	if (disk_is_usable(c))
		return;
	err = store_revive(&c->store, FILL_CHUNK);
	pthread_mutex_lock(&c->jobs_lock);
	d->probe_s = cache_now_s() + d->pause_s;
	if (err == 0) {
		d->since_s = cache_now_s();
		__atomic_store_n(&d->usable, true, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&c->jobs_lock);
	if (err < 0) {
		log_debug("cache path=%s unusable error=\"%s\"", c->store.root, err_text(err));
		return;
	}
	log_warn("cache path=%s usable again", c->store.root);
	cache_house(c, HOUSE_TAGS | HOUSE_EVICT);
}

bool disk_has_room(struct cache *c, uint64_t bytes)
{
	uint64_t free_bytes = __atomic_load_n(&c->disk.free_bytes, __ATOMIC_RELAXED);
	uint64_t floor = __atomic_load_n(&c->free_bytes, __ATOMIC_RELAXED);
	uint64_t cached = __atomic_load_n(&c->index.bytes, __ATOMIC_RELAXED);
	uint64_t need;

	if (bytes > UINT64_MAX - floor)
		return false;
	need = bytes + floor;
	if (need <= free_bytes)
		return true;
	need -= free_bytes;
	if (need > cached) {
		log_limited(LOG_WARN,
			    "cache path=%s no room for a blob of %llu bytes: it is relayed; "
			    "fix=\"free space there, or lower `free`\"",
			    c->store.root, (unsigned long long)bytes);
		return false;
	}
	__atomic_store_n(&c->disk.want_bytes, need, __ATOMIC_RELAXED);
	cache_house(c, HOUSE_EVICT);
	return true;
}
