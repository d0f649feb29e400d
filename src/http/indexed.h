/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which fields of an answer HPACK is to keep in its table: what repeats from answer to answer.
 * Values that differ each time would push that out.  A client that asks for the same again and
 * again (a poll of a tag) has even those of the digest in the table, from the second answer on.
 */
#pragma once

#include <stdint.h>

#include "base/slice.h"

enum { INDEXED_MARKS = 2 };

/* Of one connection; all zero at first. */
struct indexed {
	uint32_t marks[INDEXED_MARKS]; /* of the last answer's values */
};

bool indexed_field(struct indexed *x, struct slice name, struct slice value);
