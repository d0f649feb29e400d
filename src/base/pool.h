/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Fixed-size blocks for one worker: get and put without a lock, a bound on how many may be out, a
 * bound on how many are kept.  Under ASan a block that is in the pool may not be touched.
 */
#pragma once

#include <stddef.h>

#include "base/assert.h"

struct pool {
	const char *name; /* for metrics and messages */
	size_t block_bytes;
	unsigned out_max;  /* blocks that may be out at once */
	unsigned kept_max; /* free blocks kept; more are given back to malloc */
	unsigned out;
	unsigned kept;
	struct pool_block *free;
};

void pool_init(struct pool *p, const char *name, size_t block_bytes, unsigned out_max,
	       unsigned kept_max);
/* Every block must be back. */
void pool_fini(struct pool *p);
/* Not zeroed, 64-byte aligned.  NULL: the bound is reached, or no memory. */
void *pool_get(struct pool *p) must_check;
void pool_put(struct pool *p, void *block);
