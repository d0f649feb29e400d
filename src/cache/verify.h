/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reads published files again and compares them with their digests: one file in pieces (for the
 * scrub), or all of a folder (for `sluice verify`).  On a helper, or without a server.
 *
 * A file's modification time says when it was found right last: at its publication, and whenever it
 * was verified.  (Its access time is that of its last use: evict.c.)
 *
 * What was not in memory before is not there after, so that reading everything does not drive out
 * what clients ask for.
 */
#pragma once

#include "cache/store.h"

enum verify_result {
	VERIFY_MORE,
	VERIFY_GOOD,
	VERIFY_DAMAGED, /* other bytes, or they cannot be read */
	VERIFY_GONE,    /* evicted meanwhile */
	VERIFY_UNKNOWN, /* it cannot be opened, which says nothing of its bytes */
};

enum { VERIFY_CHUNK = 256 * 1024 };

struct verify {
	int fd;
	struct digest want;
	struct digest_ctx hash;
	uint64_t at;
};

/* VERIFY_MORE: verify_step() is due.  Else it is over. */
enum verify_result verify_begin(struct verify *v, const struct store *s, const char *path,
				const struct digest *d) must_check;
/* One chunk, in <mem> of VERIFY_CHUNK bytes. */
enum verify_result verify_step(struct verify *v, char *mem) must_check;
/* In the middle of it. */
void verify_end(struct verify *v);

/*
 * The whole folder of <opts> (its path and suffixes count), beside a running server or without one.
 * What is damaged goes to quarantine; a server sees that, though it may have the file open.  0 or
 * -errno: the folder cannot be opened; <err> says why.
 */
struct cache_verified {
	const char *path; /* below the cache's folder */
	uint64_t bytes;
	enum verify_result result; /* no VERIFY_MORE */
	int err;                   /* damaged, but it could not be put into quarantine */
};
int cache_verify(const struct cache_opts *opts,
		 void (*seen)(void *arg, const struct cache_verified *f), void *arg, char *err,
		 size_t err_len) must_check;
