/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Small bodies in memory, by digest, for one worker: what is asked for often is mostly manifests
 * and configurations of a few KiB, and reading their file is a tenth of such a request.
 *
 * Invariants
 *  1. What is in it has the digest that it is found by: it was hashed when it came in, so damage of
 *     a file never gets here and what is here outlives it.
 *  2. It says nothing of who may read: whoever asks has found the blob in the cache, as he must.
 *  3. At most HOT_BODIES bodies of HOT_BODY_MAX, HOT_BYTES in all; the least recently used go.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cache/digest.h"

enum {
	HOT_BODY_MAX = 16 * 1024, /* one record, one read; an index of ten platforms takes 3 */
	HOT_BODIES = 4096,
	HOT_BYTES = 8 * 1024 * 1024,
};

struct hot;

/* NULL: no memory; the others take that for one that keeps nothing. */
struct hot *hot_new(void) must_check;
void hot_free(struct hot *h);
/* The body and its length; good until the next hot_put().  NULL: not there. */
const char *hot_get(struct hot *h, const struct digest *d, size_t *len);
/* Copies a body; without memory it is not kept.  False: it does not have this digest. */
bool hot_put(struct hot *h, const struct digest *d, const char *body, size_t len) must_check;
