/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The effective configuration as an INI file: read again, it gives the same configuration. */
#include <inttypes.h>

#include "base/units.h"
#include "config/policy.h"
#include "config/schema.h"

/* One item a line, because lines have a bound. */
static bool print_lead(const struct schema_key *k, unsigned i, struct buf *out)
{
	return i ? buf_append(out, SLICE("\t")) : buf_printf(out, "%s = ", k->key);
}

static bool print_addrs(const struct schema_key *k, const struct conf_addrs *list, struct buf *out)
{
	for (unsigned i = 0; i < list->count; i++)
		if (!print_lead(k, i, out) || !buf_printf(out, "%s\n", list->v[i].text))
			return false;
	return true;
}

static bool print_names(const struct schema_key *k, const struct conf_names *list, struct buf *out)
{
	for (unsigned i = 0; i < list->count; i++) {
		/* A literal IPv6 address lost its brackets when it was read as a host. */
		bool bare = k->type == VALUE_HOSTS && strchr(list->v[i], ':');

		if (!print_lead(k, i, out) ||
		    !buf_printf(out, "%s%s%s\n", bare ? "[" : "", list->v[i], bare ? "]" : ""))
			return false;
	}
	return true;
}

static bool print_nets(const struct schema_key *k, const struct conf_nets *list, struct buf *out)
{
	for (unsigned i = 0; i < list->count; i++)
		if (!print_lead(k, i, out) || !buf_printf(out, "%s\n", list->v[i].text))
			return false;
	return true;
}

static bool print_urls(const struct schema_key *k, const struct conf_upstreams *list,
		       struct buf *out)
{
	for (unsigned i = 0; i < list->count; i++)
		if (!print_lead(k, i, out) || !buf_printf(out, "%s\n", list->v[i].text))
			return false;
	return true;
}

static bool print_members(const struct schema_key *k, const struct conf_pool_servers *list,
			  struct buf *out)
{
	for (unsigned i = 0; i < list->count; i++) {
		const struct conf_pool_server *s = &list->v[i];

		if (!print_lead(k, i, out) ||
		    !buf_printf(out, "%s weight=%" PRIu64 "\n", s->text, s->weight))
			return false;
	}
	return true;
}

static bool print_policies(const struct schema_key *k, const struct conf_policies *list,
			   struct buf *out)
{
	for (unsigned i = 0; i < list->count; i++)
		if (!print_lead(k, i, out) || !policy_print(&list->v[i], out) ||
		    !buf_append(out, SLICE("\n")))
			return false;
	return true;
}

static bool print_string(const struct schema_key *k, const char *text, struct buf *out)
{
	return !text || buf_printf(out, "%s = %s\n", k->key, text);
}

static bool print_number(const struct schema_key *k, uint64_t n, struct buf *out)
{
	char text[UNITS_TEXT_MAX];

	if (n == 0 && k->min > 0 && !k->by_default && !k->required)
		return true; /* not set */

	if (k->type == VALUE_AUTO && n == 0)
		return print_string(k, "auto", out);
	if (k->type == VALUE_PERCENT)
		return buf_printf(out, "%s = %" PRIu64 "%%\n", k->key, n);
	if (k->type == VALUE_QUOTA) {
		units_format_bytes(n, text);
		return buf_printf(out, "%s = %s/month\n", k->key, text);
	}
	if (k->type == VALUE_MS)
		units_format_ms(n, text);
	else if (k->type == VALUE_BYTES)
		units_format_bytes(n, text);
	else
		return buf_printf(out, "%s = %" PRIu64 "\n", k->key, n);
	return print_string(k, text, out);
}

static bool print_choice(const struct schema_key *k, unsigned index, struct buf *out)
{
	struct slice rest = slice_of(k->choices), word;

	do
		word = slice_cut(&rest, ' ');
	while (index--);
	return buf_printf(out, "%s = %.*s\n", k->key, SLICE_FMT(word));
}

static bool print_key(const struct schema_key *k, const void *section, struct buf *out)
{
	const void *field = schema_field(k, section);

	switch (k->type) {
	case VALUE_IPS:
	case VALUE_ADDRS: return print_addrs(k, field, out);
	case VALUE_HOSTS:
	case VALUE_SNIS:
	case VALUE_SERVERS:
	case VALUE_PATTERNS:
	case VALUE_PATHS: return print_names(k, field, out);
	case VALUE_URLS: return print_urls(k, field, out);
	case VALUE_NETS: return print_nets(k, field, out);
	case VALUE_SECRET: return print_string(k, *(char *const *)field ? "(hidden)" : NULL, out);
	case VALUE_MEMBERS: return print_members(k, field, out);
	case VALUE_VIA: return print_string(k, ((const struct conf_via *)field)->text, out);
	case VALUE_POLICY: return print_policies(k, field, out);
	case VALUE_PLACE:
	case VALUE_URL: return print_string(k, ((const struct conf_upstream *)field)->text, out);
	case VALUE_HOST:
	case VALUE_PATH:
	case VALUE_LOG:
	case VALUE_SOCKET:
	case VALUE_HSTS:
	case VALUE_USER:
	case VALUE_IMAGE:
	case VALUE_WORD: return print_string(k, *(const char *const *)field, out);
	case VALUE_AUTO:
	case VALUE_COUNT:
	case VALUE_PERCENT:
	case VALUE_MS:
	case VALUE_QUOTA:
	case VALUE_BYTES: return print_number(k, *(const uint64_t *)field, out);
	case VALUE_BOOL: return print_string(k, *(const bool *)field ? "yes" : "no", out);
	case VALUE_CHOICE: return print_choice(k, *(const unsigned *)field, out);
	}
	unreachable("a value of no type");
}

/* tag_fresh beside a rule for `*` is a mistake: see check.c. */
static bool is_void(const struct schema_key *k, const void *section)
{
	return k->section == SECTION_MIRROR &&
	       k->at == offsetof(struct conf_mirror, tag_fresh_ms) &&
	       policy_rest(&((const struct conf_mirror *)section)->tag_policy);
}

static bool print_section(enum section section, const char *name, const void *data, struct buf *out)
{
	if (!buf_printf(out, "[%s%s%s]\n", schema_sections[section].name, name ? " " : "",
			name ? name : ""))
		return false;
	for (unsigned i = 0; i < schema_keys_count; i++)
		if (schema_keys[i].section == section && !is_void(&schema_keys[i], data) &&
		    !print_key(&schema_keys[i], data, out))
			return false;
	return true;
}

bool config_dump(const struct config *c, struct buf *out)
{
	if (!print_section(SECTION_SERVER, NULL, &c->server, out) ||
	    !print_section(SECTION_LIMITS, NULL, &c->limits, out))
		return false;
	for (unsigned i = 0; i < c->certs_count; i++)
		if (!print_section(SECTION_CERTIFICATE, c->certs[i].name, &c->certs[i], out))
			return false;
	if (!print_section(SECTION_CACHE, NULL, &c->cache, out) ||
	    !print_section(SECTION_RESOLVER, NULL, &c->resolver, out))
		return false;
	for (unsigned i = 0; i < c->pools_count; i++)
		if (!print_section(SECTION_POOL, c->pools[i].name, &c->pools[i], out))
			return false;
	for (unsigned i = 0; i < c->mirrors_count; i++)
		if (!print_section(SECTION_MIRROR, c->mirrors[i].name, &c->mirrors[i], out))
			return false;
	for (unsigned i = 0; i < c->passes_count; i++)
		if (!print_section(SECTION_PASSTHROUGH, c->passes[i].name, &c->passes[i], out))
			return false;
	for (unsigned i = 0; i < c->tenants_count; i++)
		if (!print_section(SECTION_TENANT, c->tenants[i].name, &c->tenants[i], out))
			return false;
	for (unsigned i = 0; i < c->sites_count; i++)
		if (!print_section(SECTION_SITE, c->sites[i].name, &c->sites[i], out))
			return false;
	return true;
}

/* As they are printed, they are compared. */
static bool key_differs(const struct schema_key *k, const void *a, const void *b)
{
	char mem[2][16 * 1024]; /* a list that is longer counts as changed */
	struct buf text[2];

	buf_init(&text[0], mem[0], sizeof(mem[0]));
	buf_init(&text[1], mem[1], sizeof(mem[1]));
	return !print_key(k, a, &text[0]) || !print_key(k, b, &text[1]) ||
	       !slice_eq(buf_data(&text[0]), buf_data(&text[1]));
}

static const void *single_section(const struct config *c, enum section section)
{
	switch (section) {
	case SECTION_SERVER: return &c->server;
	case SECTION_LIMITS: return &c->limits;
	case SECTION_CACHE: return &c->cache;
	case SECTION_RESOLVER: return &c->resolver;
	default: return NULL;
	}
}

unsigned config_restart_keys(const struct config *a, const struct config *b, const char **keys,
			     unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < schema_keys_count && n < max; i++) {
		const struct schema_key *k = &schema_keys[i];
		const void *in_a = single_section(a, k->section);

		if (!k->reloadable && in_a && key_differs(k, in_a, single_section(b, k->section)))
			keys[n++] = k->key;
	}
	return n;
}
