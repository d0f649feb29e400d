/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/image.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/oci.h"
#include "proxy/route.h"

/* A dot, a colon or "localhost" is how docker tells a registry from a repository. */
static bool begins_with_registry(struct slice text)
{
	struct slice rest = text;
	struct slice first = slice_cut(&rest, '/');

	if (first.len == text.len)
		return false;
	return slice_find(first, '.') < first.len || slice_find(first, ':') < first.len ||
	       slice_eq(first, SLICE("localhost"));
}

static size_t last_slash(struct slice s)
{
	size_t at = s.len;

	while (at > 0 && s.ptr[at - 1] != '/')
		at--;
	return at;
}

/* Takes ":tag" or "@digest" off *text. */
static bool take_ref(struct slice *text, struct image_name *out, const char **why)
{
	size_t at = slice_find(*text, '@');
	size_t base = last_slash(*text);

	out->ref_is_digest = at < text->len;
	if (out->ref_is_digest) {
		out->ref = slice_skip(*text, at + 1);
		*text = slice_first(*text, at);
		*why = "the digest must be sha256:<64 hex digits> or sha512:<128>";
		if (!oci_digest_ok(out->ref))
			return false;
		base = last_slash(*text); /* a tag beside a digest says nothing more */
		*text = slice_first(*text, base + slice_find(slice_skip(*text, base), ':'));
		return true;
	}
	at = base + slice_find(slice_skip(*text, base), ':');
	out->ref = at < text->len ? slice_skip(*text, at + 1) : SLICE("latest");
	*text = slice_first(*text, at);
	*why = "a tag has at most 128 letters, digits, '_', '.' and '-', and begins with none of "
	       "the last two";
	return oci_tag_ok(out->ref);
}

bool image_name_parse(struct arena *a, const struct config *c, struct slice text,
		      struct image_name *out, const char **why)
{
	struct oci_path path = { .verb = OCI_MANIFEST };
	const char *name;
	struct route r;

	*out = (struct image_name){ .mirror = -1 };
	*why = "an image is named like docker.io/library/nginx:1.25";
	if (text.len == 0 || text.len > 1024)
		return false;
	if (!take_ref(&text, out, why))
		return false;
	name = arena_printf(a, "%s%.*s", begins_with_registry(text) ? "" : "docker.io/",
			    SLICE_FMT(text));
	*why = "out of memory";
	if (!name)
		return false;
	path.name = slice_of(name);
	path.ref = out->ref;
	route_find(a, c, SLICE_NONE, &path, &r);
	out->mirror = r.mirror;
	out->repo = r.repo;
	*why = r.mirror >= 0 ? "with library/ before it the name has more than 255 bytes" : r.why;
	return r.mirror >= 0 && oci_name_ok(r.repo);
}

/* False: it is not one. */
static bool part_parse(const cJSON *json, bool manifest, struct image_part *out)
{
	const char *digest = cJSON_GetStringValue(cJSON_GetObjectItem(json, "digest"));
	const cJSON *size = cJSON_GetObjectItem(json, "size");
	const cJSON *platform = cJSON_GetObjectItem(json, "platform");
	const char *os = cJSON_GetStringValue(cJSON_GetObjectItem(platform, "os"));
	const char *arch = cJSON_GetStringValue(cJSON_GetObjectItem(platform, "architecture"));
	const char *variant = cJSON_GetStringValue(cJSON_GetObjectItem(platform, "variant"));

	*out = (struct image_part){ .manifest = manifest };
	if (!digest || !digest_parse(slice_of(digest), &out->digest))
		return false;
	if (cJSON_IsNumber(size) && size->valuedouble > 0 && size->valuedouble < 1e15)
		out->size = (uint64_t)size->valuedouble;
	if (os && arch)
		snprintf(out->platform, sizeof(out->platform), "%s/%s%s%s", os, arch,
			 variant ? "/" : "", variant ? variant : "");
	return true;
}

static int parts_of(const cJSON *root, struct image_part **out)
{
	const cJSON *list = cJSON_GetObjectItem(root, "manifests");
	const cJSON *config = cJSON_GetObjectItem(root, "config");
	const bool index = cJSON_IsArray(list);
	int count = 0, most;
	const cJSON *item;

	if (!index)
		list = cJSON_GetObjectItem(root, "layers");
	most = cJSON_IsArray(list) ? cJSON_GetArraySize(list) + 1 : 0;
	if (most == 0 || most > IMAGE_PARTS_MAX)
		return -1;
	*out = calloc((size_t)most, sizeof(**out));
	if (!*out)
		return -1;
	if (!index && part_parse(config, false, *out))
		count++;
	cJSON_ArrayForEach(item, list)
	{
		if (cJSON_GetObjectItem(item, "urls") && !index)
			continue;
		if (part_parse(item, index, *out + count))
			count++;
	}
	return count;
}

int image_parts_parse(struct slice json, struct image_part **out)
{
	cJSON *root = cJSON_ParseWithLength(json.ptr, json.len);
	int count = -1;

	*out = NULL;
	if (cJSON_IsObject(root))
		count = parts_of(root, out);
	cJSON_Delete(root);
	return count;
}
