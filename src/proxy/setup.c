/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool load_certificates(struct setup *s, char *why, size_t why_len)
{
	const struct config *c = s->config;
	struct tls_cert_opts *certs;

	if (c->server.https.count == 0)
		return true;
	certs = calloc(c->certs_count, sizeof(*certs));
	for (unsigned i = 0; certs && i < c->certs_count; i++)
		certs[i] = (struct tls_cert_opts){ c->certs[i].name, c->certs[i].chain,
						   c->certs[i].key };
	if (certs)
		s->tls = tls_server_new(certs, c->certs_count, c->server.http2, why, why_len);
	free(certs);
	return s->tls &&
	       (!c->server.client_ca || tls_server_ask(s->tls, c->server.client_ca, why, why_len));
}

static unsigned trusts_count(const struct config *c)
{
	return c->mirrors_count + c->sites_count;
}

/*
 * Mirrors and sites without roots of their own share one set of the system's, which is 140
 * certificates; a site without TLS needs none.
 */
static bool load_trust(struct setup *s, char *why, size_t why_len)
{
	const struct config *c = s->config;
	struct tls_client *common = NULL;

	s->mirror_tls = calloc(trusts_count(c) + 1, sizeof(struct tls_client *));
	if (!s->mirror_tls)
		return false;
	for (unsigned i = 0; i < trusts_count(c); i++) {
		const struct conf_site *site =
			i < c->mirrors_count ? NULL : &c->sites[i - c->mirrors_count];
		const char *ca = site ? site->ca : c->mirrors[i].ca;
		struct tls_client *tls;

		if (site && !site->upstream.https)
			continue;
		tls = !ca && common ? tls_client_ref(common) : tls_client_new(ca, why, why_len);
		if (!tls)
			return false;
		if (!ca)
			common = tls;
		s->mirror_tls[i] = tls;
	}
	return true;
}

static unsigned upstreams_count(const struct config *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->mirrors_count; i++)
		n += c->mirrors[i].upstreams.count;
	return n;
}

/* ---- accounts ---- */

static bool has_logins(const struct conf_mirror *m, unsigned up)
{
	return m->accounts_count > 0 && m->credentials_up == up;
}

/* The family of which it has more, and how many: a member of the other one gets those in turn. */
static unsigned sources_of(const struct conf_addrs *bind, sa_family_t *family)
{
	unsigned v4 = 0;

	for (unsigned i = 0; i < bind->count; i++)
		v4 += bind->v[i].sa.sa_family == AF_INET;
	*family = v4 * 2 >= bind->count ? AF_INET : AF_INET6;
	return v4 * 2 >= bind->count ? v4 : bind->count - v4;
}

static const struct conf_addrs *bind_of(const struct config *c, const struct conf_mirror *m,
					unsigned up)
{
	static const struct conf_addrs none;
	bool servers;
	const struct conf_pool *pool =
		config_pool(c, m, slice_of(m->upstreams.v[up].host), &servers);

	return pool ? &pool->bind : &none;
}

unsigned setup_accounts(const struct config *c, const struct conf_mirror *m, unsigned up)
{
	sa_family_t family;
	unsigned sources;

	if (has_logins(m, up))
		return m->accounts_count;
	sources = sources_of(bind_of(c, m, up), &family);
	if (sources > QUOTA_ACCOUNTS_MAX)
		sources = QUOTA_ACCOUNTS_MAX;
	return sources > 0 ? sources : 1;
}

struct setup_account setup_account(const struct config *c, const struct conf_mirror *m, unsigned up,
				   unsigned account)
{
	struct setup_account a = { .source_text = "" };
	const struct conf_addrs *bind;
	sa_family_t family;
	unsigned n = 0;

	if (has_logins(m, up)) {
		assert(account < m->accounts_count);
		a.login = &m->accounts[account];
		return a;
	}
	bind = bind_of(c, m, up);
	if (sources_of(bind, &family) < 2)
		return a;
	a.source = account + 1;
	for (unsigned i = 0; i < bind->count; i++)
		if (bind->v[i].sa.sa_family == family && n++ == account)
			a.source_text = bind->v[i].text;
	return a;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool setup_account_is(struct setup_account a, struct setup_account b)
{
	if (!a.login != !b.login || strcmp(a.source_text, b.source_text) != 0)
		return false;
	return !a.login || (same_text(a.login->user, b.login->user) &&
			    same_text(a.login->password, b.login->password));
}

/* Of an upstream that the setup before had, too: what its accounts were told counts further. */
static void quotas_go_on(const struct setup *s, struct quotas *q, const struct conf_mirror *m,
			 unsigned up, const struct setup *before)
{
	const struct config *c = before->config;
	struct quotas **old = before->quotas;

	for (unsigned i = 0; i < c->mirrors_count; i++) {
		const struct conf_mirror *was = &c->mirrors[i];

		for (unsigned j = 0; j < was->upstreams.count; j++, old++) {
			if (strcmp(was->name, m->name) != 0 ||
			    strcmp(was->upstreams.v[j].text, m->upstreams.v[up].text) != 0)
				continue;
			for (unsigned k = 0; k < quotas_count(q) * quotas_count(*old); k++) {
				unsigned a = k / quotas_count(*old), b = k % quotas_count(*old);
				struct setup_account now = setup_account(s->config, m, up, a);
				struct setup_account then = setup_account(c, was, j, b);

				if (setup_account_is(now, then))
					quotas_take_over(q, a, *old, b);
			}
		}
	}
}

static bool make_quotas(struct setup *s, const struct setup *before)
{
	const struct config *c = s->config;
	unsigned n = 0;

	s->quotas = calloc(upstreams_count(c) + 1, sizeof(struct quotas *));
	for (unsigned i = 0; s->quotas && i < c->mirrors_count; i++) {
		const struct conf_mirror *m = &c->mirrors[i];

		for (unsigned j = 0; j < m->upstreams.count; j++, n++) {
			s->quotas[n] = quotas_new(setup_accounts(c, m, j));
			if (!s->quotas[n])
				return false;
			if (before)
				quotas_go_on(s, s->quotas[n], m, j, before);
		}
	}
	return s->quotas != NULL;
}

static void setup_free(struct setup *s)
{
	for (unsigned i = 0; s->quotas && i < upstreams_count(s->config); i++)
		quotas_free(s->quotas[i]);
	free(s->quotas);
	for (unsigned i = 0; s->mirror_tls && i < trusts_count(s->config); i++)
		if (s->mirror_tls[i])
			tls_client_unref(s->mirror_tls[i]);
	if (s->tls)
		tls_server_unref(s->tls);
	free(s->mirror_tls);
	config_unref(s->config);
	free(s);
}

static struct setup *setup_make(struct config *c, const struct setup *before, bool serves,
				char *why, size_t why_len)
{
	struct setup *s = calloc(1, sizeof(*s));

	snprintf(why, why_len, "no memory for certificates");
	if (!s) {
		config_unref(c);
		return NULL;
	}
	s->config = c;
	s->refs = 1;
	if (make_quotas(s, before) && (!serves || load_certificates(s, why, why_len)) &&
	    load_trust(s, why, why_len))
		return s;
	setup_free(s);
	return NULL;
}

struct setup *setup_new(struct config *c, const struct setup *before, char *why, size_t why_len)
{
	return setup_make(c, before, true, why, why_len);
}

struct setup *setup_upstreams(struct config *c, char *why, size_t why_len)
{
	return setup_make(c, NULL, false, why, why_len);
}

struct setup *setup_ref(struct setup *s)
{
	unsigned before = __atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);

	assert(before > 0);
	return s;
}

void setup_unref(struct setup *s)
{
	unsigned before = __atomic_fetch_sub(&s->refs, 1, __ATOMIC_ACQ_REL);

	assert(before > 0);
	if (before == 1)
		setup_free(s);
}
