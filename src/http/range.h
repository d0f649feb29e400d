/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Range and Content-Range (RFC 9110 14), and entity tags (8.8.3, 13.1). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/slice.h"

struct range {
	uint64_t from;
	uint64_t bytes; /* > 0 */
};

enum range_result {
	RANGE_IGNORE,        /* no field, another unit, or bad syntax: answer 200 */
	RANGE_OK,            /* count >= 1 satisfiable ranges, in the order asked */
	RANGE_UNSATISFIABLE, /* answer 416 with "bytes * /size" */
	RANGE_TOO_MANY,      /* more than <max>, or abusive overlap: answer 400 */
};

/*
 * <value> is the Range field; <size> the representation's.  Ranges are clipped to it; unsatisfiable
 * ones among satisfiable ones are dropped.  Adjacent and overlapping ranges in ascending order are
 * not merged.  RANGE_TOO_MANY when the ranges' sum is more than twice <size> with more than two
 * ranges.  "5-2" is unsatisfiable, not bad syntax: the conformance suite wants 416 for it.
 */
enum range_result range_parse(struct slice value, uint64_t size, struct range *out, unsigned max,
			      unsigned *count);

/* "bytes 5-9/100" or "bytes 5-9/ *" (*total = UINT64_MAX); false: anything else. */
bool content_range_parse(struct slice value, uint64_t *from, uint64_t *to, uint64_t *total);

/* If-None-Match / If-Match lists: "*", weak tags compare equal (weak comparison). */
bool etag_matches(struct slice list, struct slice etag);
