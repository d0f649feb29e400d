/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/range.h"

#include "base/assert.h"
#include "test.h"

/* "from+bytes ..." or the result's name, of a Range field on a representation of <size> bytes. */
static const char *ranges(const char *value, uint64_t size)
{
	static char text[256];
	struct range out[8];
	unsigned count;
	int n = 0;

	switch (range_parse(slice_of(value), size, out, countof(out), &count)) {
	case RANGE_IGNORE: return "ignore";
	case RANGE_UNSATISFIABLE: return "416";
	case RANGE_TOO_MANY: return "many";
	case RANGE_OK: break;
	}
	for (unsigned i = 0; i < count; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%ju+%ju", i ? " " : "",
			      (uintmax_t)out[i].from, (uintmax_t)out[i].bytes);
	return text;
}

TEST(cases_of_the_conformance_suite)
{
	check_str(ranges("bytes=500-1499", 2048), "500+1000");
	check_str(ranges("bytes=500-", 2048), "500+1548");
	check_str(ranges("bytes=-500", 2048), "1548+500");
	check_str(ranges("bytes=2000-5000", 2048), "2000+48");
	check_str(ranges("bytes=500-0", 2048), "416");
	check_str(ranges("bytes=5000-10000", 2048), "416");
}

TEST(edges_of_one_range)
{
	check_str(ranges("bytes=0-0", 1), "0+1");
	check_str(ranges("bytes=0-", 1), "0+1");
	check_str(ranges("bytes=1-", 1), "416");
	check_str(ranges("bytes=-9", 4), "0+4");
	check_str(ranges("bytes=-0", 4), "416");
	check_str(ranges("bytes=0-", 0), "416");
	check_str(ranges("bytes=-5", 0), "416");
	check_str(ranges("BYTES=0-1", 4), "0+2");
	check_str(ranges("bytes=0-99999999999999999999999", 4), "0+4");
	check_str(ranges("bytes=99999999999999999999999-", 4), "416");
	check_str(ranges("bytes=18446744073709551616-", 4), "416");
	check_str(ranges("bytes=-99999999999999999999999", 4), "0+4");
	check_str(ranges("bytes=0-18446744073709551615", UINT64_MAX), "0+18446744073709551615");
	check_str(ranges("bytes=000-0001", 4), "0+2");
}

TEST(bad_syntax_is_ignored)
{
	static const char *const values[] = {
		"",           "bytes",       "bytes=",     "bytes=,",     "bytes=-",
		"bytes=a-b",  "bytes=1",     "bytes=1--2", "bytes=1-2-3", "bytes=1 - 2",
		"bytes =1-2", "items=0-1",   "bytes=+1-2", "bytes=1-2;",  "bytes=0x1-2",
		"bytes:1-2",  "bytes=0-1,x",
	};

	for (size_t i = 0; i < countof(values); i++)
		if (!check_str(ranges(values[i], 10), "ignore"))
			printf("# value: %s\n", values[i]);
	check_eq(range_parse(SLICE_NONE, 10, &(struct range){ 0 }, 1, &(unsigned){ 0 }),
		 RANGE_IGNORE);
}

TEST(several_ranges)
{
	check_str(ranges("bytes=0-1,4-5", 10), "0+2 4+2");
	check_str(ranges("bytes=0-1 ,\t4-5,, -1", 10), "0+2 4+2 9+1");
	check_str(ranges("bytes=4-5,0-1", 10), "4+2 0+2");
	check_str(ranges("bytes=0-1,20-30,5-2,8-", 10), "0+2 8+2");
	check_str(ranges("bytes=20-30,40-", 10), "416");
	check_str(ranges("bytes=0-1,1-2", 10), "0+2 1+2");
}

TEST(abuse_is_refused)
{
	check_str(ranges("bytes=0-,0-,0-", 10), "many");
	check_str(ranges("bytes=0-,0-", 10), "0+10 0+10");
	check_str(ranges("bytes=0-,0-8,0-0", 10), "0+10 0+9 0+1");
	check_str(ranges("bytes=0-,0-,0-0", 10), "many");
	check_str(ranges("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7", 10),
		  "0+1 1+1 2+1 3+1 4+1 5+1 6+1 7+1");
	check_str(ranges("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8", 10), "many");
	check_str(ranges("bytes=0-,0-,0-", UINT64_MAX), "many");
}

/* What podman asks of a zstd:chunked layer. */
TEST(a_thousand_ranges)
{
	static char text[32 * 1024];
	static struct range out[HTTP_RANGES_MAX];
	unsigned count;
	int n = snprintf(text, sizeof(text), "bytes=");

	for (unsigned i = 0; i < 1022; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%u-%u", i ? "," : "",
			      i * 50000, i * 50000 + 30000);
	check_eq(range_parse(slice_of(text), 52279762, out, HTTP_RANGES_MAX, &count), RANGE_OK);
	check_eq(count, 1022);
	check_eq(out[1021].from, 1021 * 50000);
	check_eq(out[1021].bytes, 30001);
}

TEST(content_ranges)
{
	uint64_t from, to, total;

	require(content_range_parse(SLICE("bytes 5-9/100"), &from, &to, &total));
	check(from == 5 && to == 9 && total == 100);
	require(content_range_parse(SLICE("Bytes 0-0/*"), &from, &to, &total));
	check(from == 0 && to == 0 && total == UINT64_MAX);
	check(!content_range_parse(SLICE("bytes */100"), &from, &to, &total));
	check(!content_range_parse(SLICE("bytes 9-5/100"), &from, &to, &total));
	check(!content_range_parse(SLICE("bytes 5-100/100"), &from, &to, &total));
	check(!content_range_parse(SLICE("bytes 5-9"), &from, &to, &total));
	check(!content_range_parse(SLICE("bytes=5-9/100"), &from, &to, &total));
	check(!content_range_parse(SLICE("bytes 5-9/100x"), &from, &to, &total));
	check(!content_range_parse(SLICE_NONE, &from, &to, &total));
}

TEST(entity_tags)
{
	const struct slice tag = SLICE("\"sha256:aa\"");

	check(etag_matches(SLICE("\"sha256:aa\""), tag));
	check(etag_matches(SLICE("W/\"sha256:aa\""), tag));
	check(etag_matches(SLICE("\"sha256:aa\""), SLICE("W/\"sha256:aa\"")));
	check(etag_matches(SLICE("\"x,y\" , W/\"z\",\"sha256:aa\""), tag));
	check(etag_matches(SLICE(" * "), tag));
	check(!etag_matches(SLICE("*"), SLICE_NONE));
	check(!etag_matches(SLICE("sha256:aa"), tag));
	check(!etag_matches(SLICE("\"sha256:aa"), tag));
	check(!etag_matches(SLICE("\"SHA256:AA\""), tag));
	check(!etag_matches(SLICE("\"\""), tag));
	check(!etag_matches(SLICE("W/"), tag));
	check(!etag_matches(SLICE_NONE, tag));
}
