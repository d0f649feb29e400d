/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/uri.h"

#include "http/msg.h"

enum { HOST_MAX = 253 }; /* RFC 1035 3.1, without the length bytes and the root's dot */

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_name_host(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!is_alpha(c) && !is_digit(c) && c != '.' && c != '-' && c != '_')
			return false;
	}
	return s.len > 0;
}

/* Only the alphabet: whether it is an address is found out when it is dialled. */
static bool is_v6_host(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (hex_value(s.ptr[i]) < 0 && s.ptr[i] != ':' && s.ptr[i] != '.')
			return false;
	return s.len >= 2 && slice_find(s, ':') < s.len;
}

static bool parse_port(struct slice s, uint16_t *port)
{
	uint64_t n;

	if (s.len > 5 || !http_parse_uint(s, &n) || n == 0 || n > UINT16_MAX)
		return false;
	*port = (uint16_t)n;
	return true;
}

bool authority_split(struct slice text, struct slice *host, uint16_t *port)
{
	bool v6 = text.len > 0 && text.ptr[0] == '[';
	size_t end = slice_find(text, v6 ? ']' : ':');
	struct slice name = slice_first(text, end);
	struct slice rest;
	uint16_t number = 0;

	if (text.len == 0)
		return false;
	rest = slice_skip(text, end + v6);
	if (v6)
		name = slice_skip(name, 1);
	if (name.len > HOST_MAX || !(v6 ? end < text.len && is_v6_host(name) : is_name_host(name)))
		return false;
	if (rest.len > 0 && (rest.ptr[0] != ':' || !parse_port(slice_skip(rest, 1), &number)))
		return false;
	if (host)
		*host = name;
	if (port)
		*port = number;
	return true;
}

/* What would need escaping never stands in a URI; a reader that let it pass would guess. */
static bool has_forbidden_byte(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f)
			return true;
	return false;
}

static struct slice lower_copy(struct arena *a, struct slice s)
{
	char *p = arena_dup(a, s);

	for (size_t i = 0; p && i < s.len; i++)
		if (is_alpha(p[i]))
			p[i] = (char)(p[i] | 0x20);
	return (struct slice){ p, p ? s.len : 0 };
}

/* "/path?query" from "", "?query" or "/path?query". */
static bool set_target(struct arena *a, struct slice rest, struct uri *out)
{
	const char *slash = rest.len == 0 || rest.ptr[0] != '/' ? "/" : "";
	char *p = arena_printf(a, "%s%.*s", slash, SLICE_FMT(rest));

	out->target = slice_of(p);
	return p != NULL;
}

/* What follows "http://" or "//", without the fragment. */
static bool parse_hier(struct arena *a, bool https, struct slice text, struct uri *out)
{
	struct slice host;
	uint16_t port;
	size_t n = 0;

	while (n < text.len && text.ptr[n] != '/' && text.ptr[n] != '?')
		n++;
	if (!authority_split(slice_first(text, n), &host, &port))
		return false;
	out->https = https;
	out->port = port ? port : https ? 443 : 80;
	out->host = lower_copy(a, host);
	return out->host.ptr && set_target(a, slice_skip(text, n), out);
}

static struct slice without_fragment(struct slice text)
{
	return slice_first(text, slice_find(text, '#'));
}

bool uri_parse(struct arena *a, struct slice text, struct uri *out)
{
	const struct slice http = SLICE("http://"), https = SLICE("https://");

	*out = (struct uri){ 0 };
	if (has_forbidden_byte(text))
		return false;
	text = without_fragment(text);
	if (slice_ieq(slice_first(text, https.len), https))
		return parse_hier(a, true, slice_skip(text, https.len), out);
	if (slice_ieq(slice_first(text, http.len), http))
		return parse_hier(a, false, slice_skip(text, http.len), out);
	return false;
}

/* RFC 3986 5.2.4, in place; <path> begins with a slash, and so does what is left of it. */
static size_t remove_dot_segments(char *path, size_t len)
{
	size_t in = 0, out = 0;

	while (in < len) {
		size_t end = in + 1;
		struct slice segment;
		bool up, here;

		assert(path[in] == '/');
		while (end < len && path[end] != '/')
			end++;
		segment = slice_range(path + in + 1, path + end);
		here = slice_eq(segment, SLICE("."));
		up = slice_eq(segment, SLICE(".."));
		if (up)
			while (out > 0 && path[--out] != '/')
				;
		if (!up && !here) {
			memmove(path + out, path + in, end - in);
			out += end - in;
		} else if (end == len) {
			path[out++] = '/';
		}
		in = end;
	}
	assert(out > 0);
	return out;
}

static bool normalise(struct arena *a, struct uri *u)
{
	size_t query = slice_find(u->target, '?');
	char *p = arena_dup(a, u->target);
	size_t len;

	if (!p)
		return false;
	len = remove_dot_segments(p, query);
	memmove(p + len, p + query, u->target.len - query);
	u->target = (struct slice){ p, len + u->target.len - query };
	return true;
}

/* "scheme:" (RFC 3986 3.1) at the head, which makes it no relative reference. */
static bool has_scheme(struct slice ref)
{
	size_t n = 0;

	while (n < ref.len && (is_alpha(ref.ptr[n]) || is_digit(ref.ptr[n]) || ref.ptr[n] == '+' ||
			       ref.ptr[n] == '-' || ref.ptr[n] == '.'))
		n++;
	return n > 0 && n < ref.len && ref.ptr[n] == ':';
}

/* RFC 3986 5.2.3: what of the base's target stays before a relative reference. */
static struct slice base_part(const struct uri *base, struct slice ref)
{
	struct slice path = slice_first(base->target, slice_find(base->target, '?'));

	if (ref.len == 0)
		return base->target;
	if (ref.ptr[0] == '/')
		return SLICE_NONE;
	if (ref.ptr[0] == '?')
		return path;
	while (path.len > 0 && path.ptr[path.len - 1] != '/')
		path.len--;
	return path;
}

bool uri_resolve(struct arena *a, const struct uri *base, struct slice ref, struct uri *out)
{
	struct slice before;
	struct uri u = { 0 };
	char *target;

	*out = u;
	if (has_forbidden_byte(ref))
		return false;
	ref = without_fragment(ref);
	if (has_scheme(ref)) {
		if (!uri_parse(a, ref, &u))
			return false;
	} else if (slice_starts(ref, SLICE("//"))) {
		if (!parse_hier(a, base->https, slice_skip(ref, 2), &u))
			return false;
	} else {
		before = base_part(base, ref);
		target = arena_printf(a, "%.*s%.*s", SLICE_FMT(before), SLICE_FMT(ref));
		if (!target)
			return false;
		u = *base;
		u.target = slice_of(target);
	}
	if (!normalise(a, &u))
		return false;
	*out = u;
	return true;
}

bool uri_same_origin(const struct uri *a, const struct uri *b)
{
	return a->https == b->https && a->port == b->port && slice_eq(a->host, b->host);
}

char *uri_authority(struct arena *a, const struct uri *u)
{
	bool v6 = slice_find(u->host, ':') < u->host.len;
	const char *open = v6 ? "[" : "", *close = v6 ? "]" : "";

	if (u->port == (u->https ? 443 : 80))
		return arena_printf(a, "%s%.*s%s", open, SLICE_FMT(u->host), close);
	return arena_printf(a, "%s%.*s%s:%u", open, SLICE_FMT(u->host), close, u->port);
}

static bool pair_has_key(struct slice pair, const char *key)
{
	return slice_eq(slice_cut(&pair, '='), slice_of(key));
}

bool query_get(struct slice query, const char *key, struct slice *raw)
{
	while (query.len > 0) {
		struct slice pair = slice_cut(&query, '&');

		if (pair_has_key(pair, key)) {
			slice_cut(&pair, '=');
			*raw = pair;
			return true;
		}
	}
	return false;
}

char *query_without(struct arena *a, struct slice query, const char *key)
{
	char *p = arena_alloc(a, query.len + 1);
	size_t n = 0;

	if (!p)
		return NULL;
	while (query.len > 0) {
		struct slice pair = slice_cut(&query, '&');

		if (pair.len == 0 || pair_has_key(pair, key))
			continue;
		if (n > 0)
			p[n++] = '&';
		memcpy(p + n, pair.ptr, pair.len);
		n += pair.len;
	}
	return p;
}

int percent_byte(struct slice s)
{
	int high = s.len > 2 && s.ptr[0] == '%' ? hex_value(s.ptr[1]) : -1;
	int low = high >= 0 ? hex_value(s.ptr[2]) : -1;

	return low < 0 ? -1 : high << 4 | low;
}

char *percent_decode(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.len + 1);
	size_t n = 0;

	for (size_t i = 0; p && i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '%') {
			int byte = percent_byte(slice_skip(s, i));

			if (byte < 0)
				return NULL;
			c = (char)byte;
			i += 2;
		}
		if (c == '\0')
			return NULL;
		p[n++] = c;
	}
	return p;
}

bool uri_is_unreserved(char c)
{
	return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

char *percent_encode(struct arena *a, struct slice s, const char *keep)
{
	static const char digits[] = "0123456789ABCDEF";
	char *p = arena_alloc(a, 3 * s.len + 1);
	size_t n = 0;

	for (size_t i = 0; p && i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (uri_is_unreserved((char)c) || (c != '\0' && strchr(keep, c))) {
			p[n++] = (char)c;
		} else {
			p[n++] = '%';
			p[n++] = digits[c >> 4];
			p[n++] = digits[c & 15];
		}
	}
	return p;
}
