/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/stat.h"

#include <stdlib.h>

#include "test.h"

TEST(bounds_ascend_and_their_texts_are_seconds)
{
	for (unsigned i = 0; i < HIST_BOUNDS; i++) {
		check(i == 0 || hist_bounds[i].ms > hist_bounds[i - 1].ms);
		check_eq((uint64_t)(strtod(hist_bounds[i].text, NULL) * 1000 + .5),
			 hist_bounds[i].ms);
	}
}

TEST(a_time_is_in_the_first_bucket_that_is_not_below_it)
{
	struct stats s = { 0 };
	struct hist all = { 0 };

	stat_time(&s, HIST_REQUEST, 0);
	stat_time(&s, HIST_REQUEST, 1);
	stat_time(&s, HIST_REQUEST, 3);
	stat_time(&s, HIST_REQUEST, 300 * 1000);
	stat_time(&s, HIST_REQUEST, 300 * 1000 + 1);
	hist_sum(&all, &s.hist[HIST_REQUEST]);
	hist_sum(&all, &s.hist[HIST_FILL]);
	check_eq(all.counts[0], 2);
	check_eq(all.counts[1], 0);
	check_eq(all.counts[2], 1);
	check_eq(all.counts[HIST_BOUNDS - 1], 1);
	check_eq(all.counts[HIST_BOUNDS], 1);
	check_eq(all.sum_ms, 4 + 600 * 1000 + 1);
}
