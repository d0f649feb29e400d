/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/oci.h"

#include <cjson/cJSON.h>

#include "base/limits.h"
#include "cache/digest.h"
#include "http/uri.h"

enum {
	/*
	 * cJSON takes 80 bytes for a value of 2 bytes: so 20 MB at most, where a body of
	 * MANIFEST_MAX could take 180.  Real indexes (thousands of values) stay far below.
	 */
	JSON_VALUES_MAX = 256 * 1024,
	/* Of an upstream's words, in our answer and in the log. */
	ERROR_MESSAGE_MAX = 512,
};

#define OCI "application/vnd.oci."
#define DOCKER "application/vnd.docker.distribution."

enum {
	TYPE_INDEX = 1,
	TYPE_MANIFEST = 2,
	TYPE_SIGNED_V1 = 5,
	TYPE_V1 = 6,
	TYPE_ARTIFACT = 7, /* the last that is a manifest's */
};

const struct oci_type oci_types[OCI_TYPES] = {
	{ "application/octet-stream", "blob" },
	{ OCI "image.index.v1+json", "oci-index" },
	{ OCI "image.manifest.v1+json", "oci-manifest" },
	{ DOCKER "manifest.list.v2+json", "docker-list" },
	{ DOCKER "manifest.v2+json", "docker-manifest" },
	{ DOCKER "manifest.v1+prettyjws", "docker-v1s" },
	{ DOCKER "manifest.v1+json", "docker-v1" },
	{ OCI "artifact.manifest.v1+json", "oci-artifact" },
	{ "application/json", "json" },
};

/* No wildcard: distribution does not honour it, and we could not say what we got. */
const char oci_accept_manifests[] = OCI
	"image.index.v1+json, " OCI "image.manifest.v1+json, " DOCKER
	"manifest.list.v2+json, " DOCKER "manifest.v2+json, " DOCKER
	"manifest.v1+prettyjws, " DOCKER "manifest.v1+json, " OCI "artifact.manifest.v1+json";

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_one_of(char c, char x, char y, char z)
{
	return c == x || c == y || c == z;
}

/* ".", "_", "__" or any number of "-". */
static size_t separator_len(struct slice s)
{
	size_t n = 1;

	switch (s.ptr[0]) {
	case '.': return 1;
	case '_': return s.len > 1 && s.ptr[1] == '_' ? 2 : 1;
	case '-':
		while (n < s.len && s.ptr[n] == '-')
			n++;
		return n;
	default: return 0;
	}
}

/* [a-z0-9]+ with separators between; so neither empty nor "." nor "..". */
static bool component_ok(struct slice s)
{
	size_t at = 0;

	for (;;) {
		size_t word = at;

		while (at < s.len && is_lower_alnum(s.ptr[at]))
			at++;
		if (at == word)
			return false;
		if (at == s.len)
			return true;
		at += separator_len(slice_skip(s, at));
	}
}

bool oci_name_ok(struct slice name)
{
	size_t end;

	if (name.len > REPO_NAME_MAX)
		return false;
	for (;;) {
		end = slice_find(name, '/');
		if (!component_ok(slice_first(name, end)))
			return false;
		if (end == name.len)
			return true;
		name = slice_skip(name, end + 1);
	}
}

bool oci_tag_ok(struct slice tag)
{
	if (tag.len == 0 || tag.len > TAG_MAX || tag.ptr[0] == '.' || tag.ptr[0] == '-')
		return false;
	for (size_t i = 0; i < tag.len; i++)
		if (!is_alnum(tag.ptr[i]) && !is_one_of(tag.ptr[i], '.', '-', '_'))
			return false;
	return true;
}

bool oci_digest_ok(struct slice digest)
{
	struct digest d;

	return digest_parse(digest, &d);
}

/* A registry's name: "docker.io", "localhost:5000". */
static bool host_ok(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.ptr[i]) && !is_one_of(s.ptr[i], '.', '-', ':'))
			return false;
	return s.len > 0 && is_alnum(s.ptr[0]);
}

/* A repository, or one behind a registry's name; which of the two it is, only route.c can know. */
static bool path_name_ok(struct slice name)
{
	size_t slash = slice_find(name, '/');

	if (name.len > REPO_NAME_MAX)
		return false;
	return oci_name_ok(name) || (slash < name.len && host_ok(slice_first(name, slash)) &&
				     oci_name_ok(slice_skip(name, slash + 1)));
}

static void oci_bad(struct oci_path *out, const char *code, const char *why)
{
	out->verb = OCI_BAD;
	out->code = code;
	out->why = why;
}

/* Takes the last segment off: "a/b/c" gives "c" and leaves "a/b"; "c" leaves none. */
static struct slice cut_last(struct slice *path)
{
	const char *slash = path->len ? memrchr(path->ptr, '/', path->len) : NULL;
	size_t at = slash ? (size_t)(slash - path->ptr) + 1 : 0;
	struct slice last = slice_skip(*path, at);

	*path = slice_first(*path, at > 0 ? at - 1 : 0);
	return last;
}

static enum oci_verb verb_of(struct slice word, struct slice ref)
{
	if (slice_eq(word, SLICE("manifests")))
		return OCI_MANIFEST;
	if (slice_eq(word, SLICE("blobs")))
		return OCI_BLOB;
	if (slice_eq(word, SLICE("referrers")))
		return OCI_REFERRERS;
	if (slice_eq(word, SLICE("tags")) && slice_eq(ref, SLICE("list")))
		return OCI_TAGS;
	return OCI_BAD;
}

static void check_ref(struct oci_path *out)
{
	if (out->verb == OCI_UPLOAD)
		return;
	if (out->verb == OCI_TAGS) {
		out->ref = SLICE_NONE;
		return;
	}
	if (out->verb == OCI_MANIFEST && slice_find(out->ref, ':') == out->ref.len) {
		if (!oci_tag_ok(out->ref))
			oci_bad(out, "TAG_INVALID", "malformed tag");
		return;
	}
	out->ref_is_digest = oci_digest_ok(out->ref);
	if (!out->ref_is_digest)
		oci_bad(out, "DIGEST_INVALID", "malformed digest");
}

/*
 * A reference has no slash, so the verb can only be the last segment but one; an upload's, the last
 * but two.  Whatever stands before is the name, also if it holds words like "manifests", "blobs",
 * "tags" or "v2": "/v2/a/blobs/uploads/tags/list" are the tags of "a/blobs/uploads".
 */
static void parse_endpoint(struct slice rest, struct oci_path *out)
{
	struct slice name = rest;
	struct slice word;

	out->ref = cut_last(&name);
	word = cut_last(&name);
	out->verb = verb_of(word, out->ref);
	if (out->verb == OCI_BLOB && slice_eq(out->ref, SLICE("uploads"))) {
		out->verb = OCI_UPLOAD;
		out->ref = SLICE_NONE;
	} else if (out->verb == OCI_BAD && slice_eq(word, SLICE("uploads")) &&
		   slice_eq(cut_last(&name), SLICE("blobs"))) {
		out->verb = OCI_UPLOAD;
	}
	if (out->verb == OCI_BAD) {
		oci_bad(out, "UNSUPPORTED", "no such endpoint");
		return;
	}
	out->name = name;
	if (!path_name_ok(name))
		oci_bad(out, "NAME_INVALID", "malformed repository name");
	else
		check_ref(out);
}

/* What follows "/v2/". */
static void parse_api(struct slice rest, struct oci_path *out)
{
	const struct slice catalog = SLICE("_catalog");
	struct slice first = slice_first(rest, slice_find(rest, '/'));
	struct slice behind = slice_skip(rest, first.len + 1);

	if (rest.len == 0) {
		out->verb = OCI_PING;
	} else if (slice_eq(rest, catalog)) {
		out->verb = OCI_CATALOG;
	} else if (host_ok(first) && first.len < rest.len && behind.len == 0) {
		out->verb = OCI_PING;
		out->name = first;
	} else if (host_ok(first) && slice_eq(behind, catalog)) {
		out->verb = OCI_CATALOG;
		out->name = first;
	} else {
		parse_endpoint(rest, out);
	}
}

/* Neither empty, "." nor ".." among the segments of "a/b" or "a/b/"; an empty text has none. */
static bool segments_ok(struct slice path)
{
	while (path.len > 0) {
		struct slice s = slice_cut(&path, '/');

		if (s.len == 0 || slice_eq(s, SLICE(".")) || slice_eq(s, SLICE("..")))
			return false;
	}
	return true;
}

/* The first segment "v2": what is before it, with a slash at its end, and what is after it. */
static bool split_at_v2(struct slice path, struct slice *before, struct slice *after)
{
	struct slice rest = slice_skip(path, 1);

	while (rest.len > 0) {
		struct slice s = slice_cut(&rest, '/');

		if (!slice_eq(s, SLICE("v2")))
			continue;
		*before = slice_range(path.ptr + 1, s.ptr);
		*after = rest;
		return true;
	}
	return false;
}

void oci_parse(struct arena *a, struct slice target, struct oci_path *out)
{
	struct slice query = target;
	struct slice path = slice_cut(&query, '?');
	struct slice after;
	bool ok;

	*out = (struct oci_path){ .query = query };
	if (path.len == 0 || path.ptr[0] != '/')
		return;
	if (slice_find(path, '%') < path.len) {
		path = slice_of(percent_decode(a, path));
		if (!path.ptr) {
			oci_bad(out, "NAME_INVALID", "malformed percent-encoding");
			return;
		}
	}
	if (!split_at_v2(path, &out->prefix, &after))
		return;
	ok = segments_ok(out->prefix) && segments_ok(after);
	if (out->prefix.len > 0)
		out->prefix.len--; /* its slash */
	if (!ok)
		oci_bad(out, "NAME_INVALID", "empty or dot segment in the path");
	else
		parse_api(after, out);
}

int oci_type_of(struct slice content_type)
{
	struct slice type = slice_trim(slice_cut(&content_type, ';'));

	for (int i = 0; i < OCI_TYPES; i++)
		if (slice_ieq(type, slice_of(oci_types[i].media_type)))
			return i;
	return -1;
}

/* NULL: not JSON, more of it than we want to hold, or no memory. */
static cJSON *json_parse(const char *json, size_t len)
{
	unsigned values = 0;

	for (size_t i = 0; i < len; i++)
		values += json[i] == ',' || json[i] == '[' || json[i] == '{';
	return values > JSON_VALUES_MAX ? NULL : cJSON_ParseWithLength(json, len);
}

static int type_of_shape(const cJSON *root)
{
	const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "schemaVersion");

	if (cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(root, "manifests")))
		return TYPE_INDEX;
	if (cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(root, "config")) &&
	    cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(root, "layers")))
		return TYPE_MANIFEST;
	if (!cJSON_IsNumber(version) || version->valueint != 1)
		return -1;
	if (cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(root, "signatures")))
		return TYPE_SIGNED_V1;
	return TYPE_V1;
}

int oci_type_of_json(const char *json, size_t len)
{
	cJSON *root = json_parse(json, len);
	const char *type;
	int i = -1;

	if (cJSON_IsObject(root)) {
		type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "mediaType"));
		i = type ? oci_type_of(slice_of(type)) : type_of_shape(root);
	}
	cJSON_Delete(root);
	return i >= TYPE_INDEX && i <= TYPE_ARTIFACT ? i : -1;
}

/* Bytes of the UTF-8 sequence at the head (RFC 3629 4), 0 when there is none. */
static size_t utf8_len(struct slice s)
{
	const unsigned char c = (unsigned char)s.ptr[0];
	const unsigned char next = s.len > 1 ? (unsigned char)s.ptr[1] : 0;
	size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (n > s.len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s.ptr[i] & 0xc0) != 0x80)
			return 0;
	/* C1 control characters; overlong forms, surrogates, beyond U+10FFFF. */
	if ((c == 0xc2 && next < 0xa0) || (c == 0xe0 && next < 0xa0) ||
	    (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) || (c == 0xf4 && next > 0x8f))
		return 0;
	return n;
}

/*
 * The inside of a JSON string.  Control bytes become spaces (they are of no use in a message, and
 * clients print it), bytes that are not UTF-8 question marks.  <out> takes 2 * s.len.
 */
static size_t json_escape(struct slice s, char *out)
{
	size_t n = 0;

	while (s.len > 0) {
		size_t len = utf8_len(s);
		char c = s.ptr[0];

		if (len > 1) {
			memcpy(out + n, s.ptr, len);
			n += len;
		} else if (len == 0) {
			out[n++] = '?';
		} else {
			if (c == '"' || c == '\\')
				out[n++] = '\\';
			out[n++] = c < ' ' || c == 0x7f ? ' ' : c;
		}
		s = slice_skip(s, len ? len : 1);
	}
	return n;
}

int oci_manifest_type(struct slice content_type, struct slice json)
{
	int type = oci_type_of(content_type);

	return type > 0 ? type : oci_type_of_json(json.ptr, json.len);
}

char *oci_pull_scope(struct arena *a, struct slice repo)
{
	return arena_printf(a, "repository:%.*s:pull", SLICE_FMT(repo));
}

char *oci_error_json(struct arena *a, const char *code, struct slice message, struct slice detail)
{
	char *m = arena_alloc(a, 2 * message.len + 1);
	char *d = arena_alloc(a, 2 * detail.len + 1);

	if (!m || !d)
		return NULL;
	json_escape(message, m);
	json_escape(detail, d);
	if (!detail.ptr)
		return arena_printf(a, "{\"errors\":[{\"code\":\"%s\",\"message\":\"%s\"}]}", code,
				    m);
	return arena_printf(a,
			    "{\"errors\":[{\"code\":\"%s\",\"message\":\"%s\",\"detail\":\"%s\"}]}",
			    code, m, d);
}

const char *oci_code_of(int status, enum oci_verb verb)
{
	switch (status) {
	case 401: return "UNAUTHORIZED";
	case 403: return "DENIED";
	case 404:
		if (verb == OCI_MANIFEST)
			return "MANIFEST_UNKNOWN";
		if (verb == OCI_BLOB)
			return "BLOB_UNKNOWN";
		return verb == OCI_UPLOAD ? "BLOB_UPLOAD_UNKNOWN" : "NAME_UNKNOWN";
	case 405: return "UNSUPPORTED";
	case 416: return "RANGE_INVALID";
	case 429: return "TOOMANYREQUESTS";
	case 502:
	case 503:
	case 504: return "UNAVAILABLE";
	default: return "UNKNOWN";
	}
}

struct slice oci_error_message(struct arena *a, struct slice json)
{
	cJSON *root = json.len ? json_parse(json.ptr, json.len) : NULL;
	const cJSON *errors = cJSON_GetObjectItemCaseSensitive(root, "errors");
	const cJSON *first = cJSON_IsArray(errors) ? cJSON_GetArrayItem(errors, 0) : NULL;
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(first, "message"));
	struct slice message = slice_first(slice_of(text), ERROR_MESSAGE_MAX);
	char *copy = text ? arena_dup(a, message) : NULL;

	cJSON_Delete(root);
	for (size_t i = 0; copy && i < message.len; i++)
		if ((unsigned char)copy[i] < ' ' || copy[i] == 0x7f)
			copy[i] = ' ';
	return (struct slice){ copy, copy ? message.len : 0 };
}

static struct oci_piece piece_of(struct arena *a, const cJSON *descriptor, bool child)
{
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(descriptor, "size");
	const char *digest =
		cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(descriptor, "digest"));
	struct oci_piece p = { .child = child };
	char *copy = digest ? arena_dup(a, slice_of(digest)) : NULL;

	p.digest = slice_of(copy);
	if (cJSON_IsNumber(size) && size->valuedouble > 0 &&
	    size->valuedouble < (double)(1ull << 53))
		p.bytes = (uint64_t)size->valuedouble;
	return p;
}

static bool text_is(const cJSON *object, const char *key, const char *want)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

	return text && strcmp(text, want) == 0;
}

struct oci_piece oci_manifest_piece(struct arena *a, struct slice json)
{
	cJSON *root = json.len ? json_parse(json.ptr, json.len) : NULL;
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "manifests");
	const cJSON *layers = cJSON_GetObjectItemCaseSensitive(root, "layers");
	const cJSON *best = cJSON_GetArrayItem(list, 0);
	const cJSON *it;
	struct oci_piece p;

	cJSON_ArrayForEach(it, list)
	{
		const cJSON *platform = cJSON_GetObjectItemCaseSensitive(it, "platform");

		if (text_is(platform, "os", "linux") &&
		    text_is(platform, "architecture", "amd64")) {
			best = it;
			break;
		}
	}
	if (best)
		p = piece_of(a, best, true);
	else if (cJSON_GetArrayItem(layers, 0))
		p = piece_of(a, cJSON_GetArrayItem(layers, 0), false);
	else
		p = piece_of(a, cJSON_GetObjectItemCaseSensitive(root, "config"), false);
	cJSON_Delete(root);
	return p;
}
