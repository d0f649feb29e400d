/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/post.h"

#include "test.h"

TEST(post_key_update)
{
	struct post p = { 0 };

	check_eq(post_feed(&p, SLICE("\x18\0\0\1\0"), false), POST_KEY_UPDATE);
	check_eq(post_feed(&p, SLICE("\x18\0\0\1\1"), true), POST_KEY_UPDATE_ASKED);
	check_eq(post_feed(&p, SLICE("\x18\0"), false), POST_NONE);
	check_eq(post_feed(&p, SLICE("\0\1"), false), POST_NONE);
	check_eq(post_feed(&p, SLICE("\1"), false), POST_KEY_UPDATE_ASKED);
}

TEST(post_tickets_are_stepped_over_by_clients)
{
	static const char two[] = "\4\0\0\3abc\4\0\0\1x\x18\0\0\1\0";
	struct post p = { 0 };

	check_eq(post_feed(&p, SLICE("\4\0\0\3abc\4\0\0\1x\x18\0\0\1\0"), true), POST_KEY_UPDATE);
	for (size_t i = 0; i < sizeof(two) - 1; i++)
		check_eq(post_feed(&p, (struct slice){ two + i, 1 }, true),
			 i == sizeof(two) - 2 ? POST_KEY_UPDATE : POST_NONE);
	check_eq(post_feed(&p, SLICE("\4\0\0\3abc"), false), POST_BAD);
	p = (struct post){ 0 };
	check_eq(post_feed(&p, SLICE("\4\x02\0\0"), true), POST_NONE);
	p = (struct post){ 0 };
	check_eq(post_feed(&p, SLICE("\4\x04\0\0"), true), POST_BAD);
}

TEST(post_what_is_refused)
{
	const struct slice bad[] = {
		SLICE("\x18\0\0\1\2"), SLICE("\x18\0\0\2\0\0"), SLICE("\x18\0\0\1\0x"),
		SLICE("\1\0\0\1x"),    SLICE("\0\0\0\0"),       SLICE("\x0d\0\0\1x"),
	};

	for (size_t i = 0; i < countof(bad); i++) {
		struct post p = { 0 };

		check_eq(post_feed(&p, bad[i], true), POST_BAD);
	}
}
