/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/pool.h"

#include "test.h"

TEST(blocks_are_aligned_and_of_their_size)
{
	struct pool p;
	char *b;

	pool_init(&p, "test", 100, 4, 4);
	b = pool_get(&p);
	require(b);
	check_eq((uintptr_t)b % 64, 0);
	memset(b, 1, 100); /* ASan watches */
	pool_put(&p, b);
	pool_fini(&p);
}

TEST(the_bound_on_blocks_out_holds)
{
	struct pool p;
	void *a, *b;

	pool_init(&p, "test", 64, 2, 2);
	a = pool_get(&p);
	b = pool_get(&p);
	check(a && b && a != b);
	check(pool_get(&p) == NULL);
	pool_put(&p, a);
	check_eq(p.out, 1);
	a = pool_get(&p);
	check(a != NULL);
	pool_put(&p, a);
	pool_put(&p, b);
	pool_fini(&p);
}

TEST(the_last_put_is_the_first_got)
{
	struct pool p;
	void *a, *b;

	pool_init(&p, "test", 64, 8, 8);
	a = pool_get(&p);
	b = pool_get(&p);
	pool_put(&p, a);
	pool_put(&p, b);
	check(pool_get(&p) == b); /* still in the CPU's cache */
	check(pool_get(&p) == a);
	pool_put(&p, a);
	pool_put(&p, b);
	pool_fini(&p);
}

TEST(no_more_than_kept_max_are_kept)
{
	struct pool p;
	void *v[5];

	pool_init(&p, "test", 64, 5, 2);
	for (int i = 0; i < 5; i++)
		v[i] = pool_get(&p);
	for (int i = 0; i < 5; i++)
		pool_put(&p, v[i]);
	check_eq(p.kept, 2);
	check_eq(p.out, 0);
	pool_fini(&p);
	check_eq(p.kept, 0);
}
