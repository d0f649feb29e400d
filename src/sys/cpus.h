/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cores that this process may use: its affinity mask, bounded by its cgroup's quota (v2). */
#pragma once

#include <pthread.h>

#include "base/assert.h"

enum { CPUS_MAX = 1024 };

struct cpus {
	unsigned count;      /* >= 1; how many threads can run at once */
	unsigned mask_count; /* of ids[]; more than count under a quota */
	unsigned short ids[CPUS_MAX];
};

void cpus_find(struct cpus *out);

/*
 * Ties a thread to the n-th core of the mask (modulo).  Under a quota (count < mask_count) do not:
 * the scheduler needs the choice.  0 or -errno.
 */
int cpus_pin(const struct cpus *cpus, pthread_t thread, unsigned n) must_check;
