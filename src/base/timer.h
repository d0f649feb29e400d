/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Deadlines in a binary heap; "now" is always an argument.
 *
 * A deadline that moves later (the common case: an idle limit pushed on by traffic) only stores the
 * new time; the heap is put right when the old one comes up.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

struct timer {
	void (*fired)(struct timer *t);
	uint64_t due_ms;  /* 0: not armed */
	uint64_t heap_ms; /* private: where it stands in the heap, <= due_ms */
	uint32_t at;      /* private: index in the heap + 1; 0: not in it */
};

struct timers {
	struct timer **heap;
	uint32_t count;
	uint32_t cap;
};

static inline void timer_init(struct timer *t, void (*fired)(struct timer *t))
{
	*t = (struct timer){ .fired = fired };
}

static inline bool timer_armed(const struct timer *t)
{
	return t->due_ms != 0;
}

void timers_init(struct timers *ts);
void timers_fini(struct timers *ts);
/* due_ms > 0.  Memory for the heap grows with the number of timers; no memory: abort. */
void timers_set(struct timers *ts, struct timer *t, uint64_t due_ms);
void timers_clear(struct timers *ts, struct timer *t);
/* Fires at most <max> timers that are due; a fired one is not armed when fired() is called. */
unsigned timers_run(struct timers *ts, uint64_t now_ms, unsigned max);
/* Milliseconds until something may be due (0: now), or UINT64_MAX. */
uint64_t timers_next_ms(const struct timers *ts, uint64_t now_ms);
