/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/arena.h"

#include "test.h"

TEST(memory_is_zeroed_and_aligned)
{
	static const char zeros[100];
	struct arena a;

	arena_init(&a, 100000);
	for (size_t n = 1; n <= 100; n++) {
		char *p = arena_alloc(&a, n);

		require(p);
		check_eq((uintptr_t)p % _Alignof(max_align_t), 0);
		check_mem(p, zeros, n);
		memset(p, 0xff, n);
	}
	arena_reset(&a); /* the kept chunk is dirty now */
	check_mem(arena_alloc(&a, 100), zeros, 100);
	arena_fini(&a);
}

TEST(the_limit_holds_and_gives_null)
{
	struct arena a;

	arena_init(&a, 4096);
	check(arena_alloc(&a, 5000) == NULL);
	check(arena_alloc(&a, SIZE_MAX) == NULL);
	check(arena_alloc(&a, 4096) != NULL);
	check(arena_alloc(&a, 1) == NULL);
	check(a.used_bytes <= a.limit_bytes);
	arena_reset(&a);
	check_eq(a.used_bytes, 0);
	check(arena_alloc(&a, 4096) != NULL);
	arena_fini(&a);
}

TEST(what_alignment_adds_counts_too)
{
	struct arena a;

	arena_init(&a, 100);
	check(arena_alloc(&a, 100) == NULL || a.used_bytes <= 100);
	while (arena_alloc(&a, 7))
		check(a.used_bytes <= 100);
	check(a.used_bytes <= 100);
	arena_fini(&a);
}

TEST(large_and_small_may_be_mixed)
{
	char *p[64];
	struct arena a;

	arena_init(&a, 1 << 20);
	for (int i = 0; i < 64; i++) {
		size_t n = i % 3 ? 50 : 5000;

		p[i] = arena_alloc(&a, n);
		require(p[i]);
		memset(p[i], i, n);
	}
	for (int i = 0; i < 64; i++) {
		check_eq(p[i][0], i);
		check_eq(p[i][i % 3 ? 49 : 4999], i);
	}
	arena_fini(&a);
	arena_fini(&a); /* legal on an empty one */
}

TEST(strings_end_in_nul)
{
	struct arena a;

	arena_init(&a, 1000);
	check_str(arena_dup(&a, slice_first(SLICE("abcdef"), 3)), "abc");
	check_str(arena_dup(&a, SLICE_NONE), "");
	check_str(arena_printf(&a, "%s-%d", "x", 42), "x-42");
	check(arena_printf(&a, "%2000d", 1) == NULL);
	arena_fini(&a);
}

/* The first chunk is the caller's: nothing of it is freed, and what it cannot hold is malloc'ed. */
TEST(arena_in_given_memory)
{
	max_align_t mem[512 / sizeof(max_align_t)];
	struct arena a;
	char *p;

	arena_init_in(&a, 100000, mem, sizeof(mem));
	p = arena_alloc(&a, 100);
	require(p);
	check(p > (char *)mem && p + 100 <= (char *)mem + sizeof(mem));
	p = arena_alloc(&a, 5000);
	require(p);
	check(p < (char *)mem || p >= (char *)mem + sizeof(mem));
	check(arena_alloc(&a, 100000) == NULL);
	arena_reset(&a);
	p = arena_alloc(&a, 100);
	check(p > (char *)mem && p + 100 <= (char *)mem + sizeof(mem));
	arena_fini(&a);
	p = arena_alloc(&a, 1); /* and is an arena like any other */
	require(p);
	check(p < (char *)mem || p >= (char *)mem + sizeof(mem));
	arena_fini(&a);
}
