/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What one client got of one image in one go, for one line of the access log (method PULL).
 *
 * A tally is opened by the request for a tag; manifests by digest and blobs of the same client
 * address, mirror and repository join the one that was used last, whatever connection and worker
 * they come by (or open one, if there is none: a pull by digest, or one that is gone on with).  It
 * is over when none of its requests has run for TALLY_IDLE_MS, or when its tag is asked for again
 * after blobs came: then that is the next pull.
 *
 * Invariants
 *  1. One table for all workers, under one short lock; at most TALLIES_MAX, and as many that wait
 *     to be told of, of less than 1.3 KB each.  When it is full the one that was idle for longest
 *     ends early; if none is idle, a pull has no line (its requests have theirs).
 *  2. A tally with requests that run is never over.
 *  3. Who asked for nothing but HEADs, and was refused nothing, did not pull.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/slice.h"
#include "io/resolve.h"

enum {
	TALLIES_MAX = 4096,
	TALLY_IDLE_MS = 10 * 1000, /* docker unpacks between layers; people type slower */
	TALLY_NAME = 256,          /* what is longer is cut */
	TALLY_AGENT = 128,
};

struct tally {
	struct list hash_node;
	struct list idle_node; /* while nothing runs, in the order in which they ended; or over */
	struct addr client;
	uint64_t begun_ms;
	uint64_t last_ms;
	unsigned running;
	unsigned requests;
	unsigned gets;
	unsigned blobs;
	unsigned errors;     /* refused (but 401), or cut off */
	int status;          /* of the last manifest, or else of the last blob */
	bool manifest;       /* that it is of one */
	uint64_t hit_bytes;  /* from the cache */
	uint64_t miss_bytes; /* that upstream had to give first */
	char mirror[TALLY_NAME];
	char repo[TALLY_NAME];
	char ref[TALLY_NAME]; /* ":latest", "@sha256:..." or "" */
	char tenant[64];
	char agent[TALLY_AGENT];
};

struct tallies;

struct tallies *tallies_new(void) must_check;
void tallies_free(struct tallies *ts);

struct tally_request {
	const struct addr *client;
	struct slice mirror;
	struct slice repo;
	struct slice ref; /* of a manifest; none: a blob */
	bool by_digest;
	struct slice tenant;
	struct slice agent;
};
/* NULL: there is no room. */
struct tally *tally_begin(struct tallies *ts, const struct tally_request *r,
			  uint64_t now_ms) must_check;

struct tally_part {
	uint64_t bytes;
	int status;
	bool get;
	bool blob;
	bool hit;
	bool whole; /* not cut off */
};
/* <t> may be gone afterwards. */
void tally_end(struct tallies *ts, struct tally *t, const struct tally_part *part, uint64_t now_ms);

/* One that is over, or (<all>) that nothing runs of; the caller frees it by free().  NULL: none. */
struct tally *tally_take(struct tallies *ts, uint64_t now_ms, bool all) must_check;
/* Is there any? */
bool tallies_any(struct tallies *ts) must_check;
