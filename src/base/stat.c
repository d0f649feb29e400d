/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/stat.h"

const struct stat_info stat_infos[STAT_COUNT] = {
#define X(name, metric, kind, help) [STAT_##name] = { metric, kind, help },
#include "base/stat.def"
#undef X
};

const struct hist_info hist_infos[HIST_COUNT] = {
#define H(name, metric, help) [HIST_##name] = { metric, help },
#include "base/hist.def"
#undef H
};

const struct hist_bound hist_bounds[HIST_BOUNDS] = {
	{ 1, "0.001" },  { 2, "0.002" },  { 5, "0.005" },  { 10, "0.01" },
	{ 20, "0.02" },  { 50, "0.05" },  { 100, "0.1" },  { 200, "0.2" },
	{ 500, "0.5" },  { 1000, "1" },   { 2000, "2" },   { 5000, "5" },
	{ 10000, "10" }, { 30000, "30" }, { 60000, "60" }, { 300000, "300" },
};

void stat_time(struct stats *s, enum hist_id which, uint64_t ms)
{
	struct hist *h = &s->hist[which];
	unsigned i = 0;

	while (i < HIST_BOUNDS && ms > hist_bounds[i].ms)
		i++;
	counter_add(&h->counts[i], 1);
	counter_add(&h->sum_ms, ms);
}

void hist_sum(struct hist *to, const struct hist *from)
{
	for (unsigned i = 0; i <= HIST_BOUNDS; i++)
		to->counts[i] += counter_get(&from->counts[i]);
	to->sum_ms += counter_get(&from->sum_ms);
}
