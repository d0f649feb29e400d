/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * When a body that broke is asked for again: `retries` times, after 0.25, 0.5, 1, 2 and then 4 s,
 * and as often again once it has come on by RETRY_PROGRESS.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { RETRY_PAUSE_MS = 250, RETRY_DOUBLINGS = 4, RETRY_PROGRESS = 256 * 1024 };

struct retry {
	unsigned count; /* since the last progress */
	uint64_t at;    /* where it broke last */
};

/* It broke at byte <reached>.  False: <retries> in a row are enough. */
static inline bool retry_again(struct retry *r, uint64_t retries, uint64_t reached,
			       uint64_t *pause_ms)
{
	if (reached >= r->at + RETRY_PROGRESS)
		r->count = 0;
	if (r->count >= retries)
		return false;
	r->at = reached;
	*pause_ms = (uint64_t)RETRY_PAUSE_MS
		    << (r->count < RETRY_DOUBLINGS ? r->count : RETRY_DOUBLINGS);
	r->count++;
	return true;
}
