/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "cache/cache_private.h"
#include "cache/hot.h"
#include "cache/partial.h"

enum { GET_TRIES = 4 };

static void cache_free(struct cache *c)
{
	scrub_fini(&c->scrub);
	index_fini(&c->index);
	tags_fini(&c->tags);
	store_fini(&c->store);
	pool_fini(&c->chunks);
	pthread_mutex_destroy(&c->chunks_lock);
	pthread_cond_destroy(&c->jobs_none);
	pthread_mutex_destroy(&c->jobs_lock);
	free(c);
}

int cache_open(struct cache **out, const struct cache_opts *opts, char *err, size_t err_len)
{
	/* Not calloc: shards have cache lines of their own. */
	struct cache *c = aligned_alloc(_Alignof(struct cache), sizeof(*c));
	int code;

	assert(opts->helpers != NULL);
	*out = NULL;
	snprintf(err, err_len, "%s: no memory for the cache's index", opts->path);
	if (!c)
		return -ENOMEM;
	*c = (struct cache){
		.helpers = opts->helpers,
		.size_bytes = opts->size_bytes,
		.free_bytes = opts->free_bytes,
		.scanning = true,
	};
	pthread_mutex_init(&c->jobs_lock, NULL);
	pthread_cond_init(&c->jobs_none, NULL);
	pthread_mutex_init(&c->chunks_lock, NULL);
	disk_init(c);
	scrub_init(&c->scrub, opts);
	pool_init(&c->chunks, "fill chunks", FILL_CHUNK, UINT32_MAX, CACHE_CHUNKS_KEPT_MAX);
	code = index_init(&c->index, opts->fds_max);
	if (tags_init(&c->tags) < 0)
		code = -ENOMEM;
	if (code == 0)
		code = store_init(&c->store, opts, err, err_len);
	if (code < 0) {
		cache_free(c);
		return code;
	}
	cache_house(c, HOUSE_SCAN);
	*out = c;
	return 0;
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	__atomic_store_n(&c->closing, true, __ATOMIC_RELAXED);
	cache_house(c, HOUSE_TOUCH | HOUSE_TAGS);
	pthread_mutex_lock(&c->jobs_lock);
	while (c->jobs > 0)
		pthread_cond_wait(&c->jobs_none, &c->jobs_lock);
	pthread_mutex_unlock(&c->jobs_lock);
	cache_free(c);
}

void cache_totals(struct cache *c, struct cache_totals *out)
{
	*out = (struct cache_totals){
		.bytes = __atomic_load_n(&c->index.bytes, __ATOMIC_RELAXED),
		.blobs = __atomic_load_n(&c->index.blobs, __ATOMIC_RELAXED),
		.evictions = __atomic_load_n(&c->evictions, __ATOMIC_RELAXED),
		.scrubbed_blobs = __atomic_load_n(&c->scrub.blobs, __ATOMIC_RELAXED),
		.scrubbed_bytes = __atomic_load_n(&c->scrub.bytes, __ATOMIC_RELAXED),
		.damaged = __atomic_load_n(&c->damaged, __ATOMIC_RELAXED),
		.errors = __atomic_load_n(&c->errors, __ATOMIC_RELAXED),
		.scanning = __atomic_load_n(&c->scanning, __ATOMIC_ACQUIRE),
		.usable = disk_is_usable(c),
	};
}

void cache_scrub(struct cache *c, uint64_t period_s, uint64_t rate_bytes)
{
	__atomic_store_n(&c->scrub.period_s, period_s, __ATOMIC_RELAXED);
	__atomic_store_n(&c->scrub.rate_bytes, rate_bytes, __ATOMIC_RELAXED);
}

void cache_resize(struct cache *c, uint64_t size_bytes, uint64_t free_bytes)
{
	__atomic_store_n(&c->size_bytes, size_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&c->free_bytes, free_bytes, __ATOMIC_RELAXED);
	cache_house(c, HOUSE_EVICT);
}

uint32_t cache_now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return (uint32_t)ts.tv_sec;
}

/* Others write to the same disk: free space is looked at whether or not there are requests. */
void cache_clock(struct cache *c)
{
	uint32_t now_s = cache_now_s();
	unsigned due = 0;

	if (now_s - c->tick_s >= CACHE_TICK_S) {
		c->tick_s = now_s;
		due |= HOUSE_EVICT | HOUSE_TOUCH;
	}
	pthread_mutex_lock(&c->jobs_lock);
	if (!c->disk.usable && now_s >= c->disk.probe_s)
		due |= HOUSE_PROBE;
	pthread_mutex_unlock(&c->jobs_lock);
	if (__atomic_load_n(&c->scrub.period_s, __ATOMIC_RELAXED) > 0)
		due |= HOUSE_SCRUB;
	if (due)
		cache_house(c, due);
}

/* The entry told of a file that is not there, or not as it was published: forget both. */
static cold void cache_forget(struct cache *c, struct blob *b, const char *path, int err)
{
	/* Removed first: else a fill that looks for it might find it. */
	if (err != -ENOENT) {
		cache_fault(c, "a file is not what was published and is removed", path, err);
		store_remove(&c->store, path);
	}
	(void)index_remove(b);
}

/* Eighths of a second, modulo some hours: a tick that seems the same by chance does no harm. */
static uint16_t cache_tick(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint16_t)(ts.tv_sec * 8 + ts.tv_nsec / 125000000);
}

/*
 * Is an open file as it was when it was opened?  As cache_open_blob().  Of a small body, which is
 * in memory (hot.h), only eight times a second: the system call is a tenth of such a request.
 */
static int cache_check_blob(struct blob *b, int fd)
{
	uint16_t tick;
	struct stat st;

	if (b->size <= HOT_BODY_MAX) {
		tick = cache_tick();
		if (__atomic_exchange_n(&b->checked, tick, __ATOMIC_RELAXED) == tick)
			return 0;
	}
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!store_is_good(&st)) {
		blob_put_away(b);
		return -ENOENT;
	}
	if ((uint64_t)st.st_size == b->size)
		return 0;
	blob_damaged(b, -EUCLEAN);
	return -EIO;
}

/*
 * Opens a READY blob's file at its first use.  On the caller's thread: a local file system answers
 * an open of a file of known name from the dentry cache or with one read, and the fd is kept.
 * 0 or -errno; -EUCLEAN or -ENOENT: the blob is out of the index now.
 */
static int cache_open_blob(struct cache *c, struct blob *b)
{
	char path[STORE_PATH_MAX];
	uint64_t size;
	int fd;

	if (__atomic_load_n(&b->damaged, __ATOMIC_RELAXED))
		return -EIO;
	fd = __atomic_load_n(&b->fd, __ATOMIC_ACQUIRE);
	/*
	 * A disk that does not answer is asked nothing on a loop.  What is open may be in memory,
	 * and is gone on with from upstream if not; a manifest is not, so it passes by as a whole.
	 */
	if (cache_is_stuck(c))
		return fd >= 0 && cache_kind_is_blob(b->kind) ? 0 : -EIO;
	if (fd >= 0)
		return cache_check_blob(b, fd);
	store_path(&c->store, b->kind, &b->digest, b->type, path);
	fd = store_open(&c->store, path, &size);
	if (fd >= 0 && size != b->size) {
		close(fd);
		fd = -EUCLEAN;
	}
	if (fd == -ENOENT || fd == -EUCLEAN)
		cache_forget(c, b, path, fd);
	else if (fd < 0)
		cache_fault(c, "cannot open a file", path, fd);
	if (fd < 0)
		return fd;
	if (!index_set_fd(b, fd))
		close(fd);
	index_trim_fds(&c->index);
	return 0;
}

uint32_t cache_owner(struct slice name)
{
	struct digest d;
	uint32_t owner = 0;

	digest_of(DIGEST_SHA256, name, &d);
	for (unsigned i = 0; i < sizeof(owner); i++)
		owner = owner << 8 | d.bytes[i];
	owner = cache_kind_owner(owner);
	return owner ? owner : 2;
}

enum cache_found cache_get(struct cache *c, uint32_t kind, const struct digest *d,
			   struct blob **out)
{
	uint32_t now_s = cache_now_s();

	for (unsigned tries = 0; tries < GET_TRIES; tries++) {
		bool made;
		int err;

		*out = index_get(&c->index, kind, d, now_s, disk_is_usable(c), &made);
		if (!*out)
			return CACHE_NONE;
		if (made)
			return CACHE_MISS;
		if (blob_state(*out) != BLOB_READY)
			return CACHE_JOIN;
		err = cache_open_blob(c, *out);
		if (err == 0)
			return CACHE_HIT;
		blob_unref(*out);
		*out = NULL;
		if (err != -ENOENT && err != -EUCLEAN)
			return CACHE_NONE;
	}
	return CACHE_NONE;
}

struct blob *cache_peek(struct cache *c, uint32_t kind, const struct digest *d)
{
	bool made;
	struct blob *b = index_get(&c->index, kind, d, cache_now_s(), false, &made);

	if (!b)
		return NULL;
	if (blob_state(b) == BLOB_READY && cache_open_blob(c, b) == 0)
		return b;
	blob_unref(b);
	return NULL;
}

void cache_job_start(struct cache *c, struct job *job)
{
	pthread_mutex_lock(&c->jobs_lock);
	c->jobs++;
	pthread_mutex_unlock(&c->jobs_lock);
	offload_submit(c->helpers, NULL, job);
}

/* The last that a job does: the cache may be gone after it. */
void cache_job_ended(struct cache *c)
{
	pthread_mutex_lock(&c->jobs_lock);
	assert(c->jobs > 0);
	if (--c->jobs == 0)
		pthread_cond_signal(&c->jobs_none);
	pthread_mutex_unlock(&c->jobs_lock);
}

static unsigned house_take(struct cache *c)
{
	unsigned due;

	pthread_mutex_lock(&c->jobs_lock);
	due = c->house_due;
	c->house_due = 0;
	if (!due)
		c->house_busy = false;
	pthread_mutex_unlock(&c->jobs_lock);
	return due;
}

static void house_work(struct job *job)
{
	struct cache *c = container_of(job, struct cache, house_job);
	unsigned due;

	while ((due = house_take(c))) {
		if (due & HOUSE_SCAN)
			scan_run(c);
		if (due & HOUSE_EVICT)
			disk_look(c);
		if (due & HOUSE_PROBE)
			disk_probe(c);
		/* What cannot be written stays due, and is when the disk is back. */
		if ((due & HOUSE_TAGS) && disk_is_usable(c))
			tag_files_save(c);
		if ((due & HOUSE_TOUCH) && disk_is_usable(c)) {
			store_tmp_empty(&c->store, CACHE_ORPHAN_S);
			partial_clean(&c->store, cache_size(c) / PARTIAL_SHARE);
			evict_touch(c);
		}
		if (due & (HOUSE_EVICT | HOUSE_SCAN))
			evict_run(c);
		if (due & HOUSE_SCRUB)
			scrub_run(c);
	}
	cache_job_ended(c);
}

void cache_house(struct cache *c, unsigned due)
{
	bool start;

	pthread_mutex_lock(&c->jobs_lock);
	c->house_due |= due;
	start = !c->house_busy;
	c->house_busy = true;
	pthread_mutex_unlock(&c->jobs_lock);
	if (!start)
		return;
	c->house_job.work = house_work;
	cache_job_start(c, &c->house_job);
}

void cache_fault(struct cache *c, const char *what, const char *path, int err)
{
	__atomic_fetch_add(&c->errors, 1, __ATOMIC_RELAXED);
	log_limited(LOG_ERR, "cache path=%s/%s error=\"%s: %s\"", c->store.root, path, what,
		    err_text(err));
}

char *cache_chunk_get(struct cache *c)
{
	char *mem;

	pthread_mutex_lock(&c->chunks_lock);
	mem = pool_get(&c->chunks);
	pthread_mutex_unlock(&c->chunks_lock);
	return mem;
}

void cache_chunk_put(struct cache *c, char *mem)
{
	pthread_mutex_lock(&c->chunks_lock);
	pool_put(&c->chunks, mem);
	pthread_mutex_unlock(&c->chunks_lock);
}
