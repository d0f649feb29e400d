/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The last ten minutes of some counters, so that a page that was just opened has something to draw.
 * The main thread takes a sample every HISTORY_S; anybody reads.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/stat.h"

enum { HISTORY_SAMPLES = 300, HISTORY_S = 2 };

struct history_sample {
	uint64_t at_ms; /* monotonic */
	uint64_t bytes_down, bytes_cache, bytes_up;
	uint64_t requests, hits, misses; /* who joins a fill is neither */
};

struct history {
	pthread_mutex_t lock;
	struct history_sample v[HISTORY_SAMPLES];
	uint64_t count; /* ever taken; the last one is at (count - 1) % HISTORY_SAMPLES */
};

void history_init(struct history *h);
/* Once a second or so, of all workers' counters. */
void history_tick(struct history *h, struct stats *const *stats, unsigned workers);
/* Those after <since_ms>, in order of time; <out> has room for all.  Returns how many. */
unsigned history_look(struct history *h, uint64_t since_ms, struct history_sample *out);
