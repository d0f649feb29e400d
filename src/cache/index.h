/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * All blobs by kind and digest, in shards with a short lock each; the order of last use; which
 * files are open.  The one structure of the cache that all workers touch.  Private to cache/.
 *
 * Nothing here sleeps or calls the file system under a lock.  No two shards are locked at once.
 */
#pragma once

#include <pthread.h>

#include "cache/blob.h"
#include "cache/hash.h"

enum { INDEX_SHARDS = 64 };

struct index;

struct shard {
	_Alignas(64) pthread_mutex_t lock;
	struct index *index;
	struct blob **buckets; /* a power of two of them */
	uint32_t buckets_count;
	uint32_t blobs_count;
	struct list lru;
	struct list fds;
};

struct index {
	struct hash_seed seed;
	unsigned fds_max;
	unsigned fds_hand; /* the shard whose idle files are closed next; atomic */
	uint64_t fds_open; /* of indexed blobs; atomic, as the next two */
	uint64_t bytes;    /* of READY blobs in it */
	uint64_t blobs;
	struct shard shards[INDEX_SHARDS];
};

/* 0 or -ENOMEM; then index_fini() is still due. */
int index_init(struct index *ix, unsigned fds_max) must_check;
/* Frees what is in it; nobody may hold a reference any more. */
void index_fini(struct index *ix);

/*
 * With a reference; marked as used at <now_s>.  NULL: not there (with <make>: no memory).  <make>:
 * a missing one is made, EMPTY, and *made set.
 */
struct blob *index_get(struct index *ix, uint32_t kind, const struct digest *d, uint32_t now_s,
		       bool make, bool *made) must_check;
/* Takes over a READY blob found by the scan, as the least recently used.  False: there is one. */
bool index_add_old(struct index *ix, struct blob *b) must_check;
/* Gives a READY blob its file.  False: it has one already; <fd> stays the caller's. */
bool index_set_fd(struct blob *b, int fd) must_check;
/* Takes a blob out.  False: it was out already. */
bool index_remove(struct blob *b);

struct cache_item;
/* How many there are in that shard; what is READY of them into <out>, at most <max>. */
uint32_t index_count_of(struct index *ix, unsigned shard);
size_t index_copy(struct index *ix, unsigned shard, struct cache_item *out, size_t max);
/* Takes out a READY one, with the index's reference; NULL: there is none. */
struct blob *index_take(struct index *ix, uint32_t kind, const struct digest *d) must_check;
/* False: it is not there. */
bool index_pin(struct index *ix, uint32_t kind, const struct digest *d, bool on);

/* Takes out the one used longest ago, with the index's reference; NULL: nothing is idle. */
struct blob *index_take_oldest(struct index *ix) must_check;
/*
 * What that gave, back into the index as used at <now_s>: another process used its file.  False:
 * there is one of its key meanwhile.
 */
bool index_put_back(struct index *ix, struct blob *b, uint32_t now_s) must_check;
/* Closes files that nobody reads until at most fds_max are open. */
void index_trim_fds(struct index *ix);

/* A blob whose file should be told when it was last used. */
struct index_due {
	struct digest digest;
	uint32_t kind;
	uint8_t type;
	uint32_t used_s;
};
/*
 * At most <max> of one shard used at or after <since_s> and told of longer than <every_s> before
 * that; they count as told.
 */
unsigned index_take_due(struct index *ix, unsigned shard, uint32_t since_s, uint32_t every_s,
			struct index_due *out, unsigned max) must_check;

/* For blob.c: its state changes under its shard's lock. */
void index_lock(const struct blob *b);
void index_unlock(const struct blob *b);
/* saved_s: what the file's times say of its last use. */
void index_enter_ready(struct blob *b, uint32_t used_s, uint32_t saved_s);
/*
 * Under the lock.  False: it was out already; else the caller owes it a blob_unref() after the
 * lock.
 */
bool index_drop(struct blob *b) must_check;
/* Under the lock, where no other of its key is; takes the caller's reference. */
void index_put(struct shard *sh, struct blob *b);
