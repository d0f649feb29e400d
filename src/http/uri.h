/* SPDX-License-Identifier: GPL-3.0-or-later */
/* URIs as registries use them: absolute http(s), references to a base (RFC 3986 5), queries. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"

struct uri {
	bool https;
	struct slice host; /* lower case; without brackets for IPv6 */
	uint16_t port;
	struct slice target; /* "/path?query", at least "/"; the fragment is dropped */
};

/*
 * "host", "host:port", "[v6]:port", as in Host: letters, digits, '.', '-', '_', at most 253.
 * *host is without brackets, as written; *port 0 when there is none.  Both may be NULL.
 */
bool authority_split(struct slice text, struct slice *host, uint16_t *port);

/*
 * Absolute http:// or https:// only.  Userinfo, control bytes, spaces, an empty or over-long host,
 * a port out of 1..65535 are refused.  Memory from <a>.
 */
bool uri_parse(struct arena *a, struct slice text, struct uri *out) must_check;
/*
 * A Location value: absolute, //host/path, /path, or path relative to base->target; dot segments
 * are removed.
 */
bool uri_resolve(struct arena *a, const struct uri *base, struct slice ref,
		 struct uri *out) must_check;
bool uri_same_origin(const struct uri *a, const struct uri *b);
/*
 * "host" or "host:port" when not the scheme's own; IPv6 in brackets.  For the Host field.
 * NULL: no memory.
 */
char *uri_authority(struct arena *a, const struct uri *u) must_check;

/* Value of a key in "a=b&c=d", raw (percent-encoded); false when absent. */
bool query_get(struct slice query, const char *key, struct slice *raw);
/* The query without that key, "" if nothing is left; NULL: no memory. */
char *query_without(struct arena *a, struct slice query, const char *key) must_check;
/* RFC 3986 2.3. */
bool uri_is_unreserved(char c);
/* The byte that a "%XX" at the head of <s> stands for; -1: none is there. */
int percent_byte(struct slice s);
/* Decoded; NULL on bad escapes, NUL bytes or no memory. */
char *percent_decode(struct arena *a, struct slice s) must_check;
/* Everything but unreserved characters and those in <keep> escaped. */
char *percent_encode(struct arena *a, struct slice s, const char *keep) must_check;
