/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/generation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/client.h"
#include "proxy/passage.h"
#include "proxy/poolcheck.h"
#include "proxy/proxy.h"
#include "proxy/pull.h"
#include "proxy/tagcheck.h"
#include "proxy/tenant.h"
#include "proxy/token.h"
#include "proxy/upconn.h"
#include "proxy/uppool.h"
#include "proxy/xfer.h"

enum { LOOK_MS = 1000 };

static bool mirror_upstreams(struct mirror *m, struct quotas **quotas)
{
	const struct conf_upstreams *c = &m->conf->upstreams;

	m->ups = calloc(c->count, sizeof(*m->ups));
	if (!m->ups)
		return false;
	m->ups_count = c->count;
	for (unsigned i = 0; i < c->count; i++)
		m->ups[i] = (struct upstream){ .conf = &c->v[i], .mirror = m, .quotas = quotas[i] };
	return true;
}

/* <*owner> of all that such a mirror gets; false: no memory. */
static bool owner_of(const struct conf_mirror *m, uint32_t *owner)
{
	char *text = NULL;

	if (asprintf(&text, "%s %s", m->name, m->upstreams.v[0].text) < 0)
		return false;
	*owner = cache_owner(slice_of(text));
	free(text);
	return true;
}

uint32_t mirror_conf_owner(const struct conf_mirror *m)
{
	uint32_t owner = 0;

	if (m->auth == AUTH_CLIENT && !owner_of(m, &owner))
		return 0;
	return owner;
}

struct setup_account upstream_who(const struct upstream *up, unsigned account)
{
	const struct mirror *m = up->mirror;

	return setup_account(m->generation->setup->config, m->conf, upstream_index(up), account);
}

void upstream_forget(struct upstream *up)
{
	free(up->realm);
	free(up->service);
	up->realm = up->service = NULL;
	up->basic = false;
}

static void mirror_fini(struct mirror *m)
{
	for (unsigned i = 0; i < m->ups_count; i++)
		upstream_forget(&m->ups[i]);
	free(m->ups);
}

struct generation *generation_new(struct setup *s)
{
	struct generation *g = calloc(1, sizeof(*g));
	const struct config *c = s->config;
	struct quotas **quotas = s->quotas;

	if (!g)
		return NULL;
	list_init(&g->node);
	list_init(&g->uppools);
	g->mirrors_count = c->mirrors_count + c->passes_count + c->sites_count;
	g->mirrors = calloc(g->mirrors_count + 1, sizeof(*g->mirrors));
	g->tenants = calloc(c->tenants_count + 1, sizeof(struct tenant *));
	if (!g->mirrors || !g->tenants) {
		free(g->mirrors);
		free(g->tenants);
		free(g);
		return NULL;
	}
	g->setup = setup_ref(s);
	for (unsigned i = 0; i < c->passes_count; i++)
		g->mirrors[c->mirrors_count + i] = (struct mirror){
			.conf = &c->passes[i].as_mirror,
			.generation = g,
			.name = slice_of(c->passes[i].name),
		};
	for (unsigned i = 0; i < c->sites_count; i++)
		g->mirrors[c->mirrors_count + c->passes_count + i] = (struct mirror){
			.conf = &c->sites[i].as_mirror,
			.generation = g,
			.tls = s->mirror_tls[c->mirrors_count + i],
			.name = slice_of(c->sites[i].name),
		};
	for (unsigned i = 0; i < c->mirrors_count; i++) {
		g->mirrors[i].conf = &c->mirrors[i];
		g->mirrors[i].generation = g;
		g->mirrors[i].tls = s->mirror_tls[i];
		g->mirrors[i].name = slice_of(c->mirrors[i].name);
		if (!mirror_upstreams(&g->mirrors[i], quotas) ||
		    !owner_of(g->mirrors[i].conf, &g->mirrors[i].owner)) {
			generation_free(g);
			return NULL;
		}
		quotas += g->mirrors[i].ups_count;
	}
	return g;
}

void generation_free(struct generation *g)
{
	for (unsigned i = 0; i < g->mirrors_count; i++)
		mirror_fini(&g->mirrors[i]);
	list_remove(&g->node);
	uppools_free(&g->uppools);
	free(g->mirrors);
	free(g->tenants);
	setup_unref(g->setup);
	free(g);
}

/*
 * A request holds more of the configuration than its mirror (texts of answers): the old one goes
 * with the last request that began before.
 */
static bool xfers_use(const struct proxy *p, const struct generation *g)
{
	list_for_each_safe(it, &p->xfers) {
		const struct xfer *x = container_of(it, struct xfer, node);

		if (x->begun_ms <= g->ended_ms || generation_has(g, x->mirror))
			return true;
	}
	return false;
}

static bool passages_use(const struct proxy *p, const struct generation *g)
{
	list_for_each_safe(it, &p->clients) {
		const struct client *c = container_of(it, struct client, node);

		if (c->pass && generation_has(g, c->pass->mirror))
			return true;
	}
	return false;
}

/* What was learnt of an upstream that is in both counts further. */
static void upstream_inherit(struct proxy *p, struct upstream *up, const struct upstream *was)
{
	if (was->realm && !up->realm) { /* (one may be named twice) */
		up->realm = strdup(was->realm);
		up->service = strdup(was->service);
		up->basic = was->basic;
	}
	if (up->realm && up->service)
		tokens_move(p, was, up);
	else
		upstream_forget(up);
}

static void mirror_inherit(struct proxy *p, struct mirror *m, const struct mirror *was)
{
	for (unsigned i = 0; i < m->ups_count; i++)
		for (unsigned j = 0; j < was->ups_count; j++)
			if (strcmp(m->ups[i].conf->text, was->ups[j].conf->text) == 0)
				upstream_inherit(p, &m->ups[i], &was->ups[j]);
}

static void generation_inherit(struct proxy *p, struct generation *g, const struct generation *old)
{
	for (unsigned i = 0; i < g->mirrors_count; i++)
		for (unsigned j = 0; j < old->mirrors_count; j++)
			if (slice_eq(g->mirrors[i].name, old->mirrors[j].name) &&
			    g->mirrors[i].conf->auth == old->mirrors[j].conf->auth)
				mirror_inherit(p, &g->mirrors[i], &old->mirrors[j]);
	uppools_inherit(p, g, old);
}

#define LIST_USES(head, type)                                                                      \
	do {                                                                                       \
		list_for_each_safe(it, head)                                                       \
			if (generation_has(g, container_of(it, struct type, node)->mirror))        \
				return true;                                                       \
	} while (0)

static bool generation_in_use(const struct proxy *p, const struct generation *g)
{
	LIST_USES(&p->tagchecks, tagcheck);
	LIST_USES(&p->tokens, token);
	LIST_USES(&p->upconns_idle, upconn);
	LIST_USES(&p->upconns_closing, upconn);
	return pulls_use(p, g) || xfers_use(p, g) || passages_use(p, g);
}

static void generations_look(struct timer *t)
{
	struct proxy *p = container_of(t, struct proxy, generations_timer);

	list_for_each_safe(it, &p->generations_old) {
		struct generation *g = container_of(it, struct generation, node);

		tokens_clear(p, g);
		if (!generation_in_use(p, g))
			generation_free(g);
	}
	if (!list_empty(&p->generations_old))
		loop_timer_set(p->loop, t, proxy_now(p) + LOOK_MS);
}

/* Each worker says the same of the rates: the last one to change over has no say of its own. */
static void tenants_enter(struct proxy *p, struct generation *g)
{
	const struct config *c = g->setup->config;

	for (unsigned i = 0; i < c->tenants_count; i++) {
		const struct conf_tenant *conf = &c->tenants[i];
		struct tenant *t = tenants_get(p->shared->tenants, conf->name);

		g->tenants[i] = t;
		if (!t)
			continue;
		pthread_mutex_lock(&t->lock);
		share_set(&t->share, conf->rate_bytes, conf->client_bytes);
		pthread_mutex_unlock(&t->lock);
	}
}

void generation_enter(struct proxy *p, struct generation *g)
{
	struct generation *old = p->generation;

	if (old) {
		poolchecks_stop(p);
		generation_inherit(p, g, old);
	}
	pthread_mutex_lock(&p->uppools_lock); /* /metrics looks at it from another worker */
	p->generation = g;
	pthread_mutex_unlock(&p->uppools_lock);
	p->config = g->setup->config;
	tenants_enter(p, g);
	p->mirrors = g->mirrors;
	for (unsigned i = 0; i < p->config->mirrors_count; i++)
		g->mirrors[i].meter = meters_get(&p->meters, g->mirrors[i].name);
	if (!old) {
		timer_init(&p->generations_timer, generations_look);
		return;
	}
	poolchecks_start(p);
	old->ended_ms = proxy_now(p);
	list_push(&p->generations_old, &old->node);
	upconn_close_idle(p);
	loop_timer_set(p->loop, &p->generations_timer, proxy_now(p) + LOOK_MS);
}

void generations_fini(struct proxy *p)
{
	while (!list_empty(&p->generations_old))
		generation_free(container_of(p->generations_old.next, struct generation, node));
	if (p->generation_next) /* its mail came too late */
		generation_free(p->generation_next);
	if (p->generation)
		generation_free(p->generation);
	p->generation = p->generation_next = NULL;
}
