/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Counters: one block per thread, written by that thread alone and read by whoever scrapes.  The
 * accesses are relaxed atomics, which cost what a plain add costs.
 */
#pragma once

#include <stdint.h>

enum stat_id {
#define X(name, metric, kind, help) STAT_##name,
#include "base/stat.def"
#undef X
	STAT_COUNT
};

struct stats {
	uint64_t v[STAT_COUNT];
};

struct stat_info {
	const char *metric; /* without the prefix */
	const char *kind;
	const char *help;
};
extern const struct stat_info stat_infos[STAT_COUNT];

static inline void stat_add(struct stats *s, enum stat_id which, int64_t n)
{
	uint64_t now = __atomic_load_n(&s->v[which], __ATOMIC_RELAXED);

	__atomic_store_n(&s->v[which], now + (uint64_t)n, __ATOMIC_RELAXED);
}

static inline void stat_inc(struct stats *s, enum stat_id which)
{
	stat_add(s, which, 1);
}

static inline uint64_t stat_get(const struct stats *s, enum stat_id which)
{
	return __atomic_load_n(&s->v[which], __ATOMIC_RELAXED);
}
