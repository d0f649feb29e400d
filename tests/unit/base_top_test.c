/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/top.h"

#include "test.h"

static struct slice number(char text[16], unsigned n)
{
	snprintf(text, 16, "r%u", n);
	return slice_of(text);
}

static const struct top_entry *find(const struct top *t, const char *name)
{
	for (unsigned i = 0; i < t->used; i++)
		if (slice_eq(top_name(&t->v[i]), slice_of(name)))
			return &t->v[i];
	return NULL;
}

TEST(few_names_are_counted_exactly)
{
	struct top t = { 0 };

	for (unsigned i = 0; i < 3; i++)
		top_add(&t, SLICE("m"), SLICE("a"), 1, 10);
	top_add(&t, SLICE("m"), SLICE("b"), 2, 5);
	top_sort(&t);
	check_eq(t.used, 2);
	check(slice_eq(top_name(&t.v[0]), SLICE("m/a")));
	check_eq(t.v[0].count, 3);
	check_eq(t.v[0].bytes, 30);
	check_eq(t.v[0].error, 0);
	check_eq(t.v[1].count, 2);
}

TEST(folder_and_name_do_not_run_together)
{
	struct top t = { 0 };

	top_add(&t, SLICE("a/b"), SLICE("c"), 1, 0);
	top_add(&t, SLICE("a"), SLICE("bc"), 1, 0);
	check_eq(t.used, 2);
}

/* Each frequent name is met more than total / TOP_ENTRIES times: it has to be there. */
TEST(what_is_frequent_stays_among_thousands_of_rare_names)
{
	struct top t = { 0 };
	char text[16];
	uint64_t total = 0;

	for (unsigned i = 0; i < 20000; i++, total++) {
		top_add(&t, SLICE("m"), number(text, i % 10 ? 100 + i : i % 50), 1, 1);
		check(t.used <= TOP_ENTRIES);
	}
	for (unsigned i = 0; i < 50; i += 10) {
		const struct top_entry *e;

		snprintf(text, sizeof(text), "m/r%u", i);
		e = find(&t, text);
		require(e);
		check(e->count >= 400);
		check(e->count - e->error <= 400);
		check(e->error <= total / TOP_ENTRIES);
	}
}

TEST(merging_adds_up)
{
	struct top a = { 0 }, b = { 0 };

	top_add(&a, SLICE("m"), SLICE("x"), 4, 40);
	top_add(&b, SLICE("m"), SLICE("x"), 3, 30);
	top_add(&b, SLICE("m"), SLICE("y"), 9, 90);
	top_merge(&a, &b);
	top_sort(&a);
	check_eq(a.used, 2);
	check(slice_eq(top_name(&a.v[0]), SLICE("m/y")));
	check_eq(a.v[1].count, 7);
	check_eq(a.v[1].bytes, 70);
}

TEST(a_long_name_is_cut)
{
	struct top t = { 0 };
	char name[2 * TOP_NAME_MAX];

	memset(name, 'n', sizeof(name));
	top_add(&t, SLICE("m"), (struct slice){ name, sizeof(name) }, 1, 0);
	top_add(&t, SLICE("m"), (struct slice){ name, sizeof(name) - 1 }, 1, 0);
	check_eq(t.v[0].len, TOP_NAME_MAX);
	check_eq(t.used, 2);
}
