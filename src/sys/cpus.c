/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sys/cpus.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "base/units.h"

static const char cgroup_root[] = "/sys/fs/cgroup";

/* The first line, without its end; false: there is no such file. */
static bool read_line(const char *path, char *out, size_t room)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(out, (int)room, f) != NULL;
	fclose(f);
	out[ok ? strcspn(out, "\n") : 0] = '\0';
	return ok;
}

/* Our cgroup's path below the root: "/system.slice/sluice.service"; "" for the root itself. */
static bool find_cgroup(char *out, size_t room)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[1024];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) == 0) /* v2 */
			found = snprintf(out, room, "%s", line[4] ? line + 3 : "") < (int)room;
	}
	fclose(f);
	return found;
}

/* "QUOTA PERIOD" or "max PERIOD", in microseconds: cores rounded up, CPUS_MAX without a quota. */
static unsigned quota_cores(const char *text)
{
	struct slice rest = slice_of(text), first = slice_cut(&rest, ' ');
	uint64_t quota, period, cores;

	if (!units_parse_uint(first, &quota) || !units_parse_uint(rest, &period) || period == 0)
		return CPUS_MAX;
	cores = quota / period + (quota % period != 0);
	return cores < 1 ? 1 : cores < CPUS_MAX ? (unsigned)cores : CPUS_MAX;
}

/* The least quota of our cgroup and those around it. */
static unsigned least_quota(void)
{
	char path[1280], group[1024], line[64];
	unsigned least = CPUS_MAX;
	char *slash;

	if (!find_cgroup(group, sizeof(group)))
		return CPUS_MAX;
	do {
		unsigned n;

		snprintf(path, sizeof(path), "%s%s/cpu.max", cgroup_root, group);
		n = read_line(path, line, sizeof(line)) ? quota_cores(line) : CPUS_MAX;
		least = n < least ? n : least;
		slash = strrchr(group, '/');
		if (slash)
			*slash = '\0';
	} while (slash);
	return least;
}

void cpus_find(struct cpus *out)
{
	cpu_set_t set;
	unsigned quota = least_quota();

	*out = (struct cpus){ 0 };
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		for (unsigned i = 0; i < CPU_SETSIZE && out->mask_count < CPUS_MAX; i++)
			if (CPU_ISSET(i, &set))
				out->ids[out->mask_count++] = (unsigned short)i;
	if (out->mask_count == 0) /* more than CPU_SETSIZE cores: not counted, but served */
		out->mask_count = 1;
	out->count = quota < out->mask_count ? quota : out->mask_count;
	assert(out->count >= 1);
}

int cpus_pin(const struct cpus *cpus, pthread_t thread, unsigned n)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpus->ids[n % cpus->mask_count], &set);
	return -pthread_setaffinity_np(thread, sizeof(set), &set);
}
