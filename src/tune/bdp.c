/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/bdp.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/units.h"

static uint64_t power_of_two(uint64_t n)
{
	uint64_t p = 1;

	while (p < n)
		p *= 2;
	return p;
}

struct bdp bdp_of(uint64_t rtt_ms, uint64_t bandwidth, uint64_t memory_bytes)
{
	struct bdp b = { .rtt_ms = rtt_ms, .bandwidth = bandwidth, .memory_bytes = memory_bytes };
	uint64_t share = memory_bytes / BDP_MEMORY_SHARE;

	assert(rtt_ms <= BDP_RTT_MAX_MS);
	assert(bandwidth <= BDP_BANDWIDTH_MAX);
	b.line_bytes = bandwidth / 8 * rtt_ms / 1000;
	b.want_bytes = power_of_two(2 * b.line_bytes);
	b.buffer_bytes = b.want_bytes;
	if (b.buffer_bytes > BDP_BUFFER_MAX) {
		b.buffer_bytes = BDP_BUFFER_MAX;
		b.bound = "the largest that makes sense in the kernel";
	}
	if (b.buffer_bytes > share) {
		/* Whole MiB: a number that people recognise. */
		b.buffer_bytes = share & ~((1ull << 20) - 1);
		b.bound = "a sixteenth of the memory";
	}
	if (b.buffer_bytes < BDP_BUFFER_MIN) {
		b.buffer_bytes = BDP_BUFFER_MIN;
		b.bound = "the kernel's own maximum for a sender";
	}
	return b;
}

bool bdp_parse_bandwidth(struct slice text, uint64_t *bandwidth)
{
	struct slice rest = text, whole;
	uint64_t n, tenths = 0, unit = BDP_MBIT;

	if (slice_ends(text, SLICE("gbit")))
		unit = 1000 * BDP_MBIT;
	else if (!slice_ends(text, SLICE("mbit")))
		return false;
	rest = slice_first(text, text.len - 4);
	whole = slice_cut(&rest, '.');
	if (!units_parse_uint(whole, &n) || n > BDP_BANDWIDTH_MAX / unit)
		return false;
	if (whole.len < text.len - 4 && (rest.len != 1 || !units_parse_uint(rest, &tenths)))
		return false;
	n = n * unit + tenths * unit / 10;
	if (n < BDP_MBIT || n > BDP_BANDWIDTH_MAX)
		return false;
	*bandwidth = n;
	return true;
}

void bdp_format(const struct bdp *b, char *out, unsigned room)
{
	char want[UNITS_TEXT_MAX], buffer[UNITS_TEXT_MAX];

	units_format_bytes(b->want_bytes, want);
	units_format_bytes(b->buffer_bytes, buffer);
	snprintf(out, room,
		 "%g Mbit/s x %" PRIu64 " ms / 8 = %" PRIu64 " bytes on the line; twice that, as a "
		 "power of two: %s; memory %" PRIu64 " MiB / %d = %" PRIu64 " MiB; buffers up to %s"
		 "%s%s%s",
		 (double)b->bandwidth / 1e6, b->rtt_ms, b->line_bytes, want, b->memory_bytes >> 20,
		 BDP_MEMORY_SHARE, (b->memory_bytes / BDP_MEMORY_SHARE) >> 20, buffer,
		 b->bound ? " (" : "", b->bound ? b->bound : "", b->bound ? ")" : "");
}
