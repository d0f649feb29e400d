/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/uppool.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "net/addr.h"

static void name_resolved(struct resolve *q, int err);

static void lock(struct uppool *g)
{
	pthread_mutex_lock(&g->proxy->uppools_lock);
}

static void unlock(struct uppool *g)
{
	pthread_mutex_unlock(&g->proxy->uppools_lock);
}

static bool uppool_is(const struct uppool *g, const struct conf_pool *conf, bool servers,
		      const struct uri *to)
{
	return g->conf == conf && g->servers == servers && g->https == to->https &&
	       g->port == to->port && slice_eq(slice_of(g->host), to->host);
}

/* Who is to be resolved: the outgoing proxy, the servers, or the host. */
static void uppool_names(struct uppool *g)
{
	const struct conf_pool *c = g->conf;

	for (unsigned i = 0; i < g->names_count; i++) {
		struct uppool_name *n = &g->names[i];

		*n = (struct uppool_name){
			.pool = g, .host = g->host, .port = g->port, .weight = 1
		};
		n->q.done = name_resolved;
		if (c && c->via.text) {
			n->host = c->via.host;
			n->port = c->via.port;
		} else if (g->servers) {
			n->host = c->servers.v[i].host;
			n->weight = (unsigned)c->servers.v[i].weight;
			if (c->servers.v[i].port)
				n->port = c->servers.v[i].port;
		}
	}
}

static struct uppool *uppool_new(struct proxy *p, const struct conf_pool *conf, bool servers,
				 const struct uri *to)
{
	unsigned names = servers ? conf->servers.count : 1;
	struct uppool *g;

	if (to->host.len >= sizeof(g->host))
		return NULL;
	g = calloc(1, sizeof(*g) + names * sizeof(g->names[0]));
	if (!g)
		return NULL;
	g->proxy = p;
	g->conf = conf;
	g->servers = servers;
	g->https = to->https;
	g->port = to->port;
	memcpy(g->host, to->host.ptr, to->host.len);
	if (conf && conf->conns_max)
		g->conns_max =
			(unsigned)(conf->conns_max + p->shared->workers - 1) / p->shared->workers;
	list_init(&g->node);
	list_init(&g->for_addrs);
	list_init(&g->for_slot);
	balance_init(&g->balance, conf ? (enum balance_mode)conf->balance : BALANCE_ROUNDROBIN);
	g->names_count = names;
	uppool_names(g);
	return g;
}

/* Off its list already, or under the lock. */
static void uppool_free(struct uppool *g)
{
	assert(g->refs == 0);
	assert(list_empty(&g->for_addrs));
	assert(list_empty(&g->for_slot));
	for (unsigned i = 0; i < g->names_count; i++)
		if (g->names[i].asking)
			resolve_cancel(&g->names[i].q);
	list_remove(&g->node);
	balance_fini(&g->balance);
	free(g);
}

static bool uppools_make_room(struct list *all)
{
	unsigned n = 0;

	list_for_each(it, all)
		n++;
	if (n < UPPOOLS_MAX)
		return true;
	for (struct list *it = all->prev; it != all; it = it->prev) {
		struct uppool *g = container_of(it, struct uppool, node);

		if (g->refs == 0) {
			uppool_free(g);
			return true;
		}
	}
	return false;
}

static struct uppool *uppool_find(struct list *all, const struct conf_pool *conf, bool servers,
				  const struct uri *to)
{
	list_for_each(it, all) {
		struct uppool *g = container_of(it, struct uppool, node);

		if (uppool_is(g, conf, servers, to))
			return g;
	}
	return NULL;
}

/* What the kernel refuses of a [pool], or without one, is said once, not for each host. */
static bool was_warned(const struct list *all, const struct conf_pool *conf)
{
	list_for_each(it, all) {
		const struct uppool *g = container_of(it, struct uppool, node);

		if (g->conf == conf && g->warned)
			return true;
	}
	return false;
}

struct uppool *uppool_get(struct proxy *p, struct mirror *m, const struct uri *to)
{
	struct list *all = &m->generation->uppools;
	bool servers;
	const struct conf_pool *conf =
		config_pool(m->generation->setup->config, m->conf, to->host, &servers);
	struct uppool *g;

	servers = servers && conf && conf->servers.count > 0;
	pthread_mutex_lock(&p->uppools_lock);
	g = uppool_find(all, conf, servers, to);
	if (g)
		list_remove(&g->node);
	else if (uppools_make_room(all))
		g = uppool_new(p, conf, servers, to);
	if (g && g->refs == 0)
		g->warned |= was_warned(all, conf);
	if (g) {
		list_push_front(all, &g->node);
		g->refs++;
	}
	pthread_mutex_unlock(&p->uppools_lock);
	return g;
}

void uppool_put(struct uppool *g)
{
	assert(g->refs > 0);
	g->refs--;
}

static const struct conf_pool *pool_of_name(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->pools_count; i++)
		if (strcmp(c->pools[i].name, name) == 0)
			return &c->pools[i];
	return NULL;
}

/* (There are no more than UPPOOLS_MAX, and the new one has none yet.) */
void uppools_inherit(struct proxy *p, struct generation *g, const struct generation *old)
{
	list_for_each(it, &old->uppools) {
		const struct uppool *was = container_of(it, struct uppool, node);
		const struct uri to = { .https = was->https,
					.port = was->port,
					.host = slice_of(was->host) };
		const struct conf_pool *conf = NULL;
		struct uppool *now;

		if (was->conf)
			conf = pool_of_name(g->setup->config, was->conf->name);
		if ((was->conf && !conf) || (was->servers && conf->servers.count == 0))
			continue;
		now = uppool_new(p, conf, was->servers, &to);
		if (!now)
			continue;
		balance_inherit(&now->balance, &was->balance);
		list_push(&g->uppools, &now->node);
	}
}

void uppools_free(struct list *uppools)
{
	while (!list_empty(uppools))
		uppool_free(container_of(uppools->next, struct uppool, node));
}

/* ---- addresses ---- */

static bool is_literal(const struct uppool_name *n)
{
	struct in6_addr ip;

	return inet_pton(AF_INET, n->host, &ip) == 1 || inet_pton(AF_INET6, n->host, &ip) == 1;
}

static void uppool_set(struct uppool *g)
{
	struct member all[MEMBERS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < g->names_count; i++) {
		const struct uppool_name *n = &g->names[i];
		/* The configuration names the outgoing proxy, and servers that are addresses. */
		bool named = g->conf && (g->conf->via.text || (g->servers && is_literal(n)));

		for (unsigned j = 0; j < n->count && count < MEMBERS_MAX; j++)
			all[count++] = (struct member){ .addr = n->addrs[j],
							.weight = n->weight,
							.named = named };
	}
	lock(g);
	balance_set(&g->balance, all, count);
	unlock(g);
}

static void name_resolved(struct resolve *q, int err)
{
	struct uppool_name *n = container_of(q, struct uppool_name, q);
	struct uppool *g = n->pool;

	n->asking = false;
	n->count = err ? 0 : q->count;
	memcpy(n->addrs, q->addrs, n->count * sizeof(n->addrs[0]));
	if (err)
		g->err = err;
	uppool_set(g);
	while (!list_empty(&g->for_addrs)) {
		struct uppool_wait *w = container_of(g->for_addrs.next, struct uppool_wait, node);

		list_remove(&w->node);
		loop_wake(g->proxy->loop, w->task);
	}
}

static bool uppool_asking(const struct uppool *g)
{
	for (unsigned i = 0; i < g->names_count; i++)
		if (g->names[i].asking)
			return true;
	return false;
}

bool uppool_resolve(struct uppool *g, struct uppool_wait *w)
{
	if (!w->asked && !uppool_asking(g)) {
		for (unsigned i = 0; i < g->names_count; i++) {
			struct uppool_name *n = &g->names[i];

			n->asking = true;
			resolve_start(g->proxy->resolver, &n->q, n->host, n->port);
		}
	}
	w->asked = true;
	/* One server's name may be slow where others are known. */
	if (!uppool_asking(g) || (g->names_count > 1 && g->balance.count > 0))
		return true;
	list_remove(&w->node);
	list_push(&g->for_addrs, &w->node);
	return false;
}

/* ---- slots ---- */

bool uppool_is_tight(const struct uppool *g)
{
	return g->conns_max > 0 && g->conns * 2 >= g->conns_max;
}

bool uppool_slot(struct uppool *g, struct uppool_wait *w)
{
	if (g->conns_max == 0 || g->conns < g->conns_max) {
		g->conns++;
		return true;
	}
	list_push(&g->for_slot, &w->node);
	return false;
}

void uppool_slot_back(struct uppool *g)
{
	struct uppool_wait *w;

	assert(g->conns > 0);
	if (list_empty(&g->for_slot)) {
		g->conns--;
		return;
	}
	w = container_of(g->for_slot.next, struct uppool_wait, node);
	list_remove(&w->node);
	w->granted = true;
	loop_wake(g->proxy->loop, w->task);
}

/* ---- members ---- */

uint32_t uppool_pick(struct uppool *g)
{
	struct member *m;
	uint32_t id = 0;

	lock(g);
	m = balance_pick(&g->balance, proxy_now(g->proxy));
	if (m)
		id = m->id;
	unlock(g);
	return id;
}

unsigned uppool_others(struct uppool *g, uint32_t first, uint32_t *others)
{
	const struct member *m = balance_find(&g->balance, first), *out[MEMBERS_MAX];
	unsigned n;

	if (!m)
		return 0;
	n = balance_others(&g->balance, m, proxy_now(g->proxy), out);
	for (unsigned i = 0; i < n; i++)
		others[i] = out[i]->id;
	return n;
}

bool uppool_has_other(const struct uppool *g, uint32_t id)
{
	uint64_t now = proxy_now(g->proxy);

	for (unsigned i = 0; i < g->balance.count; i++)
		if (g->balance.v[i].id != id && !member_is_out(&g->balance.v[i], now))
			return true;
	return false;
}

void uppool_begin(struct uppool *g, uint32_t id)
{
	lock(g);
	balance_begin(&g->balance, id);
	unlock(g);
}

void uppool_end(struct uppool *g, uint32_t id)
{
	lock(g);
	balance_end(&g->balance, id);
	unlock(g);
}

void uppool_latency(struct uppool *g, uint32_t id, uint64_t ms)
{
	lock(g);
	balance_latency(&g->balance, id, ms * 1000);
	unlock(g);
}

void uppool_checked(struct uppool *g, uint32_t id, bool well, uint64_t out_ms)
{
	const struct member *m;
	char address[ADDR_TEXT_MAX];
	bool changed;

	lock(g);
	changed = balance_checked(&g->balance, id, well, out_ms, proxy_now(g->proxy));
	unlock(g);
	if (!changed)
		return;
	m = balance_find(&g->balance, id);
	addr_format(&m->addr, address);
	log_limited(LOG_WARN, "pool host=%s member=%s %s by its check", g->host, address,
		    well ? "is back" : "out");
}

void uppool_report(struct uppool *g, uint32_t id, enum upconn_outcome what)
{
	static const char *const text[] = {
		[UPCONN_OK] = "well",         [UPCONN_CONNECT] = "connect",
		[UPCONN_TLS] = "TLS",         [UPCONN_TIMEOUT] = "no answer",
		[UPCONN_5XX] = "5xx answers", [UPCONN_BAD] = "wrong bytes",
		[UPCONN_CHECK] = "check",
	};
	uint64_t now = proxy_now(g->proxy);
	const struct member *m;
	char address[ADDR_TEXT_MAX];
	bool out;

	lock(g);
	out = balance_report(&g->balance, id, what, now);
	unlock(g);
	if (!out || g->balance.count < 2)
		return;
	m = balance_find(&g->balance, id);
	addr_format(&m->addr, address);
	log_limited(LOG_WARN, "pool host=%s member=%s out for_ms=%" PRIu64 " reason=\"%s\"",
		    g->host, address, m->out_until_ms - now, text[what]);
}

bool uppool_bind(struct uppool *g, sa_family_t family, unsigned source, struct addr *out, bool *use)
{
	const struct conf_addrs *list = g->conf ? &g->conf->bind : NULL;
	unsigned of_family = 0, skip;

	*use = list && list->count > 0;
	if (!*use)
		return true;
	for (unsigned i = 0; i < list->count; i++)
		of_family += list->v[i].sa.sa_family == family;
	if (of_family == 0)
		return false;
	skip = (source ? source - 1 : g->bind_next++) % of_family;
	for (unsigned i = 0; i < list->count; i++) {
		const struct conf_addr *a = &list->v[i];

		if (a->sa.sa_family != family || skip-- > 0)
			continue;
		*out = (struct addr){ .len = a->len };
		memcpy(&out->in6, &a->in6, a->len);
		return true;
	}
	return false;
}

/* ---- metrics ---- */

static struct uppool_row *row_of(struct uppool_row *rows, unsigned *count, const struct uppool *g,
				 const struct member *m)
{
	char member[ADDR_TEXT_MAX];
	struct uppool_row *r;

	addr_format(&m->addr, member);
	for (unsigned i = 0; i < *count; i++)
		if (strcmp(rows[i].member, member) == 0 && strcmp(rows[i].host, g->host) == 0)
			return &rows[i];
	if (*count == UPPOOL_ROWS_MAX)
		return NULL;
	r = &rows[(*count)++];
	memcpy(r->host, g->host, sizeof(r->host));
	memcpy(r->member, member, sizeof(r->member));
	return r;
}

static void rows_add(struct uppool_row *rows, unsigned *count, const struct proxy *p,
		     uint64_t now_ms)
{
	if (!p->generation)
		return;
	list_for_each(it, &p->generation->uppools) {
		const struct uppool *g = container_of(it, struct uppool, node);

		for (unsigned i = 0; i < g->balance.count; i++) {
			const struct member *m = &g->balance.v[i];
			struct uppool_row *r = row_of(rows, count, g, m);

			if (!r)
				return;
			r->in_use += m->in_use;
			r->out += member_is_out(m, now_ms);
			r->ejections += m->ejections;
			if (member_is_out(m, now_ms))
				r->why = m->why;
			if (m->latency_us > r->latency_us)
				r->latency_us = m->latency_us;
		}
	}
}

static void put(struct buf *out, const struct uppool_row *rows, unsigned count, unsigned which)
{
	static const struct {
		const char *metric, *kind, *help;
	} of[] = {
		{ "upstream_member_connections", "gauge", "Connections in use." },
		{ "upstream_member_ejected", "gauge", "Workers that leave it out." },
		{ "upstream_member_ejections_total", "counter",
		  "Times that it was left out after failures." },
	};
	bool fits = buf_printf(out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", of[which].metric,
			       of[which].help, of[which].metric, of[which].kind);

	for (unsigned i = 0; i < count && fits; i++) {
		const uint64_t v[] = { rows[i].in_use, rows[i].out, rows[i].ejections };

		fits = buf_printf(out, "sluice_%s{host=\"%s\",member=\"%s\"} %" PRIu64 "\n",
				  of[which].metric, rows[i].host, rows[i].member, v[which]);
	}
}

unsigned uppool_rows(const struct shared *s, uint64_t now_ms, struct uppool_row *rows)
{
	unsigned count = 0;

	for (unsigned i = 0; i < s->workers; i++) {
		struct proxy *of = container_of(s->stats[i], struct proxy, stats);

		pthread_mutex_lock(&of->uppools_lock);
		rows_add(rows, &count, of, now_ms);
		pthread_mutex_unlock(&of->uppools_lock);
	}
	return count;
}

void uppool_metrics(const struct shared *s, uint64_t now_ms, struct buf *out)
{
	struct uppool_row *rows = calloc(UPPOOL_ROWS_MAX, sizeof(*rows));
	unsigned count;

	if (!rows)
		return;
	count = uppool_rows(s, now_ms, rows);
	for (unsigned i = 0; i < 3; i++)
		put(out, rows, count, i);
	free(rows);
}
