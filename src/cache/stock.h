/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The cache for whoever manages it: what is there, what is to stay, what is to go.  On a helper or
 * the main thread, never on a loop: it takes as long as there is much, though each lock is held for
 * a bounded part of it.
 *
 * A pinned blob is not evicted.  Pins are bits in memory: who wants them to outlive a restart sets
 * them again, and holds evictions until he has.
 */
#pragma once

#include "cache/cache.h"
#include "cache/tag.h"

struct cache_item {
	uint32_t kind;
	uint8_t type;
	bool pinned;
	uint32_t used_s; /* unix time of the last use */
	uint64_t size;
	struct digest digest;
};

/* All that is READY, in no order; malloc'ed.  -ENOMEM, or their number. */
int64_t cache_list(struct cache *c, struct cache_item **out) must_check;
/*
 * The whole of a small one into <mem>, if it is what it should be and still there: its length, or
 * negative.
 */
int cache_read(struct cache *c, const struct cache_item *item, char *mem, size_t cap) must_check;
/*
 * Takes it out of the cache and removes its file; who reads it has it to the end.  False: it is not
 * there, or is being filled.
 */
bool cache_purge(struct cache *c, uint32_t kind, const struct digest *d);
/* False: it is not there. */
bool cache_pin(struct cache *c, uint32_t kind, const struct digest *d, bool on);
/* While it is held nothing is evicted. */
void cache_hold(struct cache *c, bool on);

/*
 * A small file of that name in the cache's folder, beside what is cached; it is replaced whole.
 * Bytes read, or -errno.
 */
int cache_note_read(struct cache *c, const char *name, char *mem, size_t cap) must_check;
int cache_note_write(struct cache *c, const char *name, struct slice text) must_check;

/* A tag's record; the names are good during the call. */
struct cache_tag {
	struct slice registry, repo, tag;
	struct tag_record record;
};
/* False: no memory for all of them. */
bool cache_tags(struct cache *c, void (*each)(void *arg, const struct cache_tag *t),
		void *arg) must_check;
