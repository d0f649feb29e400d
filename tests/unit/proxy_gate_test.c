/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/gate.h"

#include <stdio.h>

#include "test.h"

static struct gate_key key_of(const struct gate *g, const char *a, const char *b)
{
	struct slice parts[] = { slice_of(a), slice_of(b) };
	struct gate_key k;

	gate_key_of(g, parts, 2, &k);
	return k;
}

TEST(a_grant_is_for_its_parts_alone)
{
	struct gate *g = gate_new();
	struct gate *other = gate_new();
	struct gate_key k, wrong;
	uint64_t bytes = 0;

	require(g && other);
	k = key_of(g, "ab", "c");
	gate_add(g, &k, 1000, 500, 7);
	check(gate_has(g, &k, 1000, &bytes));
	check(gate_has(g, &k, 1499, &bytes));
	check_eq(bytes, 7);
	check(!gate_has(g, &k, 1500, &bytes));
	wrong = key_of(g, "a", "bc");
	check(!gate_has(g, &wrong, 1000, &bytes));
	wrong = key_of(g, "ab", NULL);
	check(!gate_has(g, &wrong, 1000, &bytes));
	wrong = key_of(g, "ab", "");
	check(!gate_has(g, &wrong, 1000, &bytes));
	/* Salted. */
	wrong = key_of(other, "ab", "c");
	check(!gate_has(g, &wrong, 1000, &bytes));
	gate_free(g);
	gate_free(other);
}

TEST(a_grant_never_outlives_the_cap)
{
	struct gate *g = gate_new();
	struct gate_key k;
	uint64_t bytes;

	require(g);
	k = key_of(g, "a", "b");
	gate_add(g, &k, 0, UINT64_MAX / 2, 7);
	check(gate_has(g, &k, GATE_LIFE_MAX_MS - 1, &bytes));
	check(!gate_has(g, &k, GATE_LIFE_MAX_MS, &bytes));
	gate_add(g, &k, GATE_LIFE_MAX_MS, 0, 7);
	check(!gate_has(g, &k, GATE_LIFE_MAX_MS, &bytes));
	gate_free(g);
}

TEST(the_grant_unused_for_longest_goes_first)
{
	struct gate *g = gate_new();
	struct gate_key k;
	char text[16];
	uint64_t bytes;

	require(g);
	for (unsigned i = 0; i < GATE_GRANTS + 10; i++) {
		snprintf(text, sizeof(text), "%u", i);
		k = key_of(g, text, "");
		gate_add(g, &k, 0, 1000, 7);
		k = key_of(g, "0", "");
		check(gate_has(g, &k, 0, &bytes));
	}
	for (unsigned i = 0; i < GATE_GRANTS + 10; i++) {
		snprintf(text, sizeof(text), "%u", i);
		k = key_of(g, text, "");
		check_eq(gate_has(g, &k, 0, &bytes), i == 0 || i > 10);
	}
	gate_free(g);
}

TEST(a_token_says_when_its_grant_ends)
{
	static const struct {
		const char *value;
		uint64_t ms;
	} cases[] = {
		/* {"exp":1000} ; {"exp":2000} ; {"exp":"x"} ; {} */
		{ "Bearer e30.eyJleHAiOjEwMDB9.x", 10 * 1000 },
		{ "bearer e30.eyJleHAiOjEwMDB9.x", 10 * 1000 },
		{ "Bearer  e30.eyJleHAiOjEwMDB9.x", 10 * 1000 },
		{ "Bearer e30.eyJleHAiOjIwMDB9.x", GATE_LIFE_MAX_MS },
		{ "Bearer e30.eyJleHAiOjk4MH0.x", 0 },
		{ "Bearer e30.eyJleHAiOiJ4In0.x", GATE_LIFE_MS },
		{ "Bearer e30.e30.x", GATE_LIFE_MS },
		{ "Bearer opaque", GATE_LIFE_MS },
		{ "Bearer a.!!.c", GATE_LIFE_MS },
		{ "Basic e30.eyJleHAiOjEwMDB9.x", GATE_LIFE_MS },
		{ "", GATE_LIFE_MS },
	};

	for (unsigned i = 0; i < countof(cases); i++)
		if (!check_eq(gate_life_ms(slice_of(cases[i].value), 990), cases[i].ms))
			printf("# %s\n", cases[i].value);
	check_eq(gate_life_ms(SLICE_NONE, 990), GATE_LIFE_MS);
}
