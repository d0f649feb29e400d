/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What one worker counts of each mirror.  Counters go on over a reload, by the mirror's name.
 *
 * Invariants
 *  1. Written by the worker alone, read by anybody: relaxed, and a meter once there stays until the
 *     worker goes.
 *  2. At most METERS_MAX of them; further names count together, as none's.
 */
#pragma once

#include "base/slice.h"
#include "base/stat.h"

/* Names of mirrors in all that were ever in the configuration. */
enum { METERS_MAX = 1024 };

/* What became of a request; the words are those of the access log. */
enum meter_how {
	METER_HIT,
	METER_REVALIDATED,
	METER_STALE,
	METER_JOIN,
	METER_MISS,
	METER_PASS,
	METER_NEGATIVE,
	METER_LOCAL,
	METER_HOWS
};
extern const char *const meter_how_names[METER_HOWS];
/* <cache>: one of these words; NULL and others: METER_LOCAL. */
enum meter_how meter_how_of(const char *cache);

struct meter {
	struct meter *next;
	uint64_t requests[METER_HOWS];
	uint64_t bytes[METER_HOWS]; /* of bodies, to clients */
	uint64_t bytes_up;          /* of bodies, from upstreams */
	uint64_t fills;             /* published */
	uint64_t fills_failed;
	char name[];
};

struct meters {
	struct meter *first; /* atomic: new ones are put in front */
	unsigned count;
};

/* On the worker.  NULL: no memory, or too many. */
struct meter *meters_get(struct meters *ms, struct slice name);
void meters_fini(struct meters *ms);
/* From any thread: adds the counters of that name to <to>. */
void meters_sum(const struct meters *ms, struct slice name, struct meter *to);
