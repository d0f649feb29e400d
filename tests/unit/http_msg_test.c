/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/msg.h"

#include "test.h"

TEST(uint_is_digits_only)
{
	uint64_t n = 1;

	check(http_parse_uint(SLICE("0"), &n) && n == 0);
	check(http_parse_uint(SLICE("007"), &n) && n == 7);
	check(http_parse_uint(SLICE("9999999999999999999"), &n) && n == 9999999999999999999u);
	check(!http_parse_uint(SLICE("10000000000000000000"), &n));
	check(!http_parse_uint(SLICE(""), &n));
	check(!http_parse_uint(SLICE_NONE, &n));
	check(!http_parse_uint(SLICE("+1"), &n));
	check(!http_parse_uint(SLICE("-1"), &n));
	check(!http_parse_uint(SLICE(" 1"), &n));
	check(!http_parse_uint(SLICE("1a"), &n));
}

TEST(dates_are_imf_fixdates)
{
	char text[32];

	http_format_date(0, text);
	check_str(text, "Thu, 01 Jan 1970 00:00:00 GMT");
	http_format_date(784111777, text);
	check_str(text, "Sun, 06 Nov 1994 08:49:37 GMT");
	http_format_date(253402300799, text);
	check_str(text, "Fri, 31 Dec 9999 23:59:59 GMT");
}

TEST(tokens_are_found_in_any_list)
{
	struct msg m = { .fields_count = 3 };

	m.fields[0] = (struct field){ SLICE("Connection"), SLICE("a, B ,,c") };
	m.fields[1] = (struct field){ SLICE("Other"), SLICE("e") };
	m.fields[2] = (struct field){ SLICE("connection"), SLICE("d") };
	check(msg_has_token(&m, "CONNECTION", SLICE("a")));
	check(msg_has_token(&m, "connection", SLICE("b")));
	check(msg_has_token(&m, "connection", SLICE("c")));
	check(msg_has_token(&m, "connection", SLICE("d")));
	check(!msg_has_token(&m, "connection", SLICE("e")));
	check(!msg_has_token(&m, "connection", SLICE("a, b")));
}

TEST(reasons)
{
	check_str(http_reason(404), "Not Found");
	check_str(http_reason(299), "Unknown");
}

TEST(dates_are_read_in_three_forms)
{
	int64_t at = 0;

	check(http_parse_date(SLICE("Sun, 06 Nov 1994 08:49:37 GMT"), &at));
	check_eq(at, 784111777);
	check(http_parse_date(SLICE("Sunday, 06-Nov-94 08:49:37 GMT"), &at));
	check_eq(at, 784111777);
	check(http_parse_date(SLICE("Sun Nov  6 08:49:37 1994"), &at));
	check_eq(at, 784111777);
	check(!http_parse_date(SLICE("Sun, 06 Nov 1994 08:49:37 GMT, now"), &at));
	check(!http_parse_date(SLICE(""), &at));
	check(!http_parse_date(SLICE_NONE, &at));
	check(!http_parse_date(((struct slice){ "Sun Nov  6 08:49:37 1994\0x", 26 }), &at));
}
