/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What no single value can tell: defaults, what is missing, what contradicts, what is not there. */
#include <stdio.h>
#include <stdlib.h>

#include "config/check.h"
#include "config/draft.h"
#include "config/files.h"
#include "config/known.h"
#include "config/policy.h"
#include "config/value.h"

static void set_default(struct draft *d, struct draft_section *s, const struct schema_key *k)
{
	char why[VALUE_WHY_MAX];
	bool ok;

	if (!k->by_default)
		return;
	ok = value_store(k, slice_of(k->by_default), s->data, &d->c->arena, why);
	assert(ok);
}

static void check_keys(struct draft *d, struct draft_section *s, bool look_at_files)
{
	for (unsigned i = 0; i < schema_keys_count; i++) {
		const struct schema_key *k = &schema_keys[i];
		const char *value, *why;

		if (k->section != s->section)
			continue;
		if (!s->lines[i])
			set_default(d, s, k);
		if (!s->lines[i] && k->required)
			draft_error(d, s->line, "%s: must have a '%s': %s", draft_title(s).text,
				    k->key, k->help);
		if (!k->check || !look_at_files)
			continue;
		value = *(const char *const *)schema_field(k, s->data);
		why = value ? k->check(value) : NULL;
		if (why)
			draft_error_value(d, s, k, s->lines[i], slice_of(value), why);
	}
}

static void finish_server(struct conf_server *sv)
{
	if (!sv->access_log) /* its value was refused */
		return;
	sv->access = sv->access_log[0] == '/'             ? ACCESS_FILE
		     : strcmp(sv->access_log, "off") == 0 ? ACCESS_OFF
							  : ACCESS_STDOUT;
}

static void default_upstream(struct draft *d, const struct draft_section *s, struct conf_mirror *m)
{
	const struct known_registry *r = known_by_name(m->name);
	char url[64];
	bool ok;

	if (!r) {
		draft_error(d, s->line,
			    "%s: must have an 'upstream = https://...': it is no registry "
			    "whose upstream is known",
			    draft_title(s).text);
		return;
	}
	snprintf(url, sizeof(url), "https://%s", r->host);
	ok = value_add_url(&m->upstreams, slice_of(url), &d->c->arena);
	assert(ok);
}

/* Of several upstreams, only the one that is named is ever given the credentials. */
static void find_credentials_up(struct draft *d, const struct draft_section *s,
				struct conf_mirror *m)
{
	unsigned line = draft_line(s, "credentials_for");

	if (line && m->credentials.count == 0 && !draft_line(s, "credentials"))
		draft_error(d, line, "%s credentials_for: there are no 'credentials'; remove it",
			    draft_title(s).text);
	if (!m->credentials_for.text) {
		if (m->upstreams.count > 1 && m->credentials.count > 0 && !line)
			draft_error(d, draft_line(s, "credentials"),
				    "%s credentials: of several upstreams one must be named to be "
				    "given them; add 'credentials_for = %s'",
				    draft_title(s).text,
				    m->upstreams.v[m->upstreams.count - 1].text);
		return;
	}
	for (unsigned i = 0; i < m->upstreams.count; i++)
		if (strcmp(m->upstreams.v[i].text, m->credentials_for.text) == 0) {
			m->credentials_up = i;
			return;
		}
	draft_error(d, line, "%s credentials_for = %s: must be one of the mirror's 'upstream'",
		    draft_title(s).text, m->credentials_for.text);
}

static void read_credentials(struct draft *d, const struct draft_section *s, struct conf_mirror *m,
			     bool look_at_files)
{
	const struct schema_key *k = schema_find(SECTION_MIRROR, SLICE("credentials"));

	if (m->credentials.count == 0)
		return;
	m->accounts = arena_alloc(&d->c->arena, m->credentials.count * sizeof(m->accounts[0]));
	assert(m->accounts != NULL);
	m->accounts_count = m->credentials.count;
	for (unsigned i = 0; i < m->accounts_count; i++) {
		struct conf_account *a = &m->accounts[i];
		const char *why;

		*a = (struct conf_account){ .file = m->credentials.v[i] };
		why = look_at_files ? files_read_credentials(a->file, d->c->server.user, &a->user,
							     &a->password)
				    : NULL;
		if (why)
			draft_error_value(d, s, k, draft_line(s, "credentials"), slice_of(a->file),
					  why);
	}
}

static void check_upstream(struct draft *d, const struct draft_section *s,
			   const struct conf_mirror *m, unsigned i)
{
	struct conf_upstream *up = &m->upstreams.v[i];
	const struct known_registry *r = known_by_host(up->host);

	up->realm = r ? r->realm : NULL;
	if (up->https)
		return;
	draft_warning(d, draft_line(s, "upstream"),
		      "%s upstream = %s: without TLS anybody on the way can change tags%s",
		      draft_title(s).text, up->text,
		      m->credentials.count && m->credentials_up == i ? " and read the credentials"
								     : "");
}

static void check_policies(struct draft *d, const struct draft_section *s,
			   const struct conf_mirror *m)
{
	unsigned line = draft_line(s, "tag_policy"), fresh = draft_line(s, "tag_fresh");

	if (fresh && policy_rest(&m->tag_policy))
		draft_error(d, fresh,
			    "%s tag_fresh: is of no use: tag_policy (line %u) has a rule "
			    "for '*'; remove one of them",
			    draft_title(s).text, line);
	for (unsigned i = 0; i < m->tag_policy.count; i++) {
		const struct conf_policy *p = &m->tag_policy.v[i];

		if (p->revalidate_ms && p->window_ms + p->revalidate_ms > m->stale_for_ms)
			draft_error(d, line,
				    "%s tag_policy: window and revalidate of '%s' must not be "
				    "longer together than stale_for",
				    draft_title(s).text, p->tag);
	}
}

/* The client's credentials go where the configuration says, and only where nobody can read them. */
static void check_auth(struct draft *d, const struct draft_section *s, const struct conf_mirror *m)
{
	unsigned line = draft_line(s, "auth");

	if (m->auth != AUTH_CLIENT)
		return;
	for (unsigned i = 0; i < m->upstreams.count; i++)
		if (!m->upstreams.v[i].https)
			draft_error(d, line,
				    "%s auth = client: needs an https upstream, since clients' "
				    "credentials are passed on to it; upstream is %s",
				    draft_title(s).text, m->upstreams.v[i].text);
	if (m->upstreams.count > 1)
		draft_error(d, line,
			    "%s auth = client: needs a single upstream, since a client's token is "
			    "of one registry; remove the others of 'upstream'",
			    draft_title(s).text);
	if (m->credentials.count)
		draft_error(d, line,
			    "%s auth = client: the mirror has no credentials of its own then; "
			    "remove 'credentials' or take auth = mirror",
			    draft_title(s).text);
	if (d->c->server.plain.count)
		draft_warning(
			d, line,
			"%s auth = client: [server] plain answers for it only behind a balancer "
			"that ends TLS and sends X-Forwarded-Proto: https",
			draft_title(s).text);
}

static void finish_mirror(struct draft *d, const struct draft_section *s, bool look_at_files)
{
	struct conf_mirror *m = s->data;

	m->name = s->name;
	if (!draft_line(s, "upstream"))
		default_upstream(d, s, m);
	check_policies(d, s, m);
	find_credentials_up(d, s, m);
	read_credentials(d, s, m, look_at_files);
	for (unsigned i = 0; i < m->upstreams.count; i++)
		check_upstream(d, s, m, i);
	check_auth(d, s, m);
}

/* Moves the structs of one kind of section into one array. */
static void *collect(struct draft *d, enum section section, unsigned *count)
{
	size_t bytes = schema_sections[section].bytes;
	char *all;
	unsigned n = 0;

	for (struct draft_section *s = d->first; s; s = s->next)
		n += s->section == section;
	all = arena_alloc(&d->c->arena, n * bytes);
	assert(all != NULL);
	*count = n;
	n = 0;
	for (struct draft_section *s = d->first; s; s = s->next)
		if (s->section == section)
			memcpy(all + bytes * n++, s->data, bytes);
	return all;
}

/* One thing that may be claimed once: a host name or an address. */
struct claim {
	const void *what;
	size_t bytes;
	const char *text;
	const struct draft_section *by;
	const char *key;
	unsigned order;
};

struct claims {
	struct claim *v;
	unsigned count;
	unsigned cap;
};

static void add_claim(struct claims *cs, struct claim c)
{
	if (cs->count == cs->cap) {
		cs->cap = cs->cap ? 2 * cs->cap : 64;
		cs->v = reallocarray(cs->v, cs->cap, sizeof(cs->v[0]));
		assert(cs->v != NULL);
	}
	c.order = cs->count;
	cs->v[cs->count++] = c;
}

static bool same_claim(const struct claim *a, const struct claim *b)
{
	return a->bytes == b->bytes && memcmp(a->what, b->what, a->bytes) == 0;
}

/* By what is claimed, then by the file's order. */
static int compare_claims(const void *pa, const void *pb)
{
	const struct claim *a = pa, *b = pb;

	if (a->bytes != b->bytes)
		return a->bytes < b->bytes ? -1 : 1;
	if (!same_claim(a, b))
		return memcmp(a->what, b->what, a->bytes);
	return a->order < b->order ? -1 : 1;
}

static void check_claims(struct draft *d, struct claims *cs, const char *why)
{
	if (cs->count)
		qsort(cs->v, cs->count, sizeof(cs->v[0]), compare_claims);
	for (unsigned i = 1; i < cs->count; i++) {
		const struct claim *a = &cs->v[i - 1], *b = &cs->v[i];

		if (same_claim(a, b))
			draft_error(d, draft_line(b->by, b->key),
				    "%s %s = %s: is taken by %s %s "
				    "already: %s",
				    draft_title(b->by).text, b->key, b->text,
				    draft_title(a->by).text, a->key, why);
	}
	free(cs->v);
}

static void claim_hosts(struct claims *cs, const struct draft_section *s, const char *key,
			const struct conf_names *names)
{
	for (unsigned i = 0; i < names->count; i++)
		add_claim(cs, (struct claim){ names->v[i], strlen(names->v[i]), names->v[i], s, key,
					      0 });
}

static void check_hosts(struct draft *d)
{
	struct claims cs = { 0 };

	claim_hosts(&cs, d->single[SECTION_SERVER], "host", &d->c->server.hosts);
	for (struct draft_section *s = d->first; s; s = s->next) {
		if (s->section == SECTION_MIRROR)
			claim_hosts(&cs, s, "host", &((struct conf_mirror *)s->data)->hosts);
		if (s->section == SECTION_PASSTHROUGH)
			claim_hosts(&cs, s, "sni", &((struct conf_passthrough *)s->data)->snis);
		if (s->section == SECTION_SITE)
			claim_hosts(&cs, s, "host", &((struct conf_site *)s->data)->hosts);
	}
	check_claims(d, &cs,
		     "a name leads to one mirror or site, to all mirrors as a name of [server], or "
		     "past them");
}

static void claim_addrs(struct claims *cs, const struct draft_section *s, const char *key,
			const struct conf_addrs *addrs)
{
	for (unsigned i = 0; i < addrs->count; i++)
		add_claim(cs, (struct claim){ &addrs->v[i].sa, addrs->v[i].len, addrs->v[i].text, s,
					      key, 0 });
}

/* The kernel would not tell: the workers' sockets share their ports (SO_REUSEPORT). */
static void check_addrs(struct draft *d)
{
	const struct draft_section *s = d->single[SECTION_SERVER];
	const struct conf_server *sv = &d->c->server;
	struct claims cs = { 0 };

	claim_addrs(&cs, s, "https", &sv->https);
	claim_addrs(&cs, s, "http", &sv->http);
	claim_addrs(&cs, s, "plain", &sv->plain);
	claim_addrs(&cs, s, "admin", &sv->admin);
	check_claims(d, &cs, "each listener needs an address of its own");
}

static void check_whole(struct draft *d)
{
	const struct draft_section *s = d->single[SECTION_SERVER];
	unsigned https = draft_line(s, "https");

	if (!https && !draft_line(s, "plain"))
		draft_error(d, s->line,
			    "[server]: must have 'https' or 'plain', or nobody can pull; "
			    "such as https = 0.0.0.0:443 [::]:443");
	if (https && d->c->certs_count == 0)
		draft_error(d, https,
			    "[server] https: needs a certificate; add [certificate main] "
			    "with 'chain' and 'key'");
	if (d->c->mirrors_count == 0)
		draft_error(d, 0, "there is no mirror; add [mirror docker.io]");
}

static void finish_pool(struct draft *d, const struct draft_section *s)
{
	struct conf_pool *p = s->data;

	p->name = s->name;
	if (p->via.text && p->servers.count)
		draft_error(d, draft_line(s, "servers"),
			    "%s servers: cannot be used with 'via', where the outgoing proxy looks "
			    "up the upstream's name; remove one of them",
			    draft_title(s).text);
}

static const struct conf_pool *find_pool(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->pools_count; i++)
		if (slice_ieq(slice_of(c->pools[i].name), slice_of(name)))
			return &c->pools[i];
	return NULL;
}

/* The pool that a section names; NULL and an error: there is none. */
static const struct conf_pool *wanted_pool(struct draft *d, const struct draft_section *s,
					   const char *name)
{
	const struct conf_pool *p = find_pool(d->c, name);

	if (!p)
		draft_error(d, draft_line(s, "pool"),
			    "%s pool = %s: there is no such section; add [pool %s]",
			    draft_title(s).text, name, name);
	return p;
}

/* Each mirror's pool: the one that it names, or the one of its upstream's name. */
static void find_pools(struct draft *d)
{
	for (struct draft_section *s = d->first; s; s = s->next) {
		struct conf_mirror *m = s->data;

		if (s->section != SECTION_MIRROR)
			continue;
		if (m->pool_name)
			m->pool = wanted_pool(d, s, m->pool_name);
		for (unsigned i = 0; !m->pool_name && !m->pool && i < m->upstreams.count; i++)
			m->pool = find_pool(d->c, m->upstreams.v[i].host);
	}
}

/*
 * The place and the pool of a section that has one upstream.  Where it names none, that is the
 * pool's first server, <scheme> before it.
 */
static const struct conf_pool *finish_place(struct draft *d, const struct draft_section *s,
					    struct conf_upstream *up, const char *pool_name,
					    const char *scheme, unsigned port)
{
	const struct conf_pool *pool = NULL;

	if (pool_name)
		pool = wanted_pool(d, s, pool_name);
	else if (up->host)
		pool = find_pool(d->c, up->host);
	if (!up->text && pool && pool->servers.count) {
		const struct conf_pool_server *first = &pool->servers.v[0];
		bool v6 = strchr(first->host, ':') != NULL;

		up->host = first->host;
		up->port = first->port ? first->port : (uint16_t)port;
		up->text = arena_printf(&d->c->arena, "%s%s%s%s:%u", scheme, v6 ? "[" : "",
					first->host, v6 ? "]" : "", (unsigned)up->port);
	}
	if (!up->text && !draft_line(s, "upstream"))
		draft_error(d, s->line,
			    "%s: must have 'upstream = %shost:port', or a 'pool' with servers",
			    draft_title(s).text, scheme);
	return pool;
}

/* Whom a passthrough connects to, in the terms of those who dial. */
static void finish_pass(struct draft *d, const struct draft_section *s)
{
	struct conf_passthrough *p = s->data;
	struct conf_mirror *m = &p->as_mirror;
	const struct conf_pool *pool;

	p->name = s->name;
	pool = finish_place(d, s, &p->upstream, p->pool_name, "", 443);
	if (d->c->server.https.count == 0)
		draft_error(d, s->line, "%s: needs [server] https, where its clients come",
			    draft_title(s).text);
	*m = (struct conf_mirror){
		.name = p->name,
		.upstreams = { arena_alloc(&d->c->arena, sizeof(struct conf_upstream)), 1 },
		.pool_name = p->pool_name,
		.pool = pool,
		/* An address that stands here is meant. */
		.private = p->private ||
			   (!pool && p->upstream.host && value_is_ip(slice_of(p->upstream.host))),
		.connect_timeout_ms = p->connect_timeout_ms,
		.stall_ms = p->idle_timeout_ms,
	};
	assert(m->upstreams.v != NULL);
	m->upstreams.v[0] = p->upstream;
}

/* The same for a site. */
static void finish_site(struct draft *d, const struct draft_section *s)
{
	struct conf_site *t = s->data;
	const struct conf_pool *pool;

	t->name = s->name;
	pool = finish_place(d, s, &t->upstream, t->pool_name, "http://", 80);
	if (t->ca && t->upstream.text && !t->upstream.https)
		draft_error(d, draft_line(s, "ca"),
			    "%s ca: is of no use with an upstream without TLS; remove it, or take "
			    "'upstream = https://...'",
			    draft_title(s).text);
	t->as_mirror = (struct conf_mirror){
		.name = t->name,
		.upstreams = { arena_alloc(&d->c->arena, sizeof(struct conf_upstream)), 1 },
		.ca = t->ca,
		.pool_name = t->pool_name,
		.pool = pool,
		.private = t->private ||
			   (!pool && t->upstream.host && value_is_ip(slice_of(t->upstream.host))),
		.connect_timeout_ms = t->connect_timeout_ms,
		.first_byte_timeout_ms = t->timeout_ms,
		.stall_ms = t->timeout_ms,
	};
	assert(t->as_mirror.upstreams.v != NULL);
	t->as_mirror.upstreams.v[0] = t->upstream;
}

void draft_check(struct draft *d, bool look_at_files)
{
	for (struct draft_section *s = d->first; s; s = s->next)
		check_keys(d, s, look_at_files);
	finish_server(&d->c->server);
	for (struct draft_section *s = d->first; s; s = s->next) {
		if (s->section == SECTION_MIRROR)
			finish_mirror(d, s, look_at_files);
		if (s->section == SECTION_POOL)
			finish_pool(d, s);
		if (s->section == SECTION_CERTIFICATE)
			((struct conf_cert *)s->data)->name = s->name;
	}
	d->c->certs = collect(d, SECTION_CERTIFICATE, &d->c->certs_count);
	d->c->pools = collect(d, SECTION_POOL, &d->c->pools_count);
	find_pools(d);
	for (struct draft_section *s = d->first; s; s = s->next) {
		if (s->section == SECTION_PASSTHROUGH)
			finish_pass(d, s);
		if (s->section == SECTION_SITE)
			finish_site(d, s);
	}
	d->c->sites = collect(d, SECTION_SITE, &d->c->sites_count);
	d->c->passes = collect(d, SECTION_PASSTHROUGH, &d->c->passes_count);
	d->c->mirrors = collect(d, SECTION_MIRROR, &d->c->mirrors_count);
	check_tenants(d, look_at_files);
	d->c->tenants = collect(d, SECTION_TENANT, &d->c->tenants_count);
	check_hosts(d);
	check_addrs(d);
	check_whole(d);
}
