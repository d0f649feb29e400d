/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/slice.h"

#include "test.h"

static bool is(struct slice s, const char *text)
{
	return slice_eq(s, slice_of(text));
}

TEST(none_equals_empty)
{
	check(slice_eq(SLICE_NONE, SLICE("")));
	check(slice_ieq(SLICE(""), SLICE_NONE));
	check(slice_starts(SLICE("a"), SLICE("")));
	check_eq(slice_of(NULL).len, 0);
}

TEST(case_counts_only_where_it_should)
{
	check(!slice_eq(SLICE("Host"), SLICE("host")));
	check(slice_ieq(SLICE("Host"), SLICE("hOST")));
	check(!slice_ieq(SLICE("Host"), SLICE("Hos")));
}

TEST(prefix_and_suffix)
{
	check(slice_starts(SLICE("/v2/x"), SLICE("/v2/")));
	check(!slice_starts(SLICE("/v"), SLICE("/v2/")));
	check(slice_ends(SLICE("a.json"), SLICE(".json")));
	check(!slice_ends(SLICE("json"), SLICE(".json")));
}

TEST(skip_and_first_stop_at_the_end)
{
	check(is(slice_skip(SLICE("abc"), 1), "bc"));
	check(is(slice_skip(SLICE("abc"), 9), ""));
	check(is(slice_first(SLICE("abc"), 2), "ab"));
	check(is(slice_first(SLICE("abc"), 9), "abc"));
}

TEST(find_gives_the_length_when_there_is_none)
{
	check_eq(slice_find(SLICE("a:b"), ':'), 1);
	check_eq(slice_find(SLICE("ab"), ':'), 2);
	check_eq(slice_find(SLICE_NONE, ':'), 0);
}

TEST(trim_takes_blanks_and_tabs_only)
{
	check(is(slice_trim(SLICE(" \t a b \t")), "a b"));
	check(is(slice_trim(SLICE(" \t ")), ""));
	check(is(slice_trim(SLICE("\ra\n")), "\ra\n"));
}

TEST(cut_walks_a_list)
{
	struct slice s = SLICE("a,,b");

	check(is(slice_cut(&s, ','), "a"));
	check(is(slice_cut(&s, ','), ""));
	check(is(slice_cut(&s, ','), "b"));
	check_eq(s.len, 0);
	check(is(slice_cut(&s, ','), ""));
}

TEST(a_zero_byte_is_a_byte)
{
	struct slice s = SLICE("a\0b");

	check_eq(s.len, 3);
	check(!slice_eq(s, SLICE("a\0c")));
	check_eq(slice_find(s, 'b'), 2);
}
