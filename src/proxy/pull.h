/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Fills one blob of the cache from its upstream: joins a fetch to a fill.  It belongs to nobody: it
 * goes on when the client that caused it has gone, and ends by itself.
 */
#pragma once

#include "cache/fill.h"
#include "proxy/board.h"
#include "proxy/fetch.h"

struct pull;

/*
 * Before cache_get(), since a miss must be filled: NULL when PULLS_MAX run already.  Then exactly
 * one of the next three.
 */
struct pull *pull_reserve(struct proxy *p) must_check;
void pull_drop(struct pull *pl);
/* Before pull_start(): that upstream of the mirror is asked first. */
void pull_prefer(struct pull *pl, unsigned up);
/* Before pull_start(): asks with a client's own Authorization, copied.  False: no memory. */
bool pull_authorize(struct pull *pl, const char *authorization) must_check;
/*
 * After CACHE_MISS for <blob>: fills it from <m>, as <repo>'s manifest or blob.  Whatever happens,
 * the blob ends READY or FAILED.
 */
void pull_start(struct pull *pl, struct mirror *m, struct slice repo, uint32_t kind,
		const struct digest *d, struct blob *blob);
/* The same for a manifest that is in memory already; <body> (malloc'ed) is taken over. */
void pull_store(struct pull *pl, struct blob *blob, char *body, size_t len, uint8_t type);
/* Does a fill run for a mirror of that generation? */
bool pulls_use(const struct proxy *p, const struct generation *g) must_check;
/* The oldest ones, at most <max>; returns how many. */
unsigned pulls_look(const struct proxy *p, struct board_fill *out, unsigned max);
/* When the drain's time is over. */
void pulls_kill(struct proxy *p);
