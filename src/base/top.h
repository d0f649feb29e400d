/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which names are met most, in a bounded table: "space saving" (Metwally, Agrawal, El Abbadi 2005).
 * Pure; not for several threads.
 *
 * Invariants
 *  1. At most TOP_ENTRIES names are kept, whatever comes.
 *  2. A name that was met more than total / TOP_ENTRIES times is in the table.
 *  3. count - error <= the times that it was met <= count.
 */
#pragma once

#include <stdint.h>

#include "base/slice.h"

enum { TOP_ENTRIES = 64, TOP_NAME_MAX = 320 };

struct top_entry {
	uint64_t hash;
	uint64_t count;
	uint64_t error; /* what the name before it in this place had */
	uint64_t bytes; /* since it is in the table */
	uint16_t len;
	char name[TOP_NAME_MAX]; /* cut to that, not terminated */
};

struct top {
	unsigned used;
	struct top_entry v[TOP_ENTRIES];
};

/* "<folder>/<name>" was met <count> times (> 0), and moved so many bytes. */
void top_add(struct top *t, struct slice folder, struct slice name, uint64_t count, uint64_t bytes);
/* Adds what another table has. */
void top_merge(struct top *to, const struct top *from);
/* The most frequent first. */
void top_sort(struct top *t);

static inline struct slice top_name(const struct top_entry *e)
{
	return (struct slice){ e->name, e->len };
}
