/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/show.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

const char *show_bytes(uint64_t bytes, char out[SHOW_MAX])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double n = (double)bytes;
	unsigned i = 0;

	while (n >= 1024 && i + 1 < countof(units)) {
		n /= 1024;
		i++;
	}
	if (i == 0)
		snprintf(out, SHOW_MAX, "%" PRIu64 " B", bytes);
	else
		snprintf(out, SHOW_MAX, "%.*f %s", n < 99.95 ? 1 : 0, n, units[i]);
	return out;
}

const char *show_age(int64_t seconds, char out[SHOW_MAX])
{
	static const struct {
		int64_t s;
		const char *unit;
	} steps[] = { { 24 * 3600, "d" }, { 3600, "h" }, { 60, "min" } };

	for (unsigned i = 0; i < countof(steps); i++)
		if (seconds >= 2 * steps[i].s) {
			snprintf(out, SHOW_MAX, "%" PRId64 " %s", seconds / steps[i].s,
				 steps[i].unit);
			return out;
		}
	snprintf(out, SHOW_MAX, "%" PRId64 " s", seconds < 0 ? 0 : seconds);
	return out;
}

void show_bar(uint64_t part, uint64_t of, unsigned width, char *out)
{
	unsigned full =
		of ? (unsigned)((double)width * (double)(part < of ? part : of) / (double)of) : 0;

	for (unsigned i = 0; i < width; i++)
		out[i] = i < full ? '#' : '.';
	out[width] = '\0';
}
