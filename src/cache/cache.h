/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The cache: content-addressed plain files, one entry ("blob") per (kind, digest), shared by all
 * workers.
 *
 *   PATH/blobs/sha256/ab/<hex>                 a verified blob
 *   PATH/manifests/sha256/ab/<hex>.<suffix>    a verified manifest; the suffix is its media type
 *   PATH/private/<owner>/...                   the same two, for what needs a permission to read
 *   PATH/tags/<registry>/<repo...>/_tags/<tag> one line: digest, type, bytes, time of last check
 *   PATH/tmp/<name>                            fills in progress; orphans are removed at start
 *   PATH/quarantine/<name>                     what was found damaged: bounded, never served
 *
 * Invariants
 *  1. A file under blobs/ or manifests/ has the digest of its name: it got there by rename, after
 *     its length and digest were found right and it was fsync'ed.
 *  2. For one key there is at most one blob in the index, so at most one fill, on whichever worker.
 *  3. bytes [0, blob_avail()) of a blob's fd are right to read for whoever holds a reference.  The
 *     last byte of a fill becomes available only after the digest was found right: nobody ever gets
 *     the whole of a wrong body.
 *  4. A blob with readers is never evicted.  A blob that failed is out of the index at once; those
 *     who hold it see the failure.
 *  5. The sum of published files is at most size_bytes, but for what is being read or filled.
 *  6. A disk that fails takes nothing from a client: no fill begins until it can be used again,
 *     what was cached is still read, and the rest passes by (cache_get() gives CACHE_NONE).
 *
 * Threads: every function may be called from any thread unless it takes a loop or says otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/stat.h"
#include "cache/digest.h"
#include "io/loop.h"
#include "io/offload.h"

struct cache;
struct blob;

struct cache_opts {
	const char *path;
	uint64_t size_bytes;
	uint64_t free_bytes;
	struct offload *helpers;
	/* Manifest type index -> file suffix; [0] unused.  Kept: must outlive the cache. */
	const char *const *suffixes;
	unsigned suffixes_count;
	unsigned fds_max;     /* files kept open at once */
	uint64_t scrub_s;     /* each file is verified once in so long; 0: never */
	uint64_t scrub_bytes; /* and at most so many bytes in a second */
};

/*
 * Makes the folders, empties tmp/, starts the scan on a helper.  0 or -errno; <err> then names the
 * path, what is wrong and what to do.
 */
int cache_open(struct cache **out, const struct cache_opts *opts, char *err,
	       size_t err_len) must_check;
/* Every blob reference must be back.  Waits for helpers' jobs of its own. */
void cache_close(struct cache *c);
/*
 * Once a second, also when no request comes: looks at free space, writes down times of use, tries
 * whether a disk that failed can be used again.  Does nothing itself: helpers do.
 */
void cache_clock(struct cache *c);

/* Another period and rate of the scrub (as in cache_opts) from its next step on. */
void cache_scrub(struct cache *c, uint64_t period_s, uint64_t rate_bytes);
/* Other bounds from now on; what is too much goes at the next look. */
void cache_resize(struct cache *c, uint64_t size_bytes, uint64_t free_bytes);

struct cache_totals {
	uint64_t bytes; /* published */
	uint64_t blobs;
	uint64_t evictions;
	uint64_t errors;  /* reads, writes, renames that failed */
	uint64_t damaged; /* files that were not what was published */
	uint64_t scrubbed_blobs;
	uint64_t scrubbed_bytes;
	bool scanning;
	bool usable; /* the disk takes files; else what is not cached passes by */
};
void cache_totals(struct cache *c, struct cache_totals *out);

/*
 * What is looked for, and whose it is.  Bit 0: a manifest (type > 0, which the entry tells on a
 * hit), or a blob (type 0).  The other bits: 0 is public, else the owner, whose things are kept
 * apart, on the disk too: whoever looks for a public blob or another owner's never finds them,
 * whatever he knows.
 */
enum { CACHE_BLOB, CACHE_MANIFEST };

static inline bool cache_kind_is_blob(uint32_t kind)
{
	return (kind & 1) == CACHE_BLOB;
}

static inline uint32_t cache_kind_owner(uint32_t kind)
{
	return kind & ~1U;
}

/* An owner by a name of any length, to be joined with CACHE_BLOB or CACHE_MANIFEST; never 0. */
uint32_t cache_owner(struct slice name);

enum cache_found {
	CACHE_HIT,  /* ready: verified, complete */
	CACHE_JOIN, /* somebody fills it: read what is available, wait for more */
	CACHE_MISS, /* the caller must fill it now: fill_begin() */
	CACHE_NONE, /* no memory, or the disk cannot be used: pass through */
};
/* *out gets a reference (unless CACHE_NONE), to be given back by blob_unref(). */
enum cache_found cache_get(struct cache *c, uint32_t kind, const struct digest *d,
			   struct blob **out) must_check;
/* Only if it is ready now; never starts anything.  NULL: not there. */
struct blob *cache_peek(struct cache *c, uint32_t kind, const struct digest *d) must_check;
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b);

enum blob_state {
	BLOB_EMPTY,   /* a filler has it; size not known yet */
	BLOB_FILLING, /* size may be known; bytes arrive */
	BLOB_READY,
	BLOB_FAILED,
};

/* What the filler tells those who wait. */
struct blob_failure {
	int err;    /* negative; 0 when upstream answered with a status */
	int status; /* upstream's HTTP status, 0 if none */
	unsigned retry_after_s;
	bool disk;         /* ours is at fault: upstream can still give the rest */
	char message[520]; /* for the client, "" if none */
};

#define BLOB_SIZE_UNKNOWN UINT64_MAX

/* A consistent view, cheap enough for every step of a transfer. */
struct blob_view {
	enum blob_state state;
	uint64_t size;  /* BLOB_SIZE_UNKNOWN until known */
	uint64_t avail; /* bytes that may be read; == size when all is verified */
	int fd;         /* >= 0 from FILLING on; borrowed while the reference is held */
	uint8_t type;   /* manifest type index; 0: blob */
	bool damaged;   /* READY, but its file is not what was published: read no more of it */
};
void blob_look(struct blob *b, struct blob_view *out);
const struct digest *blob_digest(const struct blob *b);
/*
 * Reading it failed, or gave what is not its content.  A READY one is out of the cache: it is not
 * found any more, its file goes to quarantine, its readers see it.  ERR_STUCK: that is the disk's
 * fault, not the file's, and no fills begin.  Else nothing happens.
 */
void blob_damaged(struct blob *b, int err);
/* Is the disk known not to answer? */
bool cache_is_stuck(const struct cache *c) must_check;
/* BLOB_FAILED only. */
void blob_failure(struct blob *b, struct blob_failure *out);
/*
 * BLOB_FAILED only: the entry that is filled in its place, with a reference; NULL: none is.  What
 * was read of the one may differ from the other's.
 */
struct blob *blob_successor(struct blob *b) must_check;

/* One waiting reader; lives in its owner, on one loop. */
struct blob_waiter {
	struct mail mail; /* private */
	struct list node; /* private */
	struct loop *loop;
	struct task *task; /* woken on the loop when something changed */
	struct blob *blob;
	bool waiting; /* on the list, or the mail is on its way */
	bool posted;  /* private */
};
void blob_waiter_init(struct blob_waiter *w, struct loop *l, struct task *task);
/*
 * Wakes the task once when the blob is not as <seen> any more (more bytes, size known, other
 * state).  False: that is so already; nothing was registered.
 */
bool blob_wait(struct blob *b, struct blob_waiter *w, const struct blob_view *seen) must_check;
/* True: gone, the waiter may be freed.  False: mail is on its way and wakes the task; ask then. */
bool blob_unwait(struct blob_waiter *w) must_check;
/* How many references are held by others than the filler: is anybody still interested? */
unsigned blob_readers(const struct blob *b);
