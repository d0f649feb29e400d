/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One worker's mirrors as one setup has them.  A reload makes a new generation; requests that began
 * under the old one end under it, then it goes.
 *
 * Invariants
 *  1. A generation and its setup stay as long as a request, a fill, a tag check, a token or a
 *     connection to an upstream refers to one of its mirrors: looked for once a second while there
 *     is an old one, by their own lists, so that none of them has to count.
 *  2. Made by the main thread, then the worker's alone.
 */
#pragma once

#include "base/list.h"
#include "base/slice.h"
#include "base/timer.h"
#include "proxy/quota.h"
#include "proxy/setup.h"

struct proxy;
struct meter;
struct mirror;

/* One of a mirror's upstreams. */
struct upstream {
	const struct conf_upstream *conf;
	struct mirror *mirror;
	struct quotas *quotas; /* of our accounts there; the setup's, all workers' */
	/* What its last challenge said, so that a new scope costs no 401. */
	char *realm;
	char *service;
	bool basic; /* it wants Basic */
};

/* What one [mirror] is to one worker. */
struct mirror {
	const struct conf_mirror *conf;
	struct generation *generation;
	struct tls_client *tls; /* trust roots */
	struct slice name;
	struct meter *meter;  /* the worker's; NULL: a passthrough's, or it is not counted */
	uint32_t owner;       /* in the cache, of what is private; see mirror_owner() */
	struct upstream *ups; /* in the order in which they are asked */
	unsigned ups_count;
};

static inline unsigned upstream_index(const struct upstream *up)
{
	return (unsigned)(up - up->mirror->ups);
}

/* What its challenge said does not count any more. */
void upstream_forget(struct upstream *up);
/* Who we are to it by that account of its quotas. */
struct setup_account upstream_who(const struct upstream *up, unsigned account);
/* Its login; NULL: nobody. */
static inline const struct conf_account *upstream_account(const struct upstream *up,
							  unsigned account)
{
	return upstream_who(up, account).login;
}

/*
 * How long small answers of this mirror may be kept: proxy/small.h; 0: not at all, as where they
 * depend on who asks.
 */
static inline uint64_t mirror_negative_ms(const struct mirror *m)
{
	return m->conf->auth == AUTH_CLIENT ? 0 : m->conf->negative_ms;
}

static inline uint64_t mirror_referrers_ms(const struct mirror *m)
{
	return m->conf->auth == AUTH_CLIENT ? 0 : m->conf->referrers_fresh_ms;
}

/*
 * Whose what this mirror gets is in the cache; 0: everybody's.  With auth = client an upstream's
 * yes opens what came from that upstream by that mirror, and nothing else: another one's may be a
 * lie.
 */
static inline uint32_t mirror_owner(const struct mirror *m)
{
	return m->conf->auth == AUTH_CLIENT ? m->owner : 0;
}

/* The same of a mirror as it is configured; 0: everybody's, or no memory. */
uint32_t mirror_conf_owner(const struct conf_mirror *m) must_check;

struct generation {
	struct list node; /* in proxy.generations_old */
	struct setup *setup;
	struct mirror
		*mirrors; /* in the order of the configuration; then its passthroughs, its sites */
	unsigned mirrors_count;
	struct tenant **tenants; /* in the order of the configuration; NULL: no memory */
	struct list uppools;     /* what is known of the hosts that they dial */
	uint64_t ended_ms;       /* when the next one came */
};

/* Takes a reference on <s>.  NULL: no memory. */
struct generation *generation_new(struct setup *s) must_check;
void generation_free(struct generation *g);
/* On the worker: new requests are of <g> from now on. */
void generation_enter(struct proxy *p, struct generation *g);
/* When nothing runs any more. */
void generations_fini(struct proxy *p);

static inline bool generation_has(const struct generation *g, const struct mirror *m)
{
	return m >= g->mirrors && m < g->mirrors + g->mirrors_count;
}
