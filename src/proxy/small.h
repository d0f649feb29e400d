/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Small answers of upstreams, kept in memory for a short time: lists of referrers, and that
 * something is not there (404).  One table for all workers, so that a cluster that asks for what is
 * not there costs one question in that time, not one for each core.
 *
 * Invariants
 *  1. The key is the mirror and the target as it goes upstream, query included: nothing is ever
 *     answered for another mirror, repository or question.  Who asked is no part of it, so what
 *     depends on that must not be kept: mirror_negative_ms(), mirror_referrers_ms().
 *  2. What was kept never changes; a reference keeps it readable after it left the table.
 *  3. At most SMALLS_MAX entries and SMALLS_BYTES_MAX bytes are in the table; beyond that the least
 *     recently used go.  What is larger than SMALL_BODY_MAX, or has a longer key, is not kept.
 *  4. Nothing is given out after its time, which begins when upstream answered.
 */
#pragma once

#include "base/slice.h"
#include "proxy/proxy.h"

enum {
	/* A 404 takes some 400 bytes: a scanner pushes out only what is cheap to ask again. */
	SMALLS_MAX = 8192,
	SMALLS_BYTES_MAX = 16 * 1024 * 1024,
	/* Some 500 referrers; a longer list is rare, and passed on each time. */
	SMALL_BODY_MAX = 256 * 1024,
	SMALL_KEY_MAX = 1024, /* name 255, digest 135, and a query */
};

struct smalls;

/* Slices that are none: upstream did not say. */
struct small {
	int status; /* 200 or 404 */
	struct slice type;
	struct slice filters; /* OCI-Filters-Applied */
	struct slice digest;  /* Docker-Content-Digest */
	struct slice link;    /* as upstream wrote it */
	struct slice body;    /* 404: upstream's words, if it had any */
};

struct smalls *smalls_new(void) must_check;
/* No references are left. */
void smalls_free(struct smalls *s);

/* With a reference for small_put(), or NULL. */
const struct small *small_get(struct smalls *s, const struct mirror *m, const char *target,
			      uint64_t now_ms) must_check;
void small_put(const struct small *a);
/* Copies <a>, in place of what was there; without memory nothing is kept. */
void small_keep(struct smalls *s, const struct mirror *m, const char *target, const struct small *a,
		uint64_t until_ms);
