/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One text as a target, as a name, as JSON and as words for an error.  A path that was accepted
 * gives the same pieces when it is put together again; an error is JSON that gives its message
 * back.
 */
#include "proxy/oci.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(struct arena *a, struct slice target)
{
	static const char *const verbs[] = {
		[OCI_MANIFEST] = "manifests", [OCI_BLOB] = "blobs", [OCI_REFERRERS] = "referrers"
	};
	struct oci_path p, again;
	char *text;

	oci_parse(a, target, &p);
	if (p.verb == OCI_BAD)
		assert(p.code && p.why);
	if (p.verb != OCI_MANIFEST && p.verb != OCI_BLOB && p.verb != OCI_REFERRERS)
		return;
	assert(p.ref_is_digest ? oci_digest_ok(p.ref) : oci_tag_ok(p.ref));
	text = arena_printf(a, "/v2/%.*s/%s/%.*s", SLICE_FMT(p.name), verbs[p.verb],
			    SLICE_FMT(p.ref));
	if (!text)
		return;
	oci_parse(a, slice_of(text), &again);
	assert(again.verb == p.verb);
	assert(again.ref_is_digest == p.ref_is_digest);
	assert(slice_eq(again.name, p.name));
	assert(slice_eq(again.ref, p.ref));
}

static void check_error(struct arena *a, struct slice words)
{
	char *json = oci_error_json(a, "DENIED", words, words);
	struct slice message;

	if (!json)
		return;
	message = oci_error_message(a, slice_of(json));
	assert(message.len > 0 || words.len == 0 || !message.ptr);
	for (size_t i = 0; i < message.len; i++)
		assert((unsigned char)message.ptr[i] >= ' ' && message.ptr[i] != 0x7f);
	assert(message.ptr || a->used_bytes > a->limit_bytes / 2);
}

static void check_piece(struct arena *a, struct slice json)
{
	struct oci_piece p = oci_manifest_piece(a, json);

	assert(p.bytes <= 1ull << 53);
	assert(p.digest.ptr || p.digest.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct arena a;
	int type;

	arena_init(&a, 1024 * 1024);
	check_path(&a, text);
	check_piece(&a, text);
	if (oci_name_ok(text))
		assert(slice_find(text, ':') == size && text.ptr[0] != '/');
	type = oci_type_of_json(text.ptr, size);
	assert(type == -1 || (type >= 1 && type <= 7));
	oci_error_message(&a, text);
	check_error(&a, text);
	arena_fini(&a);
	return 0;
}
