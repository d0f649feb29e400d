/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A base and a reference, with a newline between.  What was resolved parses to itself, with no dot
 * segment left; what was encoded decodes to itself; a key that was taken out of a query is gone.
 */
#include "http/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_resolved(struct arena *a, const struct uri *u)
{
	char *authority = uri_authority(a, u);
	struct slice path = slice_first(u->target, slice_find(u->target, '?'));
	struct uri again;
	char *text;

	if (!authority)
		return;
	text = arena_printf(a, "%s://%s%.*s", u->https ? "https" : "http", authority,
			    SLICE_FMT(u->target));
	if (!text || !uri_parse(a, slice_of(text), &again)) {
		assert(!text || a->used_bytes > a->limit_bytes / 2);
		return;
	}
	assert(uri_same_origin(u, &again));
	assert(slice_eq(u->target, again.target));
	assert(path.len > 0 && path.ptr[0] == '/');
	while (path.len > 0) {
		struct slice s = slice_cut(&path, '/');

		assert(!slice_eq(s, SLICE(".")) && !slice_eq(s, SLICE("..")));
	}
}

static void check_texts(struct arena *a, struct slice text)
{
	char *encoded = percent_encode(a, text, "/:");
	char *decoded = encoded ? percent_decode(a, slice_of(encoded)) : NULL;
	char *rest = query_without(a, text, "ns");
	struct slice raw;

	if (decoded)
		assert(slice_eq(slice_of(decoded), text));
	if (rest && slice_find(text, '\0') == text.len)
		assert(!query_get(slice_of(rest), "ns", &raw));
	if (percent_decode(a, text))
		authority_split(text, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice ref = { (const char *)data, size };
	struct slice base_text = slice_cut(&ref, '\n');
	struct uri base, u;
	struct arena a;

	arena_init(&a, 1024 * 1024);
	if (uri_parse(&a, base_text, &base) && uri_resolve(&a, &base, ref, &u))
		check_resolved(&a, &u);
	check_texts(&a, ref);
	arena_fini(&a);
	return 0;
}
