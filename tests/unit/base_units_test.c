/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/units.h"

#include "test.h"

static uint64_t ms(const char *text)
{
	uint64_t n = 7777;

	return units_parse_ms(slice_of(text), &n) ? n : UINT64_MAX;
}

static uint64_t bytes(const char *text)
{
	uint64_t n = 7777;

	return units_parse_bytes(slice_of(text), &n) ? n : UINT64_MAX;
}

TEST(times_are_read)
{
	check_eq(ms("500ms"), 500);
	check_eq(ms("10s"), 10000);
	check_eq(ms("5m"), 300000);
	check_eq(ms("1h"), 3600000);
	check_eq(ms("7d"), 604800000);
	check_eq(ms("0"), 0);
	check_eq(ms("0s"), 0);
}

TEST(times_without_unit_or_with_another_are_refused)
{
	static const char *const bad[] = { "",
					   "s",
					   "10",
					   "10 s",
					   " 10s",
					   "10s ",
					   "10S",
					   "1.5s",
					   "-1s",
					   "+1s",
					   "1w",
					   "10sec",
					   "1m30s",
					   "0x1s",
					   "18446744073709551616ms",
					   "18446744073709551615s" };

	for (size_t i = 0; i < countof(bad); i++)
		if (!check(ms(bad[i]) == UINT64_MAX))
			printf("# %s\n", bad[i]);
}

TEST(sizes_are_read)
{
	check_eq(bytes("0"), 0);
	check_eq(bytes("4096"), 4096);
	check_eq(bytes("4096B"), 4096);
	check_eq(bytes("512K"), 512 * 1024);
	check_eq(bytes("64M"), 64 << 20);
	check_eq(bytes("64m"), 64 << 20);
	check_eq(bytes("64MB"), 64 << 20);
	check_eq(bytes("64MiB"), 64 << 20);
	check_eq(bytes("40G"), 40ll << 30);
	check_eq(bytes("2T"), 2ll << 40);
}

TEST(bad_sizes_are_refused)
{
	static const char *const bad[] = {
		"",         "G",     "1.5G", "-1",  "1 G",  "1GG", "1iB",
		"1Ki",      "1Gbit", "1P",   "1BB", "0x10", "1e9", "18446744073709551616",
		"16777216T"
	};

	for (size_t i = 0; i < countof(bad); i++)
		if (!check(bytes(bad[i]) == UINT64_MAX))
			printf("# %s\n", bad[i]);
	check_eq(bytes("16777215T"), 16777215ull << 40);
}

TEST(a_refused_number_changes_nothing)
{
	uint64_t n = 42;

	check(!units_parse_uint(SLICE("12x"), &n));
	check(!units_parse_ms(SLICE("18446744073709551615d"), &n));
	check(!units_parse_bytes(SLICE("18446744073709551615K"), &n));
	check_eq(n, 42);
	check(units_parse_uint(SLICE("18446744073709551615"), &n));
	check(n == UINT64_MAX);
}

TEST(what_is_written_is_read_back)
{
	static const uint64_t values[] = { 0,          1,          999,       1000,     1024,
					   1025,       60000,      61000,     86400000, 1ull << 20,
					   3ull << 30, 5ull << 40, UINT64_MAX };
	char text[UNITS_TEXT_MAX];

	for (size_t i = 0; i < countof(values); i++) {
		uint64_t n = 0;

		units_format_ms(values[i], text);
		check(units_parse_ms(slice_of(text), &n));
		check(n == values[i]);
		units_format_bytes(values[i], text);
		check(units_parse_bytes(slice_of(text), &n));
		check(n == values[i]);
	}
}

TEST(the_largest_whole_unit_is_written)
{
	char text[UNITS_TEXT_MAX];

	units_format_ms(90000, text);
	check_str(text, "90s");
	units_format_ms(86400000, text);
	check_str(text, "1d");
	units_format_ms(0, text);
	check_str(text, "0s");
	units_format_bytes(40ull << 30, text);
	check_str(text, "40G");
	units_format_bytes(1000, text);
	check_str(text, "1000");
}

TEST(units_numbers)
{
	static const uint64_t n[] = { 0, 9, 10, 200, 65535, 1000000007, UINT64_MAX };
	char text[UNITS_TEXT_MAX], want[UNITS_TEXT_MAX];

	for (unsigned i = 0; i < countof(n); i++) {
		snprintf(want, sizeof(want), "%llu", (unsigned long long)n[i]);
		check(units_format_uint(n[i], text) == text + strlen(want));
		check_str(text, want);
	}
}
