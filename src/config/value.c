/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "config/policy.h"

/*
 * A file of CONFIG_FILE_MAX bytes cannot fill the arena of a config, and without memory there is no
 * start: so this is an assertion.
 */
static void *need(void *p)
{
	assert(p != NULL);
	return p;
}

/* Room for one more in an array of <count>; it doubles whenever the count is a power of two. */
static void *grow(void *v, unsigned count, size_t item, struct arena *a)
{
	void *more;

	if (count & (count - 1))
		return v;
	more = need(arena_alloc(a, (count ? 2 * (size_t)count : 1) * item));
	if (count)
		memcpy(more, v, count * item);
	return more;
}

static bool parse_port(struct slice text, uint16_t *port)
{
	uint64_t n;

	if (!units_parse_uint(text, &n) || n < 1 || n > 65535)
		return false;
	*port = (uint16_t)n;
	return true;
}

/* Cuts "host:port", "[v6]:port", "host", "[v6]"; port is none when there is no ':'. */
static bool cut_port(struct slice text, struct slice *host, struct slice *port)
{
	*port = SLICE_NONE;
	if (slice_starts(text, SLICE("["))) {
		*host = slice_skip(text, 1);
		*port = *host;
		*host = slice_cut(port, ']');
		if (port->ptr == text.ptr + text.len && text.ptr[text.len - 1] != ']')
			return false;
		if (port->len == 0) {
			*port = SLICE_NONE;
			return true;
		}
		if (port->ptr[0] != ':')
			return false;
		*port = slice_skip(*port, 1);
		return true;
	}
	*host = slice_first(text, slice_find(text, ':'));
	if (host->len < text.len)
		*port = slice_skip(text, host->len + 1);
	return true;
}

static bool parse_ip(struct slice text, bool v6, struct conf_addr *out)
{
	char ip[INET6_ADDRSTRLEN];

	if (text.len >= sizeof(ip))
		return false;
	memcpy(ip, text.ptr, text.len);
	ip[text.len] = '\0';
	*out = (struct conf_addr){ .len = v6 ? sizeof(out->in6) : sizeof(out->in) };
	out->sa.sa_family = v6 ? AF_INET6 : AF_INET;
	if (v6)
		return inet_pton(AF_INET6, ip, &out->in6.sin6_addr) == 1;
	return inet_pton(AF_INET, ip, &out->in.sin_addr) == 1;
}

/* "1.2.3.4:443", "[::]:443". */
static bool parse_addr(struct slice text, struct conf_addr *out)
{
	struct slice host, digits;
	uint16_t port;

	if (!cut_port(text, &host, &digits) || !parse_port(digits, &port) ||
	    !parse_ip(host, text.ptr[0] == '[', out))
		return false;
	if (out->sa.sa_family == AF_INET6)
		out->in6.sin6_port = htons(port);
	else
		out->in.sin_port = htons(port);
	return true;
}

bool value_is_ip(struct slice text)
{
	struct conf_addr addr;

	return parse_ip(text, false, &addr) || parse_ip(text, true, &addr);
}

/* "1.1.1.1", "::1", and both with a port. */
static bool is_server(struct slice text)
{
	struct conf_addr addr;

	return parse_addr(text, &addr) || value_is_ip(text);
}

/* RFC 1123 2.1, and '_', which some private names have. */
static bool is_label(struct slice s)
{
	if (s.len == 0 || s.len > 63 || s.ptr[0] == '-' || s.ptr[s.len - 1] == '-')
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!isalnum((unsigned char)s.ptr[i]) && s.ptr[i] != '-' && s.ptr[i] != '_')
			return false;
	return true;
}

/* All digits and dots is an address or nothing. */
static bool is_dns_name(struct slice s)
{
	struct conf_addr addr;
	size_t numeric = 0;

	if (s.len == 0 || s.len > 253)
		return false;
	while (numeric < s.len && (isdigit((unsigned char)s.ptr[numeric]) || s.ptr[numeric] == '.'))
		numeric++;
	if (numeric == s.len)
		return parse_ip(s, false, &addr);
	while (s.len) {
		bool last = slice_find(s, '.') == s.len;

		if (!is_label(slice_cut(&s, '.')) || (!last && s.len == 0))
			return false;
	}
	return true;
}

static const char *lower(struct slice s, struct arena *a)
{
	char *copy = need(arena_dup(a, s));

	for (char *p = copy; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

const char *value_host(struct slice text, struct arena *a)
{
	struct slice host, port;
	struct conf_addr addr;

	if (slice_starts(text, SLICE("["))) {
		if (!cut_port(text, &host, &port) || port.ptr || !parse_ip(host, true, &addr))
			return NULL;
		return lower(host, a);
	}
	if (slice_ends(text, SLICE(".")))
		text.len--;
	return is_dns_name(text) ? lower(text, a) : NULL;
}

const char *value_registry(struct slice text, struct arena *a)
{
	struct slice host, digits;
	uint16_t port;

	if (!cut_port(text, &host, &digits) || !is_dns_name(host) ||
	    (digits.ptr && !parse_port(digits, &port)))
		return NULL;
	return lower(text, a);
}

const char *value_place(struct slice text, uint16_t *port, struct arena *a)
{
	struct slice host, digits;

	if (text.len == 0 || !cut_port(text, &host, &digits) ||
	    (digits.ptr && !parse_port(digits, port)))
		return NULL;
	return value_host(slice_first(text, text.len - (digits.ptr ? digits.len + 1 : 0)), a);
}

bool value_add_member(struct conf_pool_servers *list, struct slice item, struct arena *a)
{
	struct conf_pool_server s = { .weight = 1 }, *last;
	uint64_t n;

	if (slice_starts(item, SLICE("weight="))) {
		if (list->count == 0 || !units_parse_uint(slice_skip(item, 7), &n) || n < 1 ||
		    n > 256)
			return false;
		last = &list->v[list->count - 1];
		last->weight = n;
		return true;
	}
	s.host = value_place(item, &s.port, a);
	s.text = lower(item, a);
	if (!s.host)
		return false;
	list->v = grow(list->v, list->count, sizeof(list->v[0]), a);
	list->v[list->count++] = s;
	return true;
}

bool value_add_ip(struct conf_addrs *list, struct slice item, struct arena *a)
{
	struct conf_addr addr;

	if (!parse_ip(item, slice_find(item, ':') < item.len, &addr))
		return false;
	addr.text = need(arena_dup(a, item));
	list->v = grow(list->v, list->count, sizeof(list->v[0]), a);
	list->v[list->count++] = addr;
	return true;
}

bool value_add_net(struct conf_nets *list, struct slice item, struct arena *a)
{
	struct slice digits = item, host = slice_cut(&digits, '/');
	struct conf_net net = { .bits = 128 };
	struct conf_addr addr;
	uint64_t bits;
	bool v4;

	v4 = slice_find(host, ':') == host.len;
	if (host.len == 0 || !parse_ip(host, !v4, &addr))
		return false;
	if (host.len < item.len) {
		if (!units_parse_uint(digits, &bits) || bits > (v4 ? 32 : 128))
			return false;
		net.bits = (unsigned)bits + (v4 ? 96 : 0);
	}
	if (v4) {
		net.ip[10] = net.ip[11] = 0xff;
		memcpy(net.ip + 12, &addr.in.sin_addr, 4);
	} else {
		memcpy(net.ip, &addr.in6.sin6_addr, 16);
	}
	net.text = need(arena_dup(a, item));
	list->v = grow(list->v, list->count, sizeof(list->v[0]), a);
	list->v[list->count++] = net;
	return true;
}

/* %XX; NULL: a bad escape, nothing, or more than SOCKS5 can send. */
static char *secret_part(struct slice s, struct arena *a)
{
	char *out = need(arena_dup(a, s));
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++, n++) {
		char hex[3] = { 0 };

		out[n] = s.ptr[i];
		if (s.ptr[i] != '%')
			continue;
		if (s.len - i < 3 || !isxdigit((unsigned char)s.ptr[i + 1]) ||
		    !isxdigit((unsigned char)s.ptr[i + 2]))
			return NULL;
		memcpy(hex, s.ptr + i + 1, 2);
		out[n] = (char)strtoul(hex, NULL, 16);
		if (!out[n])
			return NULL;
		i += 2;
	}
	out[n] = '\0';
	return n > 0 && n <= 255 ? out : NULL;
}

bool value_via(struct slice text, struct conf_via *out, struct arena *a)
{
	struct conf_via v = { .kind = CONF_VIA_SOCKS5 };
	const char *scheme = "socks5://";
	struct slice rest = text, user;
	size_t at = SIZE_MAX;

	if (slice_starts(text, SLICE("http://"))) {
		v.kind = CONF_VIA_HTTP;
		scheme = "http://";
	} else if (!slice_starts(text, SLICE("socks5://"))) {
		return false;
	}
	rest = slice_skip(text, strlen(scheme));
	if (slice_ends(rest, SLICE("/")))
		rest.len--;
	for (size_t i = 0; i < rest.len; i++)
		if (rest.ptr[i] == '@')
			at = i;
	if (at != SIZE_MAX) {
		struct slice login = slice_first(rest, at);

		user = slice_cut(&login, ':');
		v.user = secret_part(user, a);
		v.password = secret_part(login, a);
		if (!v.user || !v.password)
			return false;
		rest = slice_skip(rest, at + 1);
	}
	v.host = value_place(rest, &v.port, a);
	if (!v.host || v.port == 0)
		return false;
	v.text = need(
		arena_printf(a, "%s%s%.*s", scheme, v.user ? "(hidden)@" : "", SLICE_FMT(rest)));
	*out = v;
	return true;
}

bool value_url(struct slice text, struct conf_upstream *out, struct arena *a)
{
	struct conf_upstream up = { .https = slice_starts(text, SLICE("https://")) };
	struct slice host, digits, rest = text;

	if (!up.https && !slice_starts(text, SLICE("http://")))
		return false;
	rest = slice_skip(rest, up.https ? 8 : 7);
	if (slice_ends(rest, SLICE("/")))
		rest.len--;
	up.port = up.https ? 443 : 80;
	if (rest.len == 0 || !cut_port(rest, &host, &digits) ||
	    (digits.ptr && !parse_port(digits, &up.port)))
		return false;
	up.host = value_host(slice_first(rest, rest.len - (digits.ptr ? digits.len + 1 : 0)), a);
	if (!up.host)
		return false;
	up.text = lower(slice_range(text.ptr, rest.ptr + rest.len), a);
	*out = up;
	return true;
}

bool value_add_url(struct conf_upstreams *list, struct slice text, struct arena *a)
{
	struct conf_upstream up;

	if (!value_url(text, &up, a))
		return false;
	for (unsigned i = 0; i < list->count; i++)
		if (strcmp(list->v[i].text, up.text) == 0)
			return false;
	list->v = grow(list->v, list->count, sizeof(list->v[0]), a);
	list->v[list->count++] = up;
	return true;
}

void value_add_name(struct conf_names *names, const char *name, struct arena *a)
{
	for (unsigned i = 0; i < names->count; i++)
		if (strcmp(names->v[i], name) == 0)
			return;
	names->v = grow(names->v, names->count, sizeof(names->v[0]), a);
	names->v[names->count++] = name;
}

static void fail(char *why, const char *fmt, ...) printf_like(2, 3);
static void fail(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, VALUE_WHY_MAX, fmt, ap);
	va_end(ap);
}

static bool store_addr(struct conf_addrs *list, struct slice item, struct arena *a)
{
	struct conf_addr addr;

	if (!parse_addr(item, &addr))
		return false;
	addr.text = need(arena_dup(a, item));
	list->v = grow(list->v, list->count, sizeof(list->v[0]), a);
	list->v[list->count++] = addr;
	return true;
}

static bool store_name(struct conf_names *list, const char *name, struct arena *a)
{
	if (name)
		value_add_name(list, name, a);
	return name != NULL;
}

/* Absolute: the process may stand in any folder, and "/" must not come from a slip. */
static bool is_path(struct slice text)
{
	return text.len > 1 && text.ptr[0] == '/' && text.len < 4096;
}

/* No address: a client sends none as its SNI. */
static const char *value_sni(struct slice text, struct arena *a)
{
	bool star = slice_starts(text, SLICE("*."));
	struct slice name = slice_skip(text, star ? 2 : 0);
	const char *host = slice_starts(name, SLICE("[")) ? NULL : value_host(name, a);

	if (!host || value_is_ip(slice_of(host)))
		return NULL;
	return star ? need(arena_printf(a, "*.%s", host)) : host;
}

static bool store_place(struct slice text, struct conf_upstream *up, struct arena *a)
{
	up->host = value_place(text, &up->port, a);
	up->text = lower(text, a);
	return up->host && up->port;
}

static bool is_pattern(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
			return false;
	return text.len <= 255;
}

/*
 * A part of an image's name, since that is where podman and BuildKit write it; and none that looks
 * like a registry or a part of the API.
 */
static bool store_secret(struct slice text, char **field, struct arena *a)
{
	if (text.len < TENANT_SECRET_MIN || text.len > TENANT_SECRET_MAX || text.ptr[0] == '-' ||
	    text.ptr[text.len - 1] == '-')
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (!islower((unsigned char)text.ptr[i]) && !isdigit((unsigned char)text.ptr[i]) &&
		    text.ptr[i] != '-')
			return false;
	*field = need(arena_alloc(a, TENANT_SECRET_MAX + 1));
	memcpy(*field, text.ptr, text.len);
	return true;
}

static bool store_item(const struct schema_key *k, struct slice item, void *field, struct arena *a,
		       char *why)
{
	char shown[64];

	snprintf(shown, sizeof(shown), "%.*s%s", SLICE_FMT(slice_first(item, 48)),
		 item.len > 48 ? "..." : "");
	switch (k->type) {
	case VALUE_ADDRS:
		fail(why, "'%s' must be an address and a port, such as 0.0.0.0:443 or [::]:443",
		     shown);
		return store_addr(field, item, a);
	case VALUE_HOSTS:
		fail(why, "'%s' must be a host name without a port, such as mirror.example.com",
		     shown);
		return store_name(field, value_host(item, a), a);
	case VALUE_SNIS:
		fail(why, "'%s' must be a name such as git.example.com, or *.example.com", shown);
		return store_name(field, value_sni(item, a), a);
	case VALUE_SERVERS:
		fail(why, "'%s' must be the address of a name server, such as 1.1.1.1 or [::1]:53",
		     shown);
		return store_name(field, is_server(item) ? need(arena_dup(a, item)) : NULL, a);
	case VALUE_URLS:
		fail(why,
		     "%s must be https://host or https://host:port, without path, user or "
		     "password, and stand there once",
		     slice_find(item, '@') < item.len ? "each" : shown);
		return value_add_url(field, item, a);
	case VALUE_PATHS:
		fail(why, "'%s' must be an absolute path, one that begins with '/'", shown);
		return store_name(field, is_path(item) ? need(arena_dup(a, item)) : NULL, a);
	case VALUE_MEMBERS:
		fail(why,
		     "'%s' must be host, host:port or [IPv6]:port, or weight=1..256 behind one",
		     shown);
		return value_add_member(field, item, a);
	case VALUE_IPS:
		fail(why, "'%s' must be an IP address of this machine, without a port", shown);
		return value_add_ip(field, item, a);
	case VALUE_NETS:
		fail(why, "'%s' must be a network or an address, such as 10.0.0.0/8 or ::1", shown);
		return value_add_net(field, item, a);
	case VALUE_PATTERNS:
		fail(why, "'%s' must be printable ASCII of at most 255 bytes", shown);
		return store_name(field, is_pattern(item) ? need(arena_dup(a, item)) : NULL, a);
	default: unreachable("not a list");
	}
}

static unsigned list_count(const struct schema_key *k, const void *field)
{
	switch (k->type) {
	case VALUE_ADDRS:
	case VALUE_IPS: return ((const struct conf_addrs *)field)->count;
	case VALUE_MEMBERS: return ((const struct conf_pool_servers *)field)->count;
	case VALUE_NETS: return ((const struct conf_nets *)field)->count;
	case VALUE_URLS: return ((const struct conf_upstreams *)field)->count;
	default: return ((const struct conf_names *)field)->count;
	}
}

static struct slice first_word(struct slice text)
{
	size_t blank = slice_find(text, ' ');
	size_t tab = slice_find(text, '\t');

	return slice_first(text, blank < tab ? blank : tab);
}

static bool store_list(const struct schema_key *k, struct slice text, void *field, struct arena *a,
		       char *why)
{
	while (text.len) {
		unsigned most = k->max ? (unsigned)k->max : VALUE_LIST_MAX;
		struct slice item = first_word(text);

		if (list_count(k, field) == most) {
			fail(why, "at most %u may be given", most);
			return false;
		}
		if (!store_item(k, item, field, a, why))
			return false;
		text = slice_trim(slice_skip(text, item.len));
	}
	return true;
}

static bool store_pattern(struct conf_policies *list, struct conf_policy p, struct slice pattern,
			  struct arena *a, char *why)
{
	if (list->count == VALUE_LIST_MAX) {
		fail(why, "at most %d patterns may be given", VALUE_LIST_MAX);
		return false;
	}
	if (!policy_pattern(pattern, &p, a, why))
		return false;
	for (unsigned i = 0; i < list->count; i++)
		if (policy_same_pattern(&list->v[i], &p)) {
			fail(why, "'%.*s' stands in a rule before this one; remove one of them",
			     SLICE_FMT(slice_first(pattern, 80)));
			return false;
		}
	list->v = grow(list->v, list->count, sizeof(list->v[0]), a);
	list->v[list->count++] = p;
	return true;
}

static bool store_policies(struct slice text, struct conf_policies *list, struct arena *a,
			   char *why)
{
	while (text.len) {
		struct slice rule = slice_trim(slice_cut(&text, ','));
		struct slice patterns;
		struct conf_policy p;

		if (!policy_parse(rule, &patterns, &p, why))
			return false;
		while (patterns.len) {
			struct slice pattern = first_word(patterns);

			if (!store_pattern(list, p, pattern, a, why))
				return false;
			patterns = slice_trim(slice_skip(patterns, pattern.len));
		}
	}
	return true;
}

static bool store_string(struct slice text, bool ok, const char **field, struct arena *a)
{
	if (ok)
		*field = need(arena_dup(a, text));
	return ok;
}

static bool is_word(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!isalnum((unsigned char)text.ptr[i]) && !strchr("_-.", text.ptr[i]))
			return false;
	return text.len > 0 && text.len <= 253;
}

static bool is_log(struct slice text)
{
	return slice_eq(text, SLICE("stdout")) || slice_eq(text, SLICE("off")) || is_path(text);
}

/* proxy/oci.h has the whole grammar; this is what a slip of the pen leaves. */
static bool is_image(struct slice image)
{
	struct slice tag = image;
	const struct slice repo = slice_cut(&tag, ':');
	char last = '/';

	for (size_t i = 0; i < repo.len; i++) {
		const char c = repo.ptr[i];

		if (!islower((unsigned char)c) && !isdigit((unsigned char)c) && !strchr("_-./", c))
			return false;
		if (c == '/' && last == '/')
			return false;
		last = c;
	}
	if (last == '/' || repo.len > 255)
		return false;
	return repo.len == image.len || (tag.len <= 128 && is_word(tag));
}

static bool is_user(struct slice text)
{
	if (text.len == 0 || text.len > 32 || isdigit((unsigned char)text.ptr[0]))
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (!isalnum((unsigned char)text.ptr[i]) && !strchr("_-.$", text.ptr[i]))
			return false;
	return true;
}

/* RFC 6797 6.1 */
static bool is_hsts(struct slice text)
{
	const struct slice begin = SLICE("max-age=");

	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < ' ' || text.ptr[i] > '~')
			return false;
	return slice_ieq(slice_first(text, begin.len), begin) && text.len > begin.len &&
	       isdigit((unsigned char)text.ptr[begin.len]);
}

static bool store_number(const struct schema_key *k, struct slice text, uint64_t *field)
{
	uint64_t n;
	bool ok;

	if (k->type == VALUE_AUTO && slice_eq(text, SLICE("auto"))) {
		*field = 0;
		return true;
	}
	if (k->type == VALUE_PERCENT && !slice_ends(text, SLICE("%")))
		return false;
	if (k->type == VALUE_QUOTA && !slice_ends(text, SLICE("/month")))
		return false;
	switch (k->type) {
	case VALUE_PERCENT: ok = units_parse_uint(slice_first(text, text.len - 1), &n); break;
	case VALUE_MS: ok = units_parse_ms(text, &n); break;
	case VALUE_BYTES: ok = units_parse_bytes(text, &n); break;
	case VALUE_QUOTA: ok = units_parse_bytes(slice_first(text, text.len - 6), &n); break;
	default: ok = units_parse_uint(text, &n); break;
	}
	if (!ok || n < k->min || n > k->max)
		return false;
	*field = n;
	return true;
}

static void number_rule(const struct schema_key *k, char *why)
{
	char least[UNITS_TEXT_MAX], most[UNITS_TEXT_MAX];

	switch (k->type) {
	case VALUE_MS:
		units_format_ms(k->min, least);
		units_format_ms(k->max, most);
		fail(why, "must be a time with a unit of ms, s, m, h or d, from %s to %s", least,
		     most);
		return;
	case VALUE_BYTES:
		units_format_bytes(k->min, least);
		units_format_bytes(k->max, most);
		fail(why, "must be a size such as 512M or 40G, from %s to %s", least, most);
		return;
	case VALUE_QUOTA:
		units_format_bytes(k->min, least);
		units_format_bytes(k->max, most);
		fail(why, "must be a size and /month, such as 500G/month, from %s to %s", least,
		     most);
		return;
	case VALUE_PERCENT:
		fail(why, "must be a share such as 25%%, from %" PRIu64 "%% to %" PRIu64 "%%",
		     k->min, k->max);
		return;
	default:
		fail(why, "must be %s%" PRIu64 "..%" PRIu64,
		     k->type == VALUE_AUTO ? "'auto' or " : "", k->min, k->max);
	}
}

static bool store_choice(const struct schema_key *k, struct slice text, unsigned *field, char *why)
{
	struct slice rest = slice_of(k->choices);

	for (unsigned i = 0; rest.len; i++)
		if (slice_eq(slice_cut(&rest, ' '), text)) {
			*field = i;
			return true;
		}
	fail(why, "must be one of: %s", k->choices);
	return false;
}

static bool store_bool(struct slice text, bool *field)
{
	*field = slice_eq(text, SLICE("yes"));
	return *field || slice_eq(text, SLICE("no"));
}

static bool store_socket(struct slice text, void *field, struct arena *a, char why[VALUE_WHY_MAX])
{
	bool is_off = slice_eq(text, SLICE("off"));

	fail(why, "must be off or an absolute path of at most %d bytes", VALUE_SOCKET_MAX);
	return store_string(text, is_off || (is_path(text) && text.len <= VALUE_SOCKET_MAX), field,
			    a);
}

bool value_store(const struct schema_key *k, struct slice text, void *section, struct arena *a,
		 char why[VALUE_WHY_MAX])
{
	void *field = (char *)section + k->at;

	if (text.len == 0) {
		fail(why, "must not be empty; leave the whole line out instead");
		return false;
	}
	switch (k->type) {
	case VALUE_ADDRS:
	case VALUE_HOSTS:
	case VALUE_SNIS:
	case VALUE_SERVERS:
	case VALUE_URLS:
	case VALUE_PATHS:
	case VALUE_MEMBERS:
	case VALUE_NETS:
	case VALUE_PATTERNS:
	case VALUE_IPS: return store_list(k, text, field, a, why);
	case VALUE_VIA:
		fail(why, "must be socks5://host:port or http://host:port, with user:password@ "
			  "before the host where it wants them (bytes such as @ as %%40)");
		return value_via(text, field, a);
	case VALUE_WORD:
		fail(why, "must be one word of letters, digits, '.', '_' and '-'");
		return store_string(text, is_word(text), field, a);
	case VALUE_IMAGE:
		fail(why,
		     "must be REPOSITORY:TAG without the registry: library/hello-world:latest");
		return store_string(text, is_image(text), field, a);
	case VALUE_POLICY: return store_policies(text, field, a, why);
	case VALUE_SECRET:
		fail(why,
		     "must be %d to %d of a-z, 0-9 and '-' (not at its ends), since podman "
		     "and BuildKit put it into names of images; openssl rand -hex 16 makes "
		     "one",
		     TENANT_SECRET_MIN, TENANT_SECRET_MAX);
		return store_secret(text, field, a);
	case VALUE_URL:
		fail(why,
		     "must be https://host or https://host:port, without path, user or password");
		return value_url(text, field, a);
	case VALUE_PLACE:
		fail(why, "must be host:port, such as git.internal:443");
		return store_place(text, field, a);
	case VALUE_HOST:
		fail(why, "must be a host name, perhaps with a port: wiki.internal or wiki:8080");
		*(const char **)field = value_registry(text, a);
		return *(const char **)field != NULL;
	case VALUE_PATH:
		fail(why, "must be an absolute path, one that begins with '/'");
		return store_string(text, is_path(text), field, a);
	case VALUE_LOG:
		fail(why, "must be stdout, off, or an absolute path");
		return store_string(text, is_log(text), field, a);
	case VALUE_SOCKET: return store_socket(text, field, a, why);
	case VALUE_HSTS:
		fail(why, "must be the value of the header, such as max-age=15552000");
		return store_string(text, is_hsts(text), field, a);
	case VALUE_USER:
		fail(why, "must be the name of a user of this machine");
		return store_string(text, is_user(text), field, a);
	case VALUE_AUTO:
	case VALUE_COUNT:
	case VALUE_PERCENT:
	case VALUE_MS:
	case VALUE_QUOTA:
	case VALUE_BYTES: number_rule(k, why); return store_number(k, text, field);
	case VALUE_BOOL: fail(why, "must be yes or no"); return store_bool(text, field);
	case VALUE_CHOICE: return store_choice(k, text, field, why);
	}
	unreachable("a value of no type");
}
