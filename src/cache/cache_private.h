/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of cache/ share. */
#pragma once

#include <pthread.h>

#include "base/pool.h"
#include "cache/index.h"
#include "cache/store.h"
#include "cache/tag_private.h"
#include "cache/verify.h"
#include "cache/walk.h"

enum {
	CACHE_ORPHAN_S = 60, /* a temporary file without an owner goes when it is so old */
	CACHE_TICK_S = 5,    /* between looks at free space and times of use */
	/* A disk that failed is tried after 2 s; longer each time that it fails again soon. */
	CACHE_PROBE_MIN_S = 2,
	CACHE_PROBE_MAX_S = 60,
	CACHE_FULL_BYTES = 64 * 1024 * 1024, /* to evict at once when the disk is full */
	CACHE_TOUCH_S = 3600,       /* a file's time of last use is written at most this often */
	CACHE_CHUNKS_KEPT_MAX = 32, /* 8 MiB of write buffers kept for the next fills */
};

/* What the housekeeping job has to do; it is one job, so none of these run at once. */
enum house {
	HOUSE_SCAN = 1,
	HOUSE_EVICT = 2,
	HOUSE_TOUCH = 4,
	HOUSE_TAGS = 8,
	HOUSE_PROBE = 16,
	HOUSE_SCRUB = 32,
};

/* Of the housekeeping job alone, but for the first four, which are atomic. */
struct scrub {
	uint64_t period_s; /* 0: off */
	uint64_t rate_bytes;
	uint64_t blobs;
	uint64_t bytes;
	uint32_t walk_s; /* when the folders are walked next */
	bool walking;
	bool verifying; /* <file>, by <verify> */
	struct walk walk;
	struct walk_file file;
	struct verify verify;
	char *mem;
};

/* Whether the disk can be written; under jobs_lock but for what is atomic. */
struct disk {
	bool usable;         /* atomic */
	int err;             /* why not; atomic */
	uint32_t since_s;    /* of the last change */
	uint32_t probe_s;    /* when it is tried next */
	uint32_t pause_s;    /* and how long after a failure */
	uint64_t free_bytes; /* as last seen; atomic */
	uint64_t want_bytes; /* to evict beyond the bounds; atomic */
};

struct cache {
	struct store store;
	struct index index;
	struct tags tags;
	struct offload *helpers;
	uint64_t size_bytes; /* atomic, as all to `errors`: a reload changes these two */
	uint64_t free_bytes;
	uint64_t evictions;
	uint64_t errors;
	uint64_t damaged;
	uint32_t tick_s; /* cache_clock()'s own */
	bool scanning;
	bool closing;
	bool held; /* nothing is evicted; atomic */
	struct disk disk;
	struct scrub scrub;
	uint32_t touched_s; /* the housekeeping job's own */

	pthread_mutex_t jobs_lock;
	pthread_cond_t jobs_none;
	unsigned jobs;      /* under way without a loop; under jobs_lock, as the next two */
	unsigned house_due; /* enum house, or'ed */
	bool house_busy;
	struct job house_job;

	pthread_mutex_t chunks_lock;
	struct pool chunks;
};

static inline struct cache *cache_of(const struct blob *b)
{
	return container_of(b->shard->index, struct cache, index);
}

static inline uint64_t cache_size(const struct cache *c)
{
	return __atomic_load_n(&c->size_bytes, __ATOMIC_RELAXED);
}

uint32_t cache_now_s(void);
void cache_house(struct cache *c, unsigned due);
/* A job without a loop that cache_close() is to wait for; its work ends with cache_job_ended(). */
void cache_job_start(struct cache *c, struct job *job);
void cache_job_ended(struct cache *c);
/* Counts a fault of the disk, and says so. */
void cache_fault(struct cache *c, const char *what, const char *path, int err);

/*
 * Moves a file that is not what it should be out of the way; on a helper.  The oldest there make
 * room.  0 or -errno.
 */
int quarantine_file(const struct store *s, const char *path) must_check;

/* Somebody else has moved a blob's file there. */
void blob_put_away(struct blob *b);

/* Write buffers of FILL_CHUNK bytes.  NULL: no memory. */
char *cache_chunk_get(struct cache *c) must_check;
void cache_chunk_put(struct cache *c, char *mem);

void scrub_init(struct scrub *s, const struct cache_opts *opts);
void scrub_fini(struct scrub *s);

void disk_init(struct cache *c);
/* May fills be begun? */
static inline bool disk_is_usable(const struct cache *c)
{
	return __atomic_load_n(&c->disk.usable, __ATOMIC_ACQUIRE);
}
/* A fill met a fault: one line in the log, and no fills for a while, if it is the disk's. */
void disk_failed(struct cache *c, const char *what, const char *path, int err);
/* False: not even with all that may be evicted.  Else that is begun, if there is reason to. */
bool disk_has_room(struct cache *c, uint64_t bytes) must_check;

/* The parts of the housekeeping job, on a helper. */
void disk_look(struct cache *c);
void disk_probe(struct cache *c);
void scan_run(struct cache *c);
void scrub_run(struct cache *c);
void evict_run(struct cache *c);
/* Before <bytes> are published. */
void evict_for(struct cache *c, uint64_t bytes);
void evict_touch(struct cache *c);
