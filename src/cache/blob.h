/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A blob's entry and what may happen to it.  Private to cache/.
 *
 *   EMPTY --start--> FILLING --publish--> READY
 *     |  \              |
 *     |   `--fail-------+---------------> FAILED
 *     `--found (on the disk)-----------> READY
 *
 * Invariants
 *  1. State, size, avail, fd, type are written under the shard's lock and read without it: each is
 *     an atomic, and they are written in an order that makes every view one that was true
 *     (blob_look).
 *  2. The index holds one reference to what is in it, so an entry that nobody else holds has refs
 *     1, and its next reference can come only through the shard's lock.
 *  3. While anybody but the index holds a reference, an fd once set stays open.
 *  4. READY and FAILED are for good.  `live` is there until READY (and stays for FAILED, and for
 *     what is READY but not kept): nobody waits for a READY blob.
 *  5. A blob that failed may have a successor, which was put in its place in the index under the
 *     same lock; it is held until the blob is freed.  A successor has none.
 */
#pragma once

#include "cache/cache.h"

struct shard;

/* What only a blob in progress needs: kept apart, since most are idle. */
struct blob_live {
	struct list waiters;
	struct blob_failure failure;
	struct blob *successor; /* FAILED; a reference, or NULL */
	struct job free_job;
	struct blob *blob; /* for free_job */
};

struct blob {
	uint16_t magic;
	uint16_t checked; /* when its open file was looked at last: cache_check_blob(); atomic */
	uint32_t refs;    /* atomic */
	struct shard *shard;
	struct blob *next; /* hash chain */
	struct list lru;   /* READY and in the index: latest used first */
	struct list fds;   /* of these, with an open fd: latest used first */
	struct blob_live *live;
	uint64_t size;
	uint64_t avail;
	int fd; /* owned */
	uint32_t kind;
	uint32_t used_s;       /* unix time of the last use */
	uint32_t saved_s;      /* what the file's times say of that */
	uint16_t used_ms : 15; /* of used_s, which orders the shards among each other */
	uint16_t pinned : 1;   /* not to be evicted; both under the shard's lock */
	uint8_t type;
	uint8_t state;
	bool indexed;
	bool has_filler; /* one of the references is a fill's; atomic */
	bool damaged;    /* atomic */
	struct digest digest;
};

/* 100,000 blobs in 20 MB, with what malloc (8 to 16) and the table of the index (16) add. */
_Static_assert(sizeof(struct blob) <= 168, "an idle blob must stay within 200 bytes");

/* refs 1, for the caller.  NULL: no memory.  <live>: for a blob that is not READY at once. */
struct blob *blob_new(uint32_t kind, const struct digest *d, bool live) must_check;
/* By its maker, of a blob that nobody else has seen. */
void blob_set_ready(struct blob *b, int fd, uint64_t size, uint8_t type);

static inline enum blob_state blob_state(const struct blob *b)
{
	return (enum blob_state)__atomic_load_n(&b->state, __ATOMIC_ACQUIRE);
}

/* Is the index the only holder?  Under the shard's lock that cannot change from true to false. */
static inline bool blob_is_idle(const struct blob *b)
{
	return __atomic_load_n(&b->refs, __ATOMIC_ACQUIRE) == 1;
}

/* The filler's moves.  They wake those who wait. */
void blob_start(struct blob *b, int fd, uint64_t size, uint8_t type);
void blob_advance(struct blob *b, uint64_t avail);
/* Every byte is there and right. */
void blob_verified(struct blob *b, uint64_t size);
/* <keep>: it stays in the index; else it goes with its readers. */
void blob_publish(struct blob *b, bool keep);
void blob_found(struct blob *b, int fd, uint64_t size, uint8_t type);
void blob_fail(struct blob *b, const struct blob_failure *why);
/*
 * As blob_fail(), with an empty entry in its place, which is given with a reference: the caller
 * must fill it, as after CACHE_MISS.  NULL: no memory, nothing happened.
 */
struct blob *blob_supersede(struct blob *b, const struct blob_failure *why) must_check;
/* As blob_fail(), unless somebody but the filler holds it: false, and nothing happened. */
bool blob_fail_unread(struct blob *b, const struct blob_failure *why) must_check;
void blob_set_filler(struct blob *b, bool has);
