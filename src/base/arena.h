/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Memory that lives as long as one request (or one configuration) and goes in one step.
 *
 * Invariant: an arena never holds more than its limit; an allocation that would pass it gives NULL,
 * and the caller answers 4xx/5xx.  Chunks are malloc'ed; the first is kept over a reset.
 */
#pragma once

#include <stddef.h>

#include "base/assert.h"
#include "base/slice.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *first;
	size_t used_bytes;
	size_t limit_bytes;
	bool given; /* the first chunk is not ours to free */
};

/* A zeroed arena with a limit set is ready: no allocation happens here. */
void arena_init(struct arena *a, size_t limit_bytes);
/*
 * The same, with memory for its first chunk that lives as long, aligned for any type: malloc() is
 * slow for what its thread cache does not take.
 */
void arena_init_in(struct arena *a, size_t limit_bytes, void *mem, size_t mem_bytes);
/* Frees all but the first chunk. */
void arena_reset(struct arena *a);
void arena_fini(struct arena *a);

/* Zeroed, aligned for any type; NULL past the limit. */
void *arena_alloc(struct arena *a, size_t bytes) must_check;
/* A NUL-terminated copy. */
char *arena_dup(struct arena *a, struct slice s) must_check;
/* NUL-terminated printf into the arena; NULL past the limit. */
char *arena_printf(struct arena *a, const char *fmt, ...) printf_like(2, 3) must_check;
