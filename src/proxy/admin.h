/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the admin listener says: metrics in the Prometheus text format. */
#pragma once

#include "base/arena.h"
#include "proxy/proxy.h"

/* All workers' counters summed, cache totals; NULL: no memory. */
char *admin_metrics(struct proxy *p, struct arena *a) must_check;
