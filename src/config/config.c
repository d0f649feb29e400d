/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/draft.h"
#include "config/files.h"
#include "config/ini.h"
#include "config/schema.h"

enum {
	/*
	 * What a file of CONFIG_FILE_MAX bytes can take at most: a list item of two bytes becomes a
	 * string of 16 and up to 4 * 48 of array, of which an arena frees nothing while it grows.
	 */
	CONFIG_ARENA_MAX = 160 * 1024 * 1024,
	ERRORS_ARENA_MAX = 2 * CONFIG_MESSAGES_MAX * 8 * 1024,
};

static struct config *config_new(void)
{
	struct config *c = calloc(1, sizeof(*c));

	assert(c != NULL);
	arena_init(&c->arena, CONFIG_ARENA_MAX);
	c->refs = 1;
	return c;
}

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static void logins_free(struct conf_login *v, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		wipe(v[i].user);
		wipe(v[i].hash);
	}
	free(v);
}

static void config_free(struct config *c)
{
	logins_free(c->server.admin_logins, c->server.admin_logins_count);
	for (unsigned i = 0; i < c->mirrors_count; i++) {
		for (unsigned j = 0; j < c->mirrors[i].accounts_count; j++) {
			wipe(c->mirrors[i].accounts[j].user);
			wipe(c->mirrors[i].accounts[j].password);
		}
	}
	for (unsigned i = 0; i < c->tenants_count; i++) {
		struct conf_tenant *t = &c->tenants[i];

		logins_free(t->logins, t->logins_count);
		if (t->secret)
			explicit_bzero(t->secret, TENANT_SECRET_MAX);
	}
	for (unsigned i = 0; i < c->pools_count; i++) {
		struct conf_via *via = &c->pools[i].via;

		if (via->user) {
			explicit_bzero(via->user, strlen(via->user));
			explicit_bzero(via->password, strlen(via->password));
		}
	}
	arena_fini(&c->arena);
	free(c);
}

struct config *config_ref(struct config *c)
{
	unsigned before = __atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED);

	assert(before > 0);
	return c;
}

void config_unref(struct config *c)
{
	unsigned before = __atomic_fetch_sub(&c->refs, 1, __ATOMIC_ACQ_REL);

	assert(before > 0);
	if (before == 1)
		config_free(c);
}

void config_errors_fini(struct config_errors *errs)
{
	arena_fini(&errs->arena);
	*errs = (struct config_errors){ 0 };
}

static int make(const char *name, struct slice text, bool look_at_files, struct config **out,
		struct config_errors *errs)
{
	struct config *c = config_new();
	struct draft d;

	draft_init(&d, name, c, errs);
	draft_read(&d, text);
	draft_check(&d, look_at_files);
	draft_fini(&d);
	if (errs->errors.count == 0) {
		*out = c;
		return 0;
	}
	config_unref(c);
	return -EINVAL;
}

static void errors_init(struct config_errors *errs)
{
	*errs = (struct config_errors){ 0 };
	arena_init(&errs->arena, ERRORS_ARENA_MAX);
}

static int refuse(struct config_errors *errs, const char *name, const char *why)
{
	errs->errors.text[0] = arena_printf(&errs->arena, "%s: %s", name, why);
	assert(errs->errors.text[0] != NULL);
	errs->errors.count = 1;
	return -EINVAL;
}

int config_parse(const char *name, struct slice text, struct config **out,
		 struct config_errors *errs)
{
	*out = NULL;
	errors_init(errs);
	if (text.len > CONFIG_FILE_MAX)
		return refuse(errs, name, "is larger than 1 MiB");
	return make(name, text, false, out, errs);
}

int config_load(const char *path, struct config **out, struct config_errors *errs)
{
	char *mem = NULL;
	ssize_t n;
	int err;

	*out = NULL;
	errors_init(errs);
	n = files_read(path, CONFIG_FILE_MAX, &mem);
	if (n == -EFBIG)
		return refuse(errs, path, "is larger than 1 MiB");
	if (n < 0)
		return refuse(errs, path, err_text((int)n));
	err = make(path, (struct slice){ mem, (size_t)n }, true, out, errs);
	explicit_bzero(mem, (size_t)n); /* passwords and secrets may stand in it */
	free(mem);
	return err;
}

struct control_seen {
	char *out;
	size_t max;
	bool in_server;
	bool fits;
};

static void control_event(void *ctx, const struct ini_event *ev)
{
	struct control_seen *seen = ctx;

	if (ev->kind == INI_SECTION)
		seen->in_server = slice_eq(ev->name, SLICE("server"));
	if (ev->kind != INI_KEY || !seen->in_server || !slice_eq(ev->name, SLICE("control")))
		return;
	seen->fits = ev->value.len < seen->max;
	if (seen->fits)
		snprintf(seen->out, seen->max, "%.*s", SLICE_FMT(ev->value));
}

bool config_control(const char *path, char *out, size_t max)
{
	const struct schema_key *k = schema_find(SECTION_SERVER, SLICE("control"));
	struct control_seen seen = { .out = out, .max = max };
	char *mem = NULL;
	ssize_t n;

	seen.fits = (size_t)snprintf(out, max, "%s", k->by_default) < max;
	n = files_read(path, CONFIG_FILE_MAX, &mem);
	if (n >= 0) {
		ini_read((struct slice){ mem, (size_t)n }, control_event, &seen);
		explicit_bzero(mem, (size_t)n);
		free(mem);
	}
	return seen.fits && out[0] == '/';
}

bool config_realm_ok(const struct conf_mirror *m, unsigned up, struct slice host)
{
	const struct conf_upstream *u = &m->upstreams.v[up];

	assert(up < m->upstreams.count);
	if (slice_ieq(host, slice_of(u->host)) || (u->realm && slice_ieq(host, slice_of(u->realm))))
		return true;
	if (up != m->credentials_up)
		return false;
	for (unsigned i = 0; i < m->realms.count; i++)
		if (slice_ieq(host, slice_of(m->realms.v[i])))
			return true;
	return false;
}

static bool names_have(const struct conf_names *names, struct slice name)
{
	for (unsigned i = 0; i < names->count; i++)
		if (slice_eq(slice_of(names->v[i]), name))
			return true;
	return false;
}

static int pass_of(const struct config *c, struct slice name)
{
	for (unsigned i = 0; i < c->passes_count; i++)
		if (names_have(&c->passes[i].snis, name))
			return (int)i;
	return -1;
}

static int site_of(const struct config *c, struct slice name)
{
	for (unsigned i = 0; i < c->sites_count; i++)
		if (names_have(&c->sites[i].hosts, name))
			return (int)i;
	return -1;
}

/* Does it lead to mirrors? */
static bool is_ours(const struct config *c, struct slice name)
{
	if (names_have(&c->server.hosts, name))
		return true;
	for (unsigned i = 0; i < c->mirrors_count; i++)
		if (names_have(&c->mirrors[i].hosts, name))
			return true;
	return false;
}

/* "*.x" of "a.x", in <mem>; none: it has no second label. */
static struct slice starred(struct slice name, char mem[256])
{
	struct slice rest = slice_skip(name, slice_find(name, '.'));

	if (rest.len == 0 || rest.len == name.len || rest.len + 2 > 256)
		return SLICE_NONE;
	mem[0] = '*';
	memcpy(mem + 1, rest.ptr, rest.len);
	return (struct slice){ mem, rest.len + 1 };
}

int config_passthrough(const struct config *c, const char *sni)
{
	struct slice name = slice_of(sni), star;
	char mem[256];
	int found = pass_of(c, name);

	if (found >= 0 || c->passes_count == 0 || is_ours(c, name) || site_of(c, name) >= 0)
		return found;
	star = starred(name, mem);
	return star.len ? pass_of(c, star) : -1;
}

int config_site(const struct config *c, struct slice host)
{
	char low[256], mem[256];
	struct slice name = { low, host.len }, star;
	int found;

	if (c->sites_count == 0 || host.len >= sizeof(low))
		return -1;
	for (size_t i = 0; i < host.len; i++)
		low[i] = (char)tolower((unsigned char)host.ptr[i]);
	found = site_of(c, name);
	if (found >= 0 || is_ours(c, name))
		return found;
	star = starred(name, mem);
	return star.len ? site_of(c, star) : -1;
}

static const struct conf_pool *pool_named(const struct config *c, struct slice name)
{
	for (unsigned i = 0; i < c->pools_count; i++)
		if (slice_ieq(name, slice_of(c->pools[i].name)))
			return &c->pools[i];
	return NULL;
}

bool config_is_upstream(const struct conf_mirror *m, struct slice host)
{
	for (unsigned i = 0; i < m->upstreams.count; i++)
		if (slice_ieq(host, slice_of(m->upstreams.v[i].host)))
			return true;
	return false;
}

const struct conf_pool *config_pool(const struct config *c, const struct conf_mirror *m,
				    struct slice host, bool *servers)
{
	const struct conf_pool *own;

	*servers = true;
	if (m->pool_name && config_is_upstream(m, host))
		return m->pool;
	own = pool_named(c, host);
	if (own)
		return own;
	*servers = false;
	return m->pool;
}
