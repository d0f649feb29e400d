/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How large a socket's buffers have to be: what a line holds (bandwidth x RTT), twice, since the
 * kernel counts its own bookkeeping into a buffer and a sender keeps up to a window unsent; rounded
 * up to a power of two; at most a sixteenth of the memory, so that a dozen slow connections do not
 * take it all.  Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

enum {
	BDP_RTT_MAX_MS = 5000,
	BDP_MEMORY_SHARE = 16,
};
#define BDP_MBIT 1000000ull
#define BDP_BANDWIDTH_MAX (400 * 1000 * BDP_MBIT)
#define BDP_BUFFER_MIN (4ull << 20)   /* what the kernel has for a sender by itself */
#define BDP_BUFFER_MAX (512ull << 20) /* twice that is near what the kernel's int can hold */

struct bdp {
	uint64_t rtt_ms;
	uint64_t bandwidth; /* bits a second */
	uint64_t memory_bytes;
	uint64_t line_bytes;   /* bandwidth x RTT / 8 */
	uint64_t want_bytes;   /* twice that, a power of two */
	uint64_t buffer_bytes; /* what may be had of it */
	const char *bound;     /* by what it was made smaller or larger, or NULL */
};

struct bdp bdp_of(uint64_t rtt_ms, uint64_t bandwidth, uint64_t memory_bytes);
/* "1gbit", "100mbit", "2.5gbit": 1 Mbit to 400 Gbit a second. */
bool bdp_parse_bandwidth(struct slice text, uint64_t *bandwidth) must_check;
/* The arithmetic as a person would write it down. */
void bdp_format(const struct bdp *b, char *out, unsigned room);
