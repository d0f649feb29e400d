/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * When a body that broke is asked for again: RETRY_MAX times, after 0.25, 0.5, 1, 2 and 4 s, and as
 * often again once it has come on by RETRY_PROGRESS.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { RETRY_MAX = 5, RETRY_PAUSE_MS = 250, RETRY_PROGRESS = 256 * 1024 };

struct retry {
	unsigned count; /* since the last progress */
	uint64_t at;    /* where it broke last */
};

/* It broke at byte <reached>.  False: enough of it. */
static inline bool retry_again(struct retry *r, uint64_t reached, uint64_t *pause_ms)
{
	if (reached >= r->at + RETRY_PROGRESS)
		r->count = 0;
	if (r->count == RETRY_MAX)
		return false;
	r->at = reached;
	*pause_ms = (uint64_t)RETRY_PAUSE_MS << r->count++;
	return true;
}
