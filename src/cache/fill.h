/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writes one blob: the side of a fill that knows files.  Who fetches is not known here.
 *
 * Life: fill_begin, [DISK: is the file there already?], fill_open, fill_room/fill_added ...,
 * fill_finish | fill_fail, then closed (the owner's task is woken) and the memory is the owner's.
 * Everything on one loop.  Chunks of FILL_CHUNK are written with one write in flight; the next one
 * is filled meanwhile (two chunks of memory, none while nothing flows), and hashed as mill.h says.
 *
 * Invariants
 *  1. Exactly one of READY and FAILED is set on the blob in the end, whatever happens.
 *  2. No reader waits for the disk longer than FILL_STUCK_MS: by then the blob has FAILED, though
 *     what the kernel or a helper has in hand keeps the fill until it ends.
 */
#pragma once

#include "base/buf.h"
#include "cache/cache.h"
#include "cache/mill.h"
#include "cache/spread.h"

enum fill_state {
	FILL_IDLE,
	FILL_DISK,    /* looking whether the file is there (scan not done, shared folder) */
	FILL_FOUND,   /* it was: blob is READY, nothing to fetch; close */
	FILL_ABSENT,  /* fetch it: fill_open() or fill_fail() next */
	FILL_OPENING, /* a helper makes the file */
	FILL_FLOWING,
	FILL_FLUSHING, /* finish asked: last write, check, fsync, rename */
	FILL_DONE,     /* published */
	FILL_LOST,     /* failed; the blob says so */
};

/* While several writers fill it: see cache/fill_wide.h. */
struct fill_wide {
	bool on;
	bool narrowing; /* its end is waited for */
	bool busy;      /* the job runs: `hash` is a helper's */
	int err;        /* of the job */
	struct spread spread;
	struct job job;
	uint64_t hashed;
	uint64_t upto; /* the job's */
	char *mem;     /* the same */
};

struct fill {
	struct cache *cache;
	struct blob *blob; /* a reference of its own */
	struct loop *loop;
	struct task *owner;
	struct stats *stats;
	enum fill_state state;
	unsigned inflight;
	struct op file_op;
	struct timer stuck; /* while the disk is waited for */
	struct job job;
	bool job_busy;
	int fd;
	uint64_t size;     /* announced, or BLOB_SIZE_UNKNOWN */
	uint64_t received; /* given by the owner */
	uint64_t written;
	uint64_t hashed;
	struct mill *mill;
	struct list milling;
	struct digest_ctx hash;
	struct buf chunk[2];
	unsigned filling; /* chunk[filling] takes bytes; the other may be in a write */
	bool finish;      /* fill_finish() was called */
	bool flush;       /* private, like the rest: a reader waits for what is in memory */
	bool flowed;      /* there is a file that is the blob's */
	bool hashing;     /* `hash` was begun and has not ended */
	bool whole;       /* all is written and verified: publishing goes on, whatever is asked */
	uint8_t type;     /* FILL_DISK: the one looked for now */
	int err;
	struct blob_failure failure;
	/* See cache/partial.h. */
	bool partial;        /* the file is one of partial/ */
	bool keep;           /* LOST, and the file stays for the next fill */
	bool again;          /* the owner's: it will fill once more what turns out wrong */
	struct blob *next;   /* LOST: a reference on the entry for that; NULL: there is none */
	bool publish_due;    /* when the save that runs has ended */
	int made_fd;         /* OPENING: the file, or -errno */
	int part_fd;         /* FILL_ABSENT: a beginning that was found; ours until fill_resume() */
	uint64_t part_size;  /* of the blob */
	uint64_t part_bytes; /* of them hashed */
	uint64_t saved;      /* bytes that the journal vouches for */
	uint64_t saving;
	int save_err;
	struct fill_wide wide;
	char part_name[152];
	char tmp_name[32];
	char path[200]; /* of the blob, below the cache's folder */
};

/*
 * Takes over the duty that came with CACHE_MISS (its own reference on <b>); wakes <owner> on each
 * change of state.  <mill>: the loop's, may be NULL.
 */
void fill_begin(struct fill *f, struct cache *c, struct blob *b, struct loop *l, struct stats *st,
		struct mill *mill, struct task *owner);
/*
 * FILL_ABSENT: how many bytes of a blob are there from before, and have been hashed.  With > 0 the
 * owner asks upstream for the rest, and calls fill_resume() if it gets that: FILL_FLOWING, as if
 * fill_open() and so many bytes had come; or fill_open(), which begins anew.
 */
static inline uint64_t fill_partial(const struct fill *f)
{
	return f->part_bytes;
}
void fill_resume(struct fill *f);
/*
 * FILL_ABSENT -> FILL_OPENING: the temporary file is made; then FILL_FLOWING, and the size is told
 * to readers (BLOB_SIZE_UNKNOWN if upstream did not), or LOST.  <type>: manifest type index, 0 for
 * a blob.  Over the cache's size bound: still filled, not kept (published then evicted).
 */
void fill_open(struct fill *f, uint64_t size, uint8_t type);
/*
 * Where the next bytes go, some of FILL_CHUNK; NULL: there is no file yet or both chunks are busy,
 * and the owner will be woken (or the fill is LOST).  Good until the owner returns to the loop: no
 * operation may be left in flight on it.
 */
struct buf *fill_room(struct fill *f);
/* The owner appended to fill_room()'s buffer: write when it is full. */
void fill_added(struct fill *f, size_t bytes);
/* A reader waits and no more comes for now: write what there is. */
void fill_flush(struct fill *f);
/*
 * All bytes were given.  Length or digest wrong: LOST with ERR_SHORT/ERR_LONG/ERR_DIGEST, and with
 * <again> the owner has the duty to fill <next> (as after CACHE_MISS), to which the readers go.
 */
void fill_finish(struct fill *f);
/*
 * Gives up; readers see <why>; what has come of a large blob stays for its next fill.  Too late
 * once every byte is written and verified: nothing happens.
 */
void fill_fail(struct fill *f, const struct blob_failure *why);
/*
 * As fill_fail(), if nobody reads it.  False: somebody does, perhaps only just, and it goes on.
 */
bool fill_drop(struct fill *f) must_check;
static inline bool fill_is_over(const struct fill *f)
{
	return f->state == FILL_FOUND || f->state == FILL_DONE || f->state == FILL_LOST;
}
/*
 * In FOUND, DONE or LOST.  True: everything is back and the fill's memory may be reused.  False:
 * something is in flight; the owner will be woken, close again then.
 */
bool fill_close(struct fill *f) must_check;
