/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/setup.h"

#include <stdio.h>
#include <stdlib.h>

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
	return s->tls != NULL;
}

/* Mirrors without roots of their own share one set of the system's, which is 140 certificates. */
static bool load_trust(struct setup *s, char *why, size_t why_len)
{
	struct tls_client *common = NULL;

	s->mirror_tls = calloc(s->config->mirrors_count + 1, sizeof(struct tls_client *));
	if (!s->mirror_tls)
		return false;
	for (unsigned i = 0; i < s->config->mirrors_count; i++) {
		const char *ca = s->config->mirrors[i].ca;
		struct tls_client *tls = !ca && common ? tls_client_ref(common)
						       : tls_client_new(ca, why, why_len);

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

/* Rests and quotas are not taken over by a reload: it costs one request to learn each again. */
static bool make_quotas(struct setup *s)
{
	const struct config *c = s->config;
	unsigned n = 0;

	s->quotas = calloc(upstreams_count(c) + 1, sizeof(struct quotas *));
	for (unsigned i = 0; s->quotas && i < c->mirrors_count; i++) {
		const struct conf_mirror *m = &c->mirrors[i];

		for (unsigned j = 0; j < m->upstreams.count; j++, n++) {
			bool has_accounts = m->accounts_count > 0 && m->credentials_up == j;

			/* Without one, nobody is the one. */
			s->quotas[n] = quotas_new(has_accounts ? m->accounts_count : 1);
			if (!s->quotas[n])
				return false;
		}
	}
	return s->quotas != NULL;
}

static void setup_free(struct setup *s)
{
	for (unsigned i = 0; s->quotas && i < upstreams_count(s->config); i++)
		quotas_free(s->quotas[i]);
	free(s->quotas);
	for (unsigned i = 0; s->mirror_tls && i < s->config->mirrors_count; i++)
		if (s->mirror_tls[i])
			tls_client_unref(s->mirror_tls[i]);
	if (s->tls)
		tls_server_unref(s->tls);
	free(s->mirror_tls);
	config_unref(s->config);
	free(s);
}

struct setup *setup_new(struct config *c, char *why, size_t why_len)
{
	struct setup *s = calloc(1, sizeof(*s));

	snprintf(why, why_len, "no memory for certificates");
	if (!s) {
		config_unref(c);
		return NULL;
	}
	s->config = c;
	s->refs = 1;
	if (make_quotas(s) && load_certificates(s, why, why_len) && load_trust(s, why, why_len))
		return s;
	setup_free(s);
	return NULL;
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
