/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How much an upstream still lets each of our accounts ask: its ratelimit fields, its Retry-After,
 * and which account goes next.  Nobody's account (we are anonymous) is one, too.  Pure but for a
 * short lock, since all workers share it; "now" is always an argument.  Where nobody's requests
 * leave from several addresses (bind), each of these counts as one account, since upstream counts
 * by them.
 *
 * Invariants
 *  1. An account that rests is never picked; each rest ends by itself, within <max_ms> at most.
 *  2. Resting is by kind.  A 429 to a manifest says nothing of blobs: Docker Hub counts manifests
 *     only, and a pull that has its manifest can be finished.  A 429 to a blob rests both.
 *  3. One set aside (its login was refused) goes last, but goes: a refusal may be of one image.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

/* What is asked for: manifests, tags and lists, or blobs. */
enum quota_kind { QUOTA_MANIFEST, QUOTA_BLOB, QUOTA_KINDS };

enum {
	QUOTA_ACCOUNTS_MAX = 32, /* bits of <tried> */
	/* Without Retry-After: so long at first, twice as long each time, so long at most. */
	QUOTA_PAUSE_MS = 1000,
	QUOTA_PAUSE_MAX_MS = 60 * 1000,
	QUOTA_ASIDE_MS = 5 * 60 * 1000,
};

/* "100;w=21600"; window_s is 0 when it is not said. */
struct ratelimit {
	uint64_t requests;
	uint64_t window_s;
};
bool ratelimit_parse(struct slice value, struct ratelimit *out) must_check;
/* Seconds from <now_s> (Unix time), from a number or any of HTTP's three dates; a day at most. */
bool retry_after_parse(struct slice value, int64_t now_s, unsigned *seconds) must_check;

struct quotas; /* the accounts of one upstream */

struct quotas *quotas_new(unsigned accounts);
void quotas_free(struct quotas *q);
/* A reload: that account of <q> goes on where one of <from> was. */
void quotas_take_over(struct quotas *q, unsigned account, struct quotas *from, unsigned was);

/*
 * The account for a request: spent evenly by what remains where that is known, else in turn.  One
 * that <costs> nothing goes with the last one picked, which has its token.  <tried>: bits of those
 * that will not do.  -1: all others rest, *wait_s (> 0) tells how long; or all were tried, *wait_s
 * is 0.
 */
int quotas_pick(struct quotas *q, enum quota_kind kind, bool costs, uint32_t tried, uint64_t now_ms,
		unsigned *wait_s) must_check;
/*
 * 429.  <retry_after_s>: 0 if it did not say.  Rests for that, or with growing pauses, and never
 * longer than <max_ms>.  Returns the seconds that it rests.
 */
unsigned quotas_limited(struct quotas *q, unsigned account, enum quota_kind kind,
			unsigned retry_after_s, uint64_t max_ms, uint64_t now_ms);
/* <well>: pauses are over; <limit>, <remaining>: the answer's ratelimit fields, or none. */
void quotas_answered(struct quotas *q, unsigned account, bool well, struct slice limit,
		     struct slice remaining, uint64_t now_ms);
/* Its login was refused.  True: it was not aside before. */
bool quotas_aside(struct quotas *q, unsigned account, uint64_t now_ms);

struct quota_view {
	bool known; /* the next two are */
	uint64_t limit;
	uint64_t remaining;
	uint64_t rest_s; /* the longer one of its kinds */
	bool aside;
};
unsigned quotas_count(const struct quotas *q);
void quotas_look(struct quotas *q, unsigned account, uint64_t now_ms, struct quota_view *out);
