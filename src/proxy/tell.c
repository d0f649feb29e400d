/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/tell.h"

#include <stdlib.h>

#include "proxy/meter.h"
#include "proxy/tally.h"

enum { TELL_POLL_MS = 1000 }; /* while some are open */

static bool is_told(const struct proxy *p)
{
	return p->shared->tallies && p->access.fd >= 0;
}

/* False: the access log has no room now. */
static bool tell_some(struct proxy *p, bool all)
{
	struct tally *t;

	while (access_has_room(&p->access)) {
		t = tally_take(p->shared->tallies, proxy_now(p), all);
		if (!t)
			return true;
		access_pull(&p->access, t);
		free(t);
	}
	return false;
}

static void tell_arm(struct proxy *p)
{
	if (!timer_armed(&p->tell_timer))
		loop_timer_set(p->loop, &p->tell_timer, proxy_now(p) + TELL_POLL_MS);
}

/* Any worker writes what is over, whoever's it was. */
static void tell_fired(struct timer *t)
{
	struct proxy *p = container_of(t, struct proxy, tell_timer);

	(void)tell_some(p, false);
	if (!p->draining && tallies_any(p->shared->tallies))
		tell_arm(p);
}

void tell_init(struct proxy *p)
{
	timer_init(&p->tell_timer, tell_fired);
}

bool tell_rest(struct proxy *p)
{
	loop_timer_clear(p->loop, &p->tell_timer);
	return !is_told(p) || tell_some(p, true);
}

void tell_begin(struct xfer *x)
{
	const bool manifest = x->path.verb == OCI_MANIFEST;
	const struct tally_request r = {
		.client = &x->client,
		.mirror = x->mirror->name,
		.repo = x->route.repo,
		.ref = manifest ? x->path.ref : SLICE_NONE,
		.by_digest = x->path.ref_is_digest,
		.tenant = x->tenant ? slice_of(x->tenant->name) : SLICE_NONE,
		.agent = x->user_agent,
	};

	assert(!x->tally);
	if (!is_told(x->proxy) || (!manifest && x->path.verb != OCI_BLOB) || !x->client.len)
		return;
	x->tally = tally_begin(x->proxy->shared->tallies, &r, proxy_now(x->proxy));
	if (!x->tally)
		stat_inc(&x->proxy->stats, STAT_ACCESS_DROPPED);
}

static bool is_hit(const struct xfer *x)
{
	const enum meter_how how = meter_how_of(x->cache);

	return how == METER_HIT || how == METER_REVALIDATED || how == METER_STALE;
}

void tell_end(struct xfer *x, bool whole)
{
	const bool answered = x->state == XFER_ANSWER;
	const struct tally_part part = {
		.bytes = x->body.total,
		.status = answered ? x->status : 499,
		.get = x->method == METHOD_GET,
		.blob = x->path.verb == OCI_BLOB,
		.hit = is_hit(x),
		.whole = whole && answered,
	};

	if (!x->tally)
		return;
	tally_end(x->proxy->shared->tallies, x->tally, &part, proxy_now(x->proxy));
	x->tally = NULL;
	tell_arm(x->proxy);
}
