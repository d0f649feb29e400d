/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is wrong with [tenant] sections as a whole. */
#include <stdlib.h>

#include "base/log.h"
#include "config/check.h"
#include "config/files.h"
#include "config/htpasswd.h"

enum { HTPASSWD_FILE_MAX = 1024 * 1024, LOGINS_MAX = 4096 };

/* A key that names a file of logins, and where these go. */
struct logins {
	const struct draft_section *s;
	const char *key;
	const char *file;
	struct conf_login **v;
	unsigned *count;
};

static void bad_line(struct draft *d, const struct logins *of, unsigned line, const char *why)
{
	draft_error(d, draft_line(of->s, of->key), "%s %s = %s: line %u %s",
		    draft_title(of->s).text, of->key, of->file, line, why);
}

static void take_logins(struct draft *d, const struct logins *of, struct slice text)
{
	struct slice user, hash;
	const char *why = NULL;
	unsigned line = 0;
	enum htpasswd_result r;

	*of->v = calloc(LOGINS_MAX, sizeof(struct conf_login));
	assert(*of->v != NULL);
	while ((r = htpasswd_next(&text, &user, &hash, &line, &why)) == HTPASSWD_LINE) {
		struct conf_login *l = &(*of->v)[*of->count];

		if (*of->count == LOGINS_MAX) {
			bad_line(d, of, line, "is one too many: 4096 may be given");
			return;
		}
		l->user = strndup(user.ptr, user.len);
		l->hash = strndup(hash.ptr, hash.len);
		assert(l->user && l->hash);
		++*of->count;
	}
	if (r == HTPASSWD_BAD)
		bad_line(d, of, line, why);
	else if (*of->count == 0)
		draft_error(d, draft_line(of->s, of->key), "%s %s = %s: nobody is in it",
			    draft_title(of->s).text, of->key, of->file);
}

static void read_logins(struct draft *d, enum section section, const struct logins *of)
{
	const struct schema_key *k = schema_find(section, slice_of(of->key));
	const char *why = files_check_secret(of->file, d->c->server.user);
	char *text = NULL;
	ssize_t n = why ? 0 : files_read(of->file, HTPASSWD_FILE_MAX, &text);

	if (why || n < 0) {
		draft_error_value(d, of->s, k, draft_line(of->s, of->key), slice_of(of->file),
				  why ? why : "cannot be read, or is larger than 1 MiB");
		return;
	}
	take_logins(d, of, (struct slice){ text, (size_t)n });
	explicit_bzero(text, (size_t)n);
	free(text);
}

static const struct conf_mirror *mirror_named(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->mirrors_count; i++)
		if (strcasecmp(c->mirrors[i].name, name) == 0)
			return &c->mirrors[i];
	return NULL;
}

static void check_mirrors(struct draft *d, const struct draft_section *s,
			  const struct conf_tenant *t)
{
	for (unsigned i = 0; i < t->mirrors.count; i++) {
		const struct conf_mirror *m = mirror_named(d->c, t->mirrors.v[i]);

		if (!m)
			draft_error(d, draft_line(s, "mirrors"),
				    "%s mirrors = %s: there is no such section; add [mirror %s]",
				    draft_title(s).text, t->mirrors.v[i], t->mirrors.v[i]);
		else if (m->auth == AUTH_CLIENT && t->htpasswd)
			draft_error(d, draft_line(s, "mirrors"),
				    "%s mirrors = %s: has auth = client, where a client's login is "
				    "the registry's; a tenant with htpasswd cannot use it",
				    draft_title(s).text, m->name);
	}
}

static const char *shared_user(const struct conf_tenant *a, const struct conf_tenant *b)
{
	for (unsigned i = 0; i < a->logins_count; i++)
		for (unsigned j = a == b ? i + 1 : 0; j < b->logins_count; j++)
			if (strcmp(a->logins[i].user, b->logins[j].user) == 0)
				return a->logins[i].user;
	return NULL;
}

/* Of two tenants, or of one and itself: what may stand once. */
static void check_pair(struct draft *d, const struct draft_section *sa,
		       const struct draft_section *sb)
{
	const struct conf_tenant *a = sa->data, *b = sb->data;
	const char *user = shared_user(a, b);
	struct log_quoted q;

	if (user) {
		q = log_quote(slice_of(user));
		draft_error(d, draft_line(sb, "htpasswd"),
			    "%s htpasswd: user %s stands in the file of %s already; a user is of "
			    "one tenant",
			    draft_title(sb).text, q.text, draft_title(sa).text);
	}
	if (a != b && a->secret && b->secret && strcmp(a->secret, b->secret) == 0)
		draft_error(d, draft_line(sb, "secret"),
			    "%s secret: is that of %s; make another one by: openssl rand -hex 16",
			    draft_title(sb).text, draft_title(sa).text);
}

static void check_tenant(struct draft *d, const struct draft_section *s, bool look_at_files)
{
	struct conf_tenant *t = s->data;

	t->name = s->name;
	if (t->htpasswd && look_at_files)
		read_logins(d, SECTION_TENANT,
			    &(struct logins){ s, "htpasswd", t->htpasswd, &t->logins,
					      &t->logins_count });
	check_mirrors(d, s, t);
	if (t->certificates.count && !d->c->server.client_ca)
		draft_error(d, draft_line(s, "certificate"),
			    "%s certificate: needs [server] client_ca, the file of who signs them",
			    draft_title(s).text);
	if (t->certificates.count && d->c->server.https.count == 0)
		draft_error(d, draft_line(s, "certificate"),
			    "%s certificate: needs [server] https, where clients show theirs",
			    draft_title(s).text);
	if (t->htpasswd && d->c->server.plain.count && d->c->server.trusted.count == 0)
		draft_warning(d, draft_line(s, "htpasswd"),
			      "%s htpasswd: passwords come to [server] plain without TLS, unless a "
			      "balancer before it ends TLS; name it as [server] trusted",
			      draft_title(s).text);
	if (t->secret && look_at_files && files_others_may_read(d->file))
		draft_warning(d, draft_line(s, "secret"),
			      "%s secret: others may read this file: chmod 640",
			      draft_title(s).text);
}

void check_tenants(struct draft *d, bool look_at_files)
{
	struct conf_server *sv = &d->c->server;

	if (sv->admin_htpasswd && look_at_files)
		read_logins(d, SECTION_SERVER,
			    &(struct logins){ d->single[SECTION_SERVER], "admin_htpasswd",
					      sv->admin_htpasswd, &sv->admin_logins,
					      &sv->admin_logins_count });
	for (struct draft_section *s = d->first; s; s = s->next) {
		if (s->section != SECTION_TENANT)
			continue;
		check_tenant(d, s, look_at_files);
		for (struct draft_section *o = d->first; o != s->next; o = o->next)
			if (o->section == SECTION_TENANT)
				check_pair(d, o, s);
	}
}
