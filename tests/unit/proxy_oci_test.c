/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/oci.h"

#include "base/limits.h"
#include "test.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SHA "sha256:" HEX64

static struct arena arena;

/* "verb prefix|name|ref|query", a digest in brackets; "bad CODE"; "none". */
static const char *parsed(const char *target)
{
	static const char *const verbs[] = { "none",      "ping",    "manifest", "blob", "tags",
					     "referrers", "catalog", "upload",   "bad" };
	struct oci_path p;

	arena_fini(&arena);
	arena_init(&arena, 64 * 1024);
	oci_parse(&arena, slice_of(target), &p);
	if (p.verb == OCI_BAD)
		return arena_printf(&arena, "bad %s", p.code);
	if (p.verb == OCI_NONE)
		return "none";
	return arena_printf(&arena, "%s %.*s|%.*s|%s%.*s%s|%.*s", verbs[p.verb],
			    SLICE_FMT(p.prefix), SLICE_FMT(p.name), p.ref_is_digest ? "[" : "",
			    SLICE_FMT(p.ref), p.ref_is_digest ? "]" : "", SLICE_FMT(p.query));
}

TEST(the_four_spellings)
{
	check_str(parsed("/v2/library/debian/manifests/bookworm?ns=docker.io"),
		  "manifest |library/debian|bookworm|ns=docker.io");
	check_str(parsed("/v2/docker.io/library/debian/manifests/bookworm?ns=docker.io"),
		  "manifest |docker.io/library/debian|bookworm|ns=docker.io");
	check_str(parsed("/docker.io/v2/library/debian/manifests/bookworm"),
		  "manifest docker.io|library/debian|bookworm|");
	check_str(parsed("/secret/docker.io/v2/library/debian/blobs/" SHA),
		  "blob secret/docker.io|library/debian|[" SHA "]|");
	check_str(parsed("/v2/localhost:5000/a/b/blobs/" SHA),
		  "blob |localhost:5000/a/b|[" SHA "]|");
	check_str(parsed("/v2/debian/manifests/" SHA), "manifest |debian|[" SHA "]|");
}

TEST(pings_and_catalogs)
{
	check_str(parsed("/v2/"), "ping |||");
	check_str(parsed("/v2"), "ping |||");
	check_str(parsed("/v2/?ns=x"), "ping |||ns=x");
	check_str(parsed("/docker.io/v2/"), "ping docker.io|||");
	check_str(parsed("/a/b/v2"), "ping a/b|||");
	check_str(parsed("/v2/docker.io/"), "ping |docker.io||");
	check_str(parsed("/v2/localhost:5000/"), "ping |localhost:5000||");
	check_str(parsed("/v2/docker.io"), "bad UNSUPPORTED");
	check_str(parsed("/v2/a/b/"), "bad UNSUPPORTED");
	check_str(parsed("/v2/_catalog?n=5"), "catalog |||n=5");
	check_str(parsed("/v2/docker.io/_catalog"), "catalog |docker.io||");
	check_str(parsed("/v2/a/b/_catalog"), "bad UNSUPPORTED");
}

TEST(other_endpoints)
{
	check_str(parsed("/v2/a/b/tags/list?n=2&last=x"), "tags |a/b||n=2&last=x");
	check_str(parsed("/v2/a/b/referrers/" SHA "?artifactType=x"),
		  "referrers |a/b|[" SHA "]|artifactType=x");
	check_str(parsed("/v2/a/blobs/uploads/"), "upload |a||");
	check_str(parsed("/v2/a/blobs/uploads"), "upload |a||");
	check_str(parsed("/v2/a/blobs/uploads/?digest=x"), "upload |a||digest=x");
	check_str(parsed("/v2/a/blobs/uploads/7f0-a"), "upload |a|7f0-a|");
	check_str(parsed("/v2/a/tags/other"), "bad UNSUPPORTED");
	check_str(parsed("/v2/a/tags/list/"), "bad UNSUPPORTED");
	check_str(parsed("/v2/a/b"), "bad UNSUPPORTED");
	check_str(parsed("/v2/a/uploads/b"), "bad UNSUPPORTED");
}

TEST(not_under_v2)
{
	check_str(parsed("/"), "none");
	check_str(parsed("/healthz"), "none");
	check_str(parsed("/v1/_ping"), "none");
	check_str(parsed("/v2x/"), "none");
	check_str(parsed("/V2/"), "none");
	check_str(parsed("/a?b=/v2/"), "none");
	check_str(parsed("//"), "none");
	check_str(parsed(""), "none");
	check_str(parsed("*"), "none");
}

/* A reference has no slash: the last segments decide, whatever words the name is made of. */
TEST(names_may_hold_the_words_of_the_api)
{
	check_str(parsed("/v2/foo/manifests/manifests/latest"), "manifest |foo/manifests|latest|");
	check_str(parsed("/v2/manifests/manifests/manifests"), "manifest |manifests|manifests|");
	check_str(parsed("/v2/foo/v2/manifests/latest"), "manifest |foo/v2|latest|");
	check_str(parsed("/v2/v2/v2/manifests/v2"), "manifest |v2/v2|v2|");
	check_str(parsed("/v2/foo/tags/manifests/list"), "manifest |foo/tags|list|");
	check_str(parsed("/v2/foo/manifests/tags/list"), "tags |foo/manifests||");
	check_str(parsed("/v2/tags/tags/list"), "tags |tags||");
	check_str(parsed("/v2/foo/blobs/blobs/" SHA), "blob |foo/blobs|[" SHA "]|");
	check_str(parsed("/v2/foo/blobs/uploads/blobs/" SHA), "blob |foo/blobs/uploads|[" SHA "]|");
	check_str(parsed("/v2/foo/blobs/uploads/tags/list"), "tags |foo/blobs/uploads||");
	check_str(parsed("/v2/foo/uploads/manifests/blobs"), "manifest |foo/uploads|blobs|");
	check_str(parsed("/v2/uploads/blobs/uploads/"), "upload |uploads||");
}

TEST(paths_refused)
{
	static const struct {
		const char *target, *want;
	} cases[] = {
		{ "/v2//manifests/x", "bad NAME_INVALID" },
		{ "/v2/manifests/x", "bad NAME_INVALID" },
		{ "/v2/blobs/uploads/", "bad NAME_INVALID" },
		{ "/v2/a//b/manifests/x", "bad NAME_INVALID" },
		{ "/v2/a/../b/manifests/x", "bad NAME_INVALID" },
		{ "/v2/./a/manifests/x", "bad NAME_INVALID" },
		{ "/v2/a/manifests/..", "bad NAME_INVALID" },
		{ "/v2/docker.io//", "bad NAME_INVALID" },
		{ "//v2/a/manifests/x", "bad NAME_INVALID" },
		{ "/p//v2/a/manifests/x", "bad NAME_INVALID" },
		{ "/../v2/a/manifests/x", "bad NAME_INVALID" },
		{ "/./v2/", "bad NAME_INVALID" },
		{ "/v2/a/%2e%2e/manifests/x", "bad NAME_INVALID" },
		{ "/v2/a/%2/manifests/x", "bad NAME_INVALID" },
		{ "/v2/a%00/manifests/x", "bad NAME_INVALID" },
		{ "/v2/a%252f/manifests/x", "bad NAME_INVALID" },
		{ "/v2/a/B/manifests/x", "bad NAME_INVALID" },
		{ "/v2/a b/manifests/x", "bad NAME_INVALID" },
		{ "/v2/a_/b/manifests/x", "bad NAME_INVALID" },
		{ "/v2/localhost:5000/manifests/x", "bad NAME_INVALID" },
		{ "/v2/a/b:1/manifests/x", "bad NAME_INVALID" },
		{ "/v2/a/manifests/", "bad TAG_INVALID" },
		{ "/v2/a/manifests/-x", "bad TAG_INVALID" },
		{ "/v2/a/manifests/x%0a", "bad TAG_INVALID" },
		{ "/v2/a/manifests/x+y", "bad TAG_INVALID" },
		{ "/v2/a/manifests/sha256:12", "bad DIGEST_INVALID" },
		{ "/v2/a/blobs/latest", "bad DIGEST_INVALID" },
		{ "/v2/a/blobs/", "bad DIGEST_INVALID" },
		{ "/v2/a/blobs/md5:" HEX64, "bad DIGEST_INVALID" },
		{ "/v2/a/referrers/latest", "bad DIGEST_INVALID" },
	};

	for (size_t i = 0; i < countof(cases); i++)
		if (!check_str(parsed(cases[i].target), cases[i].want))
			printf("# target: %s\n", cases[i].target);
}

TEST(escapes_are_decoded_once)
{
	check_str(parsed("/v2/a/blobs/sha256%3A" HEX64), "blob |a|[" SHA "]|");
	check_str(parsed("/v2/a%2Fb/manifests/x?n=%zz"), "manifest |a/b|x|n=%zz");
}

static bool name_ok(const char *name)
{
	return oci_name_ok(slice_of(name));
}

TEST(names)
{
	char text[REPO_NAME_MAX + 2];

	check(name_ok("a"));
	check(name_ok("library/debian"));
	check(name_ok("a.b/c_d/e__f/g-h/i---j/0"));
	check(!name_ok(""));
	check(!name_ok("/"));
	check(!name_ok("a/"));
	check(!name_ok("/a"));
	check(!name_ok("a//b"));
	check(!name_ok("A"));
	check(!name_ok("a..b"));
	check(!name_ok("a___b"));
	check(!name_ok("a._b"));
	check(!name_ok("-a"));
	check(!name_ok("a-"));
	check(!name_ok("a."));
	check(!name_ok("."));
	check(!name_ok(".."));
	check(!name_ok("a:1"));
	check(!name_ok("\xc3\xa4"));
	check(!oci_name_ok(SLICE("a\0")));
	memset(text, 'a', sizeof(text));
	check(oci_name_ok((struct slice){ text, REPO_NAME_MAX }));
	check(!oci_name_ok((struct slice){ text, REPO_NAME_MAX + 1 }));
}

TEST(tags_and_digests)
{
	char text[TAG_MAX + 2];

	check(oci_tag_ok(SLICE("v1.2-rc_3")));
	check(oci_tag_ok(SLICE("_")));
	check(oci_tag_ok(SLICE("sha256-" HEX64 ".sig")));
	check(!oci_tag_ok(SLICE("")));
	check(!oci_tag_ok(SLICE(".a")));
	check(!oci_tag_ok(SLICE("-a")));
	check(!oci_tag_ok(SLICE("a/b")));
	check(!oci_tag_ok(SLICE("a\0")));
	memset(text, 'a', sizeof(text));
	check(oci_tag_ok((struct slice){ text, TAG_MAX }));
	check(!oci_tag_ok((struct slice){ text, TAG_MAX + 1 }));
	check(oci_digest_ok(SLICE(SHA)));
	check(oci_digest_ok(SLICE("sha512:" HEX64 HEX64)));
	check(!oci_digest_ok(SLICE("sha512:" HEX64)));
	check(!oci_digest_ok(SLICE("sha256:" HEX64 "0")));
	check(!oci_digest_ok(SLICE("SHA256:" HEX64)));
	check(!oci_digest_ok(SLICE("sha256:A123456789abcdef0123456789abcdef"
				   "0123456789abcdef0123456789abcdef")));
	check(!oci_digest_ok(SLICE("sha256:g123456789abcdef0123456789abcdef"
				   "0123456789abcdef0123456789abcdef")));
	check(!oci_digest_ok(SLICE("sha256")));
	check(!oci_digest_ok(SLICE(HEX64)));
	check(!oci_digest_ok(SLICE_NONE));
}

TEST(media_types)
{
	check_eq(oci_type_of(SLICE("application/vnd.oci.image.index.v1+json")), 1);
	check_eq(oci_type_of(SLICE("Application/JSON ; charset=utf-8")), 8);
	check_eq(oci_type_of(SLICE("application/octet-stream")), 0);
	check_eq(oci_type_of(SLICE("text/plain")), -1);
	check_eq(oci_type_of(SLICE_NONE), -1);
	for (int i = 0; i < OCI_TYPES; i++) {
		bool accepted = strstr(oci_accept_manifests, oci_types[i].media_type) != NULL;

		check_eq(oci_type_of(slice_of(oci_types[i].media_type)), i);
		check_eq(accepted, i >= 1 && i <= 7);
		check(oci_types[i].suffix[0] != '\0');
	}
	check(!strchr(oci_accept_manifests, '*'));
}

static int type_of(const char *json)
{
	return oci_type_of_json(json, strlen(json));
}

TEST(types_from_the_json)
{
	static char deep[1100000];
	size_t n = 0;

	check_eq(type_of("{\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\","
			 "\"manifests\":[]}"),
		 4);
	check_eq(type_of("{\"manifests\":[]}"), 1);
	check_eq(type_of("{\"config\":{},\"layers\":[]}"), 2);
	check_eq(type_of("{\"schemaVersion\":1,\"signatures\":[]}"), 5);
	check_eq(type_of("{\"schemaVersion\":1,\"fsLayers\":[]}"), 6);
	check_eq(type_of("{\"schemaVersion\":2}"), -1);
	check_eq(type_of("{\"layers\":[]}"), -1);
	check_eq(type_of("{\"mediaType\":\"application/json\"}"), -1);
	check_eq(type_of("{\"mediaType\":\"text/x\",\"manifests\":[]}"), -1);
	check_eq(type_of("{\"mediaType\":1,\"manifests\":[]}"), 1);
	check_eq(type_of("[{\"manifests\":[]}]"), -1);
	check_eq(type_of("{\"manifests\":["), -1);
	check_eq(type_of("null"), -1);
	check_eq(type_of(""), -1);
	/* More values than we want to hold, and deeper than a stack bears. */
	n = (size_t)snprintf(deep, sizeof(deep), "{\"manifests\":[0");
	while (n < 600000)
		n += (size_t)snprintf(deep + n, sizeof(deep) - n, ",0");
	snprintf(deep + n, sizeof(deep) - n, "]}");
	check_eq(type_of(deep), -1);
	memset(deep, '[', 100000);
	deep[100000] = '\0';
	check_eq(type_of(deep), -1);
}

static const char *error_json(struct slice message, struct slice detail)
{
	arena_fini(&arena);
	arena_init(&arena, 4096);
	return oci_error_json(&arena, "DENIED", message, detail);
}

TEST(types_of_manifests)
{
	const struct slice index = SLICE("{\"schemaVersion\":2,\"manifests\":[]}");

	check_eq(oci_manifest_type(slice_of(oci_types[4].media_type), index), 4);
	check_eq(oci_manifest_type(SLICE("text/plain"), index), 1);
	check_eq(oci_manifest_type(SLICE("application/octet-stream"), index), 1);
	check_eq(oci_manifest_type(SLICE_NONE, SLICE("hello")), -1);
}

TEST(scopes)
{
	arena_fini(&arena);
	arena_init(&arena, 4096);
	check_str(oci_pull_scope(&arena, SLICE("library/debian")),
		  "repository:library/debian:pull");
	arena_fini(&arena);
}

TEST(errors_are_json_whatever_they_hold)
{
	check_str(error_json(SLICE("no"), SLICE_NONE),
		  "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}");
	check_str(error_json(SLICE("a \"b\" \\ c"), SLICE("/v2/\r\n\0x\x7f")),
		  "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"a \\\"b\\\" \\\\ c\","
		  "\"detail\":\"/v2/   x \"}]}");
	check_str(error_json(SLICE("35.8\xc2\xb5s \xe2\x82\xac \xf0\x9f\x90\xb3"), SLICE("")),
		  "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"35.8\xc2\xb5s \xe2\x82\xac "
		  "\xf0\x9f\x90\xb3\",\"detail\":\"\"}]}");
	/* Stray, cut, overlong, surrogate, beyond the end, C1. */
	check_str(
		error_json(
			SLICE("\x80|\xc2|\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xc2\x9b|\xe2\x82"),
			SLICE_NONE),
		"{\"errors\":[{\"code\":\"DENIED\",\"message\":"
		"\"?|?|??|???|????|?"
		"?|?"
		"?\"}]}");
	arena_fini(&arena);
	arena_init(&arena, 40);
	check_str(oci_error_json(&arena, "DENIED", SLICE("a long enough message"), SLICE_NONE),
		  NULL);
}

TEST(codes)
{
	check_str(oci_code_of(404, OCI_MANIFEST), "MANIFEST_UNKNOWN");
	check_str(oci_code_of(404, OCI_BLOB), "BLOB_UNKNOWN");
	check_str(oci_code_of(404, OCI_TAGS), "NAME_UNKNOWN");
	check_str(oci_code_of(401, OCI_BLOB), "UNAUTHORIZED");
	check_str(oci_code_of(403, OCI_BLOB), "DENIED");
	check_str(oci_code_of(405, OCI_UPLOAD), "UNSUPPORTED");
	check_str(oci_code_of(429, OCI_MANIFEST), "TOOMANYREQUESTS");
	check_str(oci_code_of(503, OCI_MANIFEST), "UNAVAILABLE");
	check_str(oci_code_of(418, OCI_MANIFEST), "UNKNOWN");
}

static const char *message(const char *json)
{
	arena_fini(&arena);
	arena_init(&arena, 4096);
	return oci_error_message(&arena, slice_of(json)).ptr;
}

TEST(messages_of_upstreams)
{
	static char text[2000];
	struct slice m;
	int n;

	check_str(message("{\"errors\":[{\"code\":\"X\",\"message\":\"too many\\r\\n \\u001b[1m\"},"
			  "{\"message\":\"b\"}]}"),
		  "too many    [1m");
	check_str(message("{\"errors\":[{\"code\":\"X\"}]}"), NULL);
	check_str(message("{\"errors\":[]}"), NULL);
	check_str(message("{\"errors\":{\"message\":\"x\"}}"), NULL);
	check_str(message("{\"errors\":[{\"message\":5}]}"), NULL);
	check_str(message("<html>"), NULL);
	check_str(message(""), NULL);
	n = snprintf(text, sizeof(text), "{\"errors\":[{\"message\":\"%01000d\"}]}", 7);
	m = oci_error_message(&arena, (struct slice){ text, (size_t)n });
	check_eq(m.len, 512);
	arena_fini(&arena);
}

static struct oci_piece piece(const char *json)
{
	arena_fini(&arena);
	arena_init(&arena, 4096);
	return oci_manifest_piece(&arena, slice_of(json));
}

TEST(pieces_of_manifests)
{
	struct oci_piece p =
		piece("{\"manifests\":[{\"digest\":\"a\",\"size\":1},{\"digest\":\"b\","
		      "\"size\":2,\"platform\":{\"os\":\"linux\",\"architecture\":"
		      "\"amd64\"}}]}");

	check(p.child && p.bytes == 2);
	check_str(p.digest.ptr, "b");
	p = piece("{\"manifests\":[{\"digest\":\"a\"},{\"digest\":\"b\"}]}");
	check(p.child && p.bytes == 0);
	check_str(p.digest.ptr, "a");
	p = piece("{\"config\":{\"digest\":\"c\",\"size\":9},"
		  "\"layers\":[{\"digest\":\"d\",\"size\":7}]}");
	check(!p.child && p.bytes == 7);
	check_str(p.digest.ptr, "d");
	p = piece("{\"config\":{\"digest\":\"c\",\"size\":-9},\"layers\":[]}");
	check(!p.child && p.bytes == 0);
	check_str(p.digest.ptr, "c");
	check(!piece("{\"layers\":[5]}").digest.ptr);
	check(!piece("[]").digest.ptr);
	check(!piece("<html>").digest.ptr);
	check(!piece("").digest.ptr);
	arena_fini(&arena);
}
