/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which image has what of the cache: tags, the manifests that they name, and what these name.  A
 * picture of one moment, for `sluice ls` and its kin; made and used on a thread that may block.
 *
 * A manifest is read from the disk when it is first met.  What nobody's tag leads to (it was pulled
 * by digest alone, or its tag has moved on) belongs to no image here.
 */
#pragma once

#include "cache/stock.h"
#include "config/config.h"

enum { HOLDING_DEPTH_MAX = 4 }; /* an index of indexes, at most */

struct holding {
	struct cache_item item;
	bool parsed;
	unsigned parts_count; /* of them that are here: indexes in holdings.v */
	uint32_t *parts;
	unsigned manifests_missing;
	unsigned blobs_missing;
	unsigned mark;  /* private: of the walk that met it last */
	unsigned users; /* the asker's own: 0 at first */
};

struct holding_tag {
	struct slice mirror, repo, tag; /* in its own memory */
	struct tag_record record;
	int64_t root; /* index in holdings.v; -1: its manifest is not here */
};

struct holdings {
	struct cache *cache;
	struct holding *v; /* by kind and digest */
	size_t count;
	struct holding_tag *tags; /* by mirror, repository and tag */
	size_t tags_count;
	char *mem; /* for one manifest */
	unsigned marks;
	bool failed; /* no memory */
};

/* NULL: no memory. */
struct holdings *holdings_new(struct cache *c, const struct config *config) must_check;
void holdings_free(struct holdings *h);

struct image_name;
/* Where an image begins: its tag's manifest, or that of its digest; -1: it is not here. */
int64_t holdings_image(const struct holdings *h, const struct config *config,
		       const struct image_name *n) must_check;
/* The tag, or NULL. */
const struct holding_tag *holdings_tag(const struct holdings *h, struct slice mirror,
				       struct slice repo, struct slice tag) must_check;

struct holding_sum {
	uint64_t bytes;
	unsigned manifests;
	unsigned blobs;
	unsigned missing; /* blobs of manifests that are here, which are not */
	unsigned absent;  /* manifests of an index that are not here: nobody asked for them */
	unsigned pinned;
	uint32_t used_s; /* the last use of any */
};
/* Everything that the roots since holdings_begin() lead to is met once. */
void holdings_begin(struct holdings *h);
/* Adds what <root> leads to and was not met yet; <each> (or NULL) is called for each of it. */
void holdings_walk(struct holdings *h, int64_t root, struct holding_sum *sum,
		   void (*each)(void *arg, struct holding *of), void *arg);
