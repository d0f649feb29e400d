/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One read of a blob's file that has to wait for the disk.  It lives by itself: whoever waits for
 * it may leave at any time, and a disk that does not answer keeps nobody but it.
 *
 * Invariant: an answer is there within DISKREAD_MS, if only ERR_STUCK; within DISKREAD_STUCK_MS of
 * a disk that is known to be stuck.
 */
#pragma once

#include "cache/cache.h"
#include "proxy/proxy.h"

enum { DISKREAD_MS = 10 * 1000, DISKREAD_STUCK_MS = 500 };

struct diskread {
	struct proxy *proxy;
	struct task *owner; /* NULL: nobody waits any more */
	struct blob *blob;  /* a reference, which keeps the file open */
	struct op op;
	unsigned inflight;
	struct timer limit;
	int got;   /* 0: it is under way; > 0: bytes in <mem>; < 0: why not */
	char *mem; /* from cold_pool */
};

/* Of <blob>'s open file, at most IO_CHUNK.  <owner> is woken.  NULL: no memory. */
struct diskread *diskread_start(struct proxy *p, struct task *owner, struct blob *blob,
				uint64_t off, uint64_t len) must_check;
/* At any time; the pointer is dead then. */
void diskread_end(struct diskread *r);
