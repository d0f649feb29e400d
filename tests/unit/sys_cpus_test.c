/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "../../src/sys/cpus.c"

#include "test.h"

TEST(a_quota_is_rounded_up)
{
	check_eq(quota_cores("max 100000"), CPUS_MAX);
	check_eq(quota_cores("100000 100000"), 1);
	check_eq(quota_cores("100001 100000"), 2);
	check_eq(quota_cores("150000 100000"), 2);
	check_eq(quota_cores("1000 100000"), 1);
	check_eq(quota_cores("0 100000"), 1);
}

TEST(a_quota_that_is_not_understood_is_none)
{
	check_eq(quota_cores(""), CPUS_MAX);
	check_eq(quota_cores("100000"), CPUS_MAX);
	check_eq(quota_cores("1 0"), CPUS_MAX);
	check_eq(quota_cores("-1 100000"), CPUS_MAX);
	check_eq(quota_cores("18446744073709551615 1"), CPUS_MAX);
}

TEST(the_mask_is_what_the_kernel_says)
{
	static struct cpus c;
	cpu_set_t set;

	require(sched_getaffinity(0, sizeof(set), &set) == 0);
	cpus_find(&c);
	check_eq(c.mask_count, CPU_COUNT(&set));
	check(c.count >= 1);
	check(c.count <= c.mask_count);
	for (unsigned i = 0; i < c.mask_count; i++)
		check(CPU_ISSET(c.ids[i], &set));
}

TEST(a_smaller_mask_is_seen_and_pins_stay_in_it)
{
	static struct cpus all, one;
	cpu_set_t set;

	cpus_find(&all);
	check_eq(cpus_pin(&all, pthread_self(), all.mask_count - 1), 0);
	cpus_find(&one);
	check_eq(one.count, 1);
	check_eq(one.mask_count, 1);
	check_eq(one.ids[0], all.ids[all.mask_count - 1]);
	check_eq(cpus_pin(&one, pthread_self(), 7), 0);
	require(sched_getaffinity(0, sizeof(set), &set) == 0);
	check_eq(CPU_COUNT(&set), 1);
	check(CPU_ISSET(one.ids[0], &set));
}
