/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/turns.h"

#include "test.h"

TEST(who_is_asked_first_goes_and_others_come_in_order)
{
	struct turns t = { 0 };

	check(turns_may(&t, 1));
	turns_took(&t, 1, 1000);
	check(!t.over);
	check(turns_may(&t, 1));
	check(!turns_may(&t, 5));
	check(!turns_may(&t, 3));
	check(!turns_may(&t, 5)); /* once is enough */
	turns_took(&t, 1, TURN_BYTES - 1000);
	check(t.over);
	check_eq(turns_next(&t), 5);
	check(!turns_may(&t, 1)); /* behind 3 */
	turns_took(&t, 5, TURN_BYTES);
	check_eq(turns_next(&t), 3);
	turns_took(&t, 3, TURN_BYTES);
	check_eq(turns_next(&t), 1);
	turns_took(&t, 1, TURN_BYTES);
	check(turns_waiting(&t));
	check_eq(turns_next(&t), 0);
	check(!turns_waiting(&t));
}

TEST(a_turn_begins_from_nothing)
{
	struct turns t = { 0 };

	turns_took(&t, 1, TURN_BYTES - 1);
	check(!turns_may(&t, 3));
	check_eq(turns_next(&t), 3);
	turns_took(&t, 3, 1);
	check(!t.over);
}

TEST(who_waits_or_is_gone_has_no_turn)
{
	struct turns t = { 0 };

	turns_took(&t, 1, 1);
	check(!turns_may(&t, 3));
	check(!turns_may(&t, 5));
	turns_leave(&t);
	check(t.over);
	check(turns_may(&t, 7)); /* nobody's */
	turns_forget(&t, 3);
	check_eq(turns_next(&t), 5);
	check(!t.over);
	turns_forget(&t, 5);
	check(t.over);
	check_eq(turns_next(&t), 0);
}

TEST(who_finds_no_place_goes_out_of_turn)
{
	struct turns t = { 0 };

	turns_took(&t, 1, 1);
	for (int32_t id = 3; id < 3 + TURNS_MAX; id++)
		check(!turns_may(&t, id));
	check(turns_may(&t, 3 + TURNS_MAX));
	for (int32_t id = 3; id < 3 + TURNS_MAX; id++)
		check_eq(turns_next(&t), id);
	check_eq(turns_next(&t), 0);
}
