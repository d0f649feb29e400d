/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/image.h"

#include <stdlib.h>

#include "base/buf.h"
#include "test.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "1111111111111111111111111111111111111111111111111111111111111111"

static struct conf_mirror mirrors[] = {
	{ .name = "docker.io" },
	{ .name = "quay.io" },
	{ .name = "localhost:5000" },
};
static const struct config config = { .mirrors = mirrors, .mirrors_count = countof(mirrors) };
static struct arena arena;

/* "registry repo ref", or "" where it is refused. */
static const char *named(const char *text)
{
	struct image_name n;
	const char *why = NULL;

	arena_fini(&arena);
	arena_init(&arena, 64 * 1024);
	if (!image_name_parse(&arena, &config, slice_of(text), &n, &why)) {
		check(why && why[0]);
		return "";
	}
	return arena_printf(&arena, "%s %.*s %.*s", mirrors[n.mirror].name, SLICE_FMT(n.repo),
			    SLICE_FMT(n.ref));
}

TEST(names_are_taken_as_docker_takes_them)
{
	check_str(named("nginx"), "docker.io library/nginx latest");
	check_str(named("nginx:1.25"), "docker.io library/nginx 1.25");
	check_str(named("docker.io/nginx"), "docker.io library/nginx latest");
	check_str(named("a/b:c"), "docker.io a/b c");
	check_str(named("quay.io/a/b"), "quay.io a/b latest");
	check_str(named("localhost:5000/a:t"), "localhost:5000 a t");
	check_str(named("quay.io/a@sha256:" HEX), "quay.io a sha256:" HEX);
	check_str(named("quay.io/a:tag@sha256:" HEX), "quay.io a sha256:" HEX);
	arena_fini(&arena);
}

TEST(what_is_no_name_is_refused_with_a_reason)
{
	static const char *const bad[] = {
		"",     "quay.io", "nowhere.test/a", "a:", "a@sha256:1", "a:-t", "A",
		"a//b", "/a",      "a/../b",         "a@", "a b",        "a\tb", "quay.io/a:b:c",
		":t"
	};

	for (unsigned i = 0; i < countof(bad); i++)
		check_str(named(bad[i]), i == 1 ? "docker.io library/quay.io latest" : "");
	arena_fini(&arena);
}

static int parts(const char *json, struct image_part **out)
{
	return image_parts_parse(slice_of(json), out);
}

TEST(a_manifest_has_its_configuration_and_layers)
{
	struct image_part *p;
	char text[DIGEST_TEXT_MAX];
	int n = parts("{\"config\":{\"digest\":\"sha256:" HEX "\",\"size\":7},\"layers\":["
		      "{\"digest\":\"sha256:" OTHER "\",\"size\":9},"
		      "{\"digest\":\"sha256:" HEX "\",\"urls\":[\"https://a.test\"]},"
		      "{\"digest\":\"sha256:no\"},{}]}",
		      &p);

	check_eq(n, 2);
	check(n == 2 && p[0].size == 7 && !p[0].manifest && p[1].size == 9);
	if (n == 2)
		digest_format(&p[1].digest, text);
	check_str(n == 2 ? text : "", "sha256:" OTHER);
	free(p);
}

TEST(an_index_has_manifests_with_their_platforms)
{
	struct image_part *p;
	int n = parts("{\"manifests\":[{\"digest\":\"sha256:" HEX "\",\"size\":1,\"platform\":"
		      "{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\"}},"
		      "{\"digest\":\"sha256:" OTHER "\"}]}",
		      &p);

	check_eq(n, 2);
	check(n == 2 && p[0].manifest && p[1].manifest);
	check_str(n == 2 ? p[0].platform : "", "linux/arm64/v8");
	check_str(n == 2 ? p[1].platform : "x", "");
	free(p);
}

TEST(what_is_no_manifest_has_no_parts)
{
	static const char *const bad[] = {
		"", "[]", "{}", "{\"layers\":1}", "{\"manifests\":", "7"
	};
	struct image_part *p;

	for (unsigned i = 0; i < countof(bad); i++) {
		check_eq(parts(bad[i], &p), -1);
		check(!p);
	}
}

TEST(parts_have_a_bound)
{
	static char json[20 + (IMAGE_PARTS_MAX + 10) * 3];
	struct image_part *p;
	struct buf b;
	bool fits;

	buf_init(&b, json, sizeof(json));
	fits = buf_printf(&b, "{\"layers\":[{}");
	for (unsigned i = 1; i < IMAGE_PARTS_MAX + 2; i++)
		fits = fits && buf_printf(&b, ",{}");
	check(fits && buf_printf(&b, "]}"));
	check_eq(image_parts_parse(buf_data(&b), &p), -1);
}
