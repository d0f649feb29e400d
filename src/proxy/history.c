/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/history.h"

#include <string.h>
#include <time.h>

/* A tick comes a little early or late: half a second earlier is early enough. */
enum { SLACK_MS = 500 };

void history_init(struct history *h)
{
	memset(h, 0, sizeof(*h));
	pthread_mutex_init(&h->lock, NULL);
}

/* The loops' clock. */
static uint64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t sum(struct stats *const *stats, unsigned workers, enum stat_id id)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < workers; i++)
		n += stat_get(stats[i], id);
	return n;
}

void history_tick(struct history *h, struct stats *const *stats, unsigned workers)
{
	const uint64_t now_ms = clock_ms();
	const struct history_sample s = {
		.at_ms = now_ms,
		.bytes_down = sum(stats, workers, STAT_BYTES_DOWN),
		.bytes_cache = sum(stats, workers, STAT_BYTES_CACHE),
		.bytes_up = sum(stats, workers, STAT_BYTES_UP),
		.requests = sum(stats, workers, STAT_REQUESTS),
		.hits = sum(stats, workers, STAT_HITS),
		.misses = sum(stats, workers, STAT_MISSES),
	};
	uint64_t last;

	pthread_mutex_lock(&h->lock);
	last = h->count ? h->v[(h->count - 1) % HISTORY_SAMPLES].at_ms : 0;
	if (!h->count || now_ms - last + SLACK_MS >= HISTORY_S * 1000)
		h->v[h->count++ % HISTORY_SAMPLES] = s;
	pthread_mutex_unlock(&h->lock);
}

unsigned history_look(struct history *h, uint64_t since_ms, struct history_sample *out)
{
	unsigned n = 0;
	uint64_t i;

	pthread_mutex_lock(&h->lock);
	i = h->count > HISTORY_SAMPLES ? h->count - HISTORY_SAMPLES : 0;
	for (; i < h->count; i++)
		if (h->v[i % HISTORY_SAMPLES].at_ms > since_ms)
			out[n++] = h->v[i % HISTORY_SAMPLES];
	pthread_mutex_unlock(&h->lock);
	return n;
}
