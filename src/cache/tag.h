/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a mutable tag pointed at when it was last asked for.  In memory for all workers, written to
 * PATH/tags/ by a helper, read back at start; bounded in number (the least recently used go).
 */
#pragma once

#include "cache/cache.h"

struct tag_record {
	struct digest digest;
	uint8_t type;      /* manifest type index, 0: not known */
	uint64_t size;     /* bytes of the manifest, 0: not known */
	int64_t checked_s; /* unix time of upstream's last answer */
};

/* False: not known. */
bool tag_get(struct cache *c, struct slice registry, struct slice repo, struct slice tag,
	     struct tag_record *out) must_check;
void tag_put(struct cache *c, struct slice registry, struct slice repo, struct slice tag,
	     const struct tag_record *r);
void tag_remove(struct cache *c, struct slice registry, struct slice repo, struct slice tag);
