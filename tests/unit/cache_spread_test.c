/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/spread.h"

#include <stdlib.h>
#include <string.h>

#include "test.h"

TEST(stretches_are_taken_in_order_and_the_prefix_follows)
{
	struct spread s;
	struct stretch *a, *b, *c;

	spread_begin(&s, 100, 350, 100);
	check_eq(spread_prefix(&s), 100);
	a = spread_take(&s);
	b = spread_take(&s);
	require(a && b);
	check_eq(a->at, 100);
	check_eq(a->end, 200);
	check_eq(b->at, 200);
	check_eq(b->end, 350); /* no short one at the end */
	check(!spread_take(&s));
	check(spread_is_first(&s, a) && !spread_is_first(&s, b));
	spread_wrote(b, 150);
	spread_leave(b);
	check_eq(spread_prefix(&s), 100);
	spread_wrote(a, 40);
	check_eq(spread_prefix(&s), 140);
	spread_leave(a);
	check_eq(spread_prefix(&s), 140);
	c = spread_take(&s); /* where it was left */
	check(c == a);
	check_eq(a->at, 140);
	spread_wrote(a, 60);
	check_eq(spread_prefix(&s), 350);
	spread_leave(a);
	check_eq(spread_prefix(&s), 350);
	check(!spread_take(&s));
}

TEST(a_stream_goes_on_into_what_nobody_has)
{
	struct spread s;
	struct stretch *a, *b, *c;

	spread_begin(&s, 0, 500, 100);
	a = spread_take(&s);
	b = spread_take(&s);
	require(a && b);
	spread_wrote(b, 30);
	spread_wrote(a, 100);
	check(!spread_follow(&s, a)); /* b is taken */
	check_eq(spread_prefix(&s), 130);
	spread_wrote(b, 70);
	a = spread_follow(&s, b); /* a new one */
	require(a);
	check_eq(a->at, 200);
	b = spread_take(&s);
	require(b);
	spread_wrote(b, 99);
	spread_leave(b);
	spread_wrote(a, 100);
	c = spread_follow(&s, a); /* what is there of it stays */
	require(c == b);
	check_eq(c->at, 399);
	check_eq(spread_prefix(&s), 399);
	b = spread_take(&s);
	require(b);
	spread_wrote(b, 100);
	spread_leave(b);
	spread_wrote(c, 1);
	check_eq(spread_prefix(&s), 500);
	check(!spread_follow(&s, c)); /* it is written already */
	check_eq(spread_prefix(&s), 500);
}

/* Nobody is woken when one is left: who comes then must find its place. */
TEST(the_first_one_makes_room_when_it_is_left)
{
	struct spread s;
	struct stretch *first;

	spread_begin(&s, 0, 1000, 10);
	first = spread_take(&s);
	require(first);
	for (unsigned i = 1; i < SPREAD_STRETCHES; i++) {
		struct stretch *st = spread_take(&s);

		require(st);
		spread_wrote(st, 10);
		spread_leave(st);
	}
	check(!spread_take(&s));
	spread_wrote(first, 10);
	check_eq(spread_prefix(&s), 10ull * SPREAD_STRETCHES);
	spread_leave(first);
	first = spread_take(&s);
	require(first);
	check_eq(first->at, 10ull * SPREAD_STRETCHES);
}

/* Any number of writers that come, go, leave and follow: no byte is missed, none is early. */
TEST(every_byte_is_written_before_the_prefix_passes_it)
{
	enum { SIZE = 5000, WRITERS = 16, TURNS = 100 * 1000 };

	for (unsigned seed = 1; seed <= 50; seed++) {
		struct stretch *has[WRITERS] = { 0 };
		char written[SIZE] = { 0 };
		struct spread s;
		uint64_t prefix = 0;
		unsigned turns = 0;

		srand(seed);
		spread_begin(&s, (uint64_t)rand() % 100, SIZE, 1 + (uint64_t)rand() % 200);
		memset(written, 1, s.prefix);
		while (prefix < SIZE && turns++ < TURNS) {
			struct stretch **w = &has[rand() % WRITERS];
			uint64_t n, left;

			if (!*w) {
				*w = spread_take(&s);
				continue;
			}
			left = (*w)->end - (*w)->at;
			if (left == 0) {
				if (rand() % 2)
					*w = spread_follow(&s, *w);
				else
					spread_leave(*w), *w = NULL;
			} else if (rand() % 10 == 0) {
				spread_leave(*w);
				*w = NULL;
			} else {
				n = 1 + (uint64_t)rand() % left;
				memset(written + (*w)->at, 1, n);
				spread_wrote(*w, n);
			}
			check(spread_prefix(&s) >= prefix);
			prefix = spread_prefix(&s);
			if (!check(!memchr(written, 0, prefix)))
				return;
		}
		check_eq(prefix, SIZE);
	}
}
