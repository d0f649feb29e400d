/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What there is to see of a running server: metrics in the Prometheus text format, and the same and
 * more as JSON for the page and for `sluice top`.
 *
 * Gathered on whichever thread asks, from relaxed counters and copies under short locks: no worker
 * waits for it, and nothing of it grows with the number of requests.
 */
#pragma once

#include "base/arena.h"
#include "proxy/proxy.h"

/* Who asks. */
struct admin_view {
	struct shared *shared;
	const struct setup *setup; /* what is in force, held by the asker */
	uint64_t now_ms;           /* monotonic, as the loops' */
};

static inline struct admin_view admin_view_of(const struct proxy *p)
{
	return (struct admin_view){ p->shared, p->generation->setup, proxy_now(p) };
}

/* All workers' counters summed, cache totals; NULL: no memory. */
char *admin_metrics(const struct admin_view *v, struct arena *a) must_check;
/* The state as JSON: see README.md.  NULL: no memory. */
char *admin_status(const struct admin_view *v, struct arena *a) must_check;
/* Samples after <since_ms> of their own clock, as JSON. */
char *admin_history(const struct admin_view *v, uint64_t since_ms, struct arena *a) must_check;

/* The parts of both; rows of accounts that upstream has said something to. */
struct admin_quota {
	const struct conf_mirror *mirror;
	const struct conf_upstream *up;
	const char *account; /* its user's name; "": nobody */
	const char *source;  /* our address that it is known by, or "" */
	struct quota_view v;
};
void admin_quotas(const struct admin_view *v, bool (*each)(void *arg, const struct admin_quota *q),
		  void *arg);
uint64_t admin_sum(const struct shared *s, const struct cache_totals *t, enum stat_id id);
/* Of one mirror, all workers'. */
void admin_meter(const struct shared *s, const char *mirror, struct meter *out);
/* The algorithm of connections to clients: the one that is configured, else the kernel's. */
const char *admin_congestion(const struct shared *s, char *out, size_t out_len);
