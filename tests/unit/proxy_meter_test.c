/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/meter.h"

#include "base/assert.h"
#include "test.h"

TEST(every_word_of_the_log_is_told_apart)
{
	for (unsigned i = 0; i < METER_HOWS; i++)
		check_eq(meter_how_of(meter_how_names[i]), i);
	check_eq(meter_how_of(NULL), METER_LOCAL);
	check_eq(meter_how_of("-"), METER_LOCAL);
}

TEST(a_name_keeps_its_meter)
{
	struct meters ms = { 0 };
	struct meter sum = { 0 };
	struct meter *a = meters_get(&ms, SLICE("docker.io"));
	struct meter *b = meters_get(&ms, SLICE("ghcr.io"));

	require(a && b);
	check(a != b);
	check(meters_get(&ms, SLICE("docker.io")) == a);
	counter_add(&a->requests[METER_HIT], 2);
	counter_add(&a->bytes_up, 7);
	meters_sum(&ms, SLICE("docker.io"), &sum);
	meters_sum(&ms, SLICE("docker.i"), &sum);
	check_eq(sum.requests[METER_HIT], 2);
	check_eq(sum.bytes_up, 7);
	meters_fini(&ms);
}

TEST(there_is_a_bound)
{
	struct meters ms = { 0 };
	char name[16];

	for (unsigned i = 0; i < METERS_MAX + 10; i++) {
		snprintf(name, sizeof(name), "m%u", i);
		check(!meters_get(&ms, slice_of(name)) == (i >= METERS_MAX));
	}
	check(meters_get(&ms, SLICE("m0")) != NULL);
	meters_fini(&ms);
}
