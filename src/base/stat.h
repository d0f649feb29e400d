/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Counters and histograms of times: one block per thread, written by that thread alone and read by
 * whoever scrapes.  The accesses are relaxed atomics, which cost what a plain add costs.
 */
#pragma once

#include <stdint.h>

enum stat_id {
#define X(name, metric, kind, help) STAT_##name,
#include "base/stat.def"
#undef X
	STAT_COUNT
};

enum hist_id {
#define H(name, metric, help) HIST_##name,
#include "base/hist.def"
#undef H
	HIST_COUNT
};

enum { HIST_BOUNDS = 16 };
/* Upper bounds of the buckets, ascending, as milliseconds and as seconds in text. */
extern const struct hist_bound {
	uint64_t ms;
	const char *text;
} hist_bounds[HIST_BOUNDS];

struct hist {
	uint64_t counts[HIST_BOUNDS + 1]; /* each time in one of them; the last: longer than all */
	uint64_t sum_ms;
};

struct stats {
	uint64_t v[STAT_COUNT];
	struct hist hist[HIST_COUNT];
};

struct stat_info {
	const char *metric; /* without the prefix */
	const char *kind;
	const char *help;
};
extern const struct stat_info stat_infos[STAT_COUNT];

struct hist_info {
	const char *metric;
	const char *help;
};
extern const struct hist_info hist_infos[HIST_COUNT];

/* By the one thread that writes it. */
static inline void counter_add(uint64_t *counter, uint64_t n)
{
	uint64_t now = __atomic_load_n(counter, __ATOMIC_RELAXED);

	__atomic_store_n(counter, now + n, __ATOMIC_RELAXED);
}

static inline uint64_t counter_get(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline void stat_add(struct stats *s, enum stat_id which, int64_t n)
{
	counter_add(&s->v[which], (uint64_t)n);
}

static inline void stat_inc(struct stats *s, enum stat_id which)
{
	stat_add(s, which, 1);
}

static inline uint64_t stat_get(const struct stats *s, enum stat_id which)
{
	return counter_get(&s->v[which]);
}

void stat_time(struct stats *s, enum hist_id which, uint64_t ms);
/* Adds what is in <from> to <to>, which is the caller's alone. */
void hist_sum(struct hist *to, const struct hist *from);
