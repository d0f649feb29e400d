/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/bdp.h"

#include "test.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

TEST(buffers_hold_twice_what_the_line_does)
{
	struct bdp b = bdp_of(200, 1000 * BDP_MBIT, 16 * GIB);

	check_eq(b.line_bytes, 25 * 1000 * 1000);
	check_eq(b.want_bytes, 64 * MIB);
	check_eq(b.buffer_bytes, 64 * MIB);
	check(!b.bound);
}

TEST(memory_bounds_them)
{
	struct bdp b = bdp_of(200, 10000 * BDP_MBIT, 2 * GIB);

	check_eq(b.want_bytes, 512 * MIB);
	check_eq(b.buffer_bytes, 128 * MIB);
	check_str(b.bound, "a sixteenth of the memory");
	/* Whole MiB, rounded down. */
	check_eq(bdp_of(200, 1000 * BDP_MBIT, 1000000 * 1024ull).buffer_bytes, 61 * MIB);
}

TEST(they_are_never_less_than_the_kernel_s_nor_more_than_it_takes)
{
	check_eq(bdp_of(1, BDP_MBIT, 16 * GIB).buffer_bytes, BDP_BUFFER_MIN);
	check_eq(bdp_of(200, 1000 * BDP_MBIT, 16 * MIB).buffer_bytes, BDP_BUFFER_MIN);
	check_eq(bdp_of(BDP_RTT_MAX_MS, BDP_BANDWIDTH_MAX, 1024 * GIB).buffer_bytes,
		 BDP_BUFFER_MAX);
}

TEST(bandwidths_are_read)
{
	uint64_t n = 7;

	check(bdp_parse_bandwidth(SLICE("100mbit"), &n));
	check_eq(n, 100 * BDP_MBIT);
	check(bdp_parse_bandwidth(SLICE("2.5gbit"), &n));
	check_eq(n, 2500 * BDP_MBIT);
	check(bdp_parse_bandwidth(SLICE("400gbit"), &n));
	check_eq(n, BDP_BANDWIDTH_MAX);
}

TEST(what_is_no_bandwidth_is_refused)
{
	static const char *const bad[] = {
		"",          "gbit",   "mbit",      "1",
		"1g",        "1 gbit", "0mbit",     "401gbit",
		"-1gbit",    "1.gbit", "1.25gbit",  ".5gbit",
		"1.5.5gbit", "1GBIT",  "400.1gbit", "99999999999999999999gbit"
	};
	uint64_t n = 7;

	for (unsigned i = 0; i < countof(bad); i++)
		check(!bdp_parse_bandwidth(slice_of(bad[i]), &n));
	check_eq(n, 7);
}

TEST(the_arithmetic_is_shown)
{
	struct bdp b = bdp_of(200, 1000 * BDP_MBIT, GIB);
	char text[512];

	bdp_format(&b, text, sizeof(text));
	check_str(
		text,
		"1000 Mbit/s x 200 ms / 8 = 25000000 bytes on the line; twice that, as a power of "
		"two: 64M; memory 1024 MiB / 16 = 64 MiB; buffers up to 64M");
}
