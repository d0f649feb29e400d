/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Images that are to stay in the cache: their names, in a file of its folder, and the work of
 * telling the cache which blobs these are now.
 *
 * Invariants
 *  1. What a pinned name leads to is not evicted, from PINS_PERIOD_S after it came at the latest;
 *     what it led to before, and nothing pinned does now, may go again.
 *  2. From a start with pins until they are known nothing is evicted.
 *  3. Names, not blobs, are kept: a tag that moves takes its pin along.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cache/cache.h"
#include "io/offload.h"
#include "proxy/setup.h"

enum { PINS_MAX = 4096, PINS_PERIOD_S = 30, PIN_NAME_MAX = 1024 };

struct pins;

/* Reads the file, which blocks.  NULL: *why says what is wrong with it, or memory is out. */
struct pins *pins_new(struct cache *c, const char **why) must_check;
/* Before the cache is closed; waits for its own job. */
void pins_free(struct pins *p);
/* Once a second, by the main thread. */
void pins_tick(struct pins *p, struct offload *helpers, struct setup *s, int64_t now_s);

/*
 * <name> as pin_name() writes it.  1: it was not pinned (was pinned), and the file says so; 0: it
 * was so already; or -errno, and all is as it was.  Any thread that may block.
 */
int pins_add(struct pins *p, const char *name) must_check;
int pins_remove(struct pins *p, const char *name) must_check;
bool pins_have(struct pins *p, const char *name) must_check;
/* Number <i> into <out>; false: there are no more. */
bool pins_get(struct pins *p, unsigned i, char out[PIN_NAME_MAX]) must_check;

struct image_name;
/* "docker.io/library/nginx:1.25" or "...@sha256:..."; false: too long. */
bool pin_name(const struct config *c, const struct image_name *n,
	      char out[PIN_NAME_MAX]) must_check;
