/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Numbers as people write them in a configuration: "10s", "40G", "1024".  Whole numbers only, no
 * sign, no fraction; what a formatter writes, its parser gives back unchanged.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

enum { UNITS_TEXT_MAX = 24 }; /* 20 digits, a unit of 2, NUL */

/* Digits alone.  Like the next two: false, and *n as it was, when it is none or too large. */
bool units_parse_uint(struct slice text, uint64_t *n) must_check;
/* ms, s, m, h, d; the unit may be left out only for 0. */
bool units_parse_ms(struct slice text, uint64_t *ms) must_check;
/* Powers of 1024: K, M, G, T with B or iB after them if one likes, in any case; bytes without. */
bool units_parse_bytes(struct slice text, uint64_t *bytes) must_check;

/* With the largest unit that leaves a whole number. */
/* Decimal digits; returns their end, where a NUL is. */
char *units_format_uint(uint64_t n, char out[UNITS_TEXT_MAX]);
void units_format_ms(uint64_t ms, char out[UNITS_TEXT_MAX]);
void units_format_bytes(uint64_t bytes, char out[UNITS_TEXT_MAX]);
