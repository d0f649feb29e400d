/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/tag.h"

#include "cache_rig.h"

#define HUB SLICE("docker.io")
#define ALPINE SLICE("library/alpine")
#define TAG_FILE "tags/docker.io/library/alpine/_tags/3.20"

static struct tag_record record(unsigned n)
{
	struct tag_record r = { .type = 1, .size = 100 + n, .checked_s = 1700000000 + n };

	r.digest.alg = DIGEST_SHA256;
	r.digest.bytes[0] = (uint8_t)n;
	return r;
}

TEST(tag_put_get_remove)
{
	struct tag_record in = record(7), out;
	struct rig r;

	require(rig_init(&r, NULL));
	check(!tag_get(r.cache, HUB, ALPINE, SLICE("3.20"), &out));
	tag_put(r.cache, HUB, ALPINE, SLICE("3.20"), &in);
	require(tag_get(r.cache, HUB, ALPINE, SLICE("3.20"), &out));
	check(digest_eq(&in.digest, &out.digest));
	check_eq(out.size, 107);
	check(!tag_get(r.cache, HUB, ALPINE, SLICE("3.21"), &out));
	check(!tag_get(r.cache, SLICE("quay.io"), ALPINE, SLICE("3.20"), &out));
	rig_settle(&r);
	check(rig_has(&r, TAG_FILE));
	tag_remove(r.cache, HUB, ALPINE, SLICE("3.20"));
	check(!tag_get(r.cache, HUB, ALPINE, SLICE("3.20"), &out));
	rig_settle(&r);
	check(!rig_has(&r, TAG_FILE));
	check_eq(rig_count(&r, "tmp"), 0);
	rig_fini(&r);
}

TEST(tag_survives_a_restart)
{
	struct tag_record in = record(9), untyped = record(3), out;
	struct rig r;

	require(rig_init(&r, NULL));
	untyped.type = 0;
	tag_put(r.cache, HUB, ALPINE, SLICE("3.20"), &in);
	tag_put(r.cache, SLICE("localhost:5000"), SLICE("a"), SLICE("_x"), &untyped);
	rig_reopen(&r);
	require(tag_get(r.cache, HUB, ALPINE, SLICE("3.20"), &out));
	check(digest_eq(&in.digest, &out.digest));
	check_eq(out.type, 1);
	check_eq(out.size, 109);
	check_eq(out.checked_s, 1700000009);
	require(tag_get(r.cache, SLICE("localhost:5000"), SLICE("a"), SLICE("_x"), &out));
	check_eq(out.type, 0);
	tag_remove(r.cache, HUB, ALPINE, SLICE("3.20"));
	rig_reopen(&r);
	check(!tag_get(r.cache, HUB, ALPINE, SLICE("3.20"), &out));
	rig_fini(&r);
}

TEST(tag_files_that_are_not_ours_are_left_alone)
{
	static const char *const lines[] = {
		"",
		"sha256:00 - 1 1\n",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad - 1 1",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad x 1 1\n",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad - -1 1\n",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad - 1 1 1\n",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad - 1\n",
	};
	struct tag_record out;
	struct rig r;

	require(rig_init(&r, NULL));
	for (unsigned i = 0; i < countof(lines); i++) {
		rig_settle(&r);
		rig_write(&r, TAG_FILE, lines[i]);
		rig_write(&r, "tags/README", "hello");
		rig_reopen(&r);
		check(!tag_get(r.cache, HUB, ALPINE, SLICE("3.20"), &out));
		check(rig_has(&r, TAG_FILE));
	}
	rig_fini(&r);
}

/* Whatever a caller lets through, it does not become another path. */
TEST(tag_names_that_are_no_names_are_refused)
{
	static const char *const bad[][3] = {
		{ "..", "a", "t" },           { "", "a", "t" },
		{ "x/y", "a", "t" },          { "docker.io", "", "t" },
		{ "docker.io", "../a", "t" }, { "docker.io", "a/../../b", "t" },
		{ "docker.io", "/a", "t" },   { "docker.io", "a//b", "t" },
		{ "docker.io", "a/", "t" },   { "docker.io", "a/_tags", "t" },
		{ "docker.io", "a", "" },     { "docker.io", "a", ".." },
		{ "docker.io", "a", "x/y" },  { "docker.io", "a", ".hidden" },
		{ "docker.io", "a\nb", "t" },
	};
	struct tag_record in = record(1), out;
	struct rig r;

	require(rig_init(&r, NULL));
	for (unsigned i = 0; i < countof(bad); i++) {
		tag_put(r.cache, slice_of(bad[i][0]), slice_of(bad[i][1]), slice_of(bad[i][2]),
			&in);
		check(!tag_get(r.cache, slice_of(bad[i][0]), slice_of(bad[i][1]),
			       slice_of(bad[i][2]), &out));
		tag_remove(r.cache, slice_of(bad[i][0]), slice_of(bad[i][1]), slice_of(bad[i][2]));
	}
	tag_put(r.cache, HUB, (struct slice){ "a\0b", 3 }, SLICE("t"), &in);
	rig_settle(&r);
	check_eq(rig_count(&r, "tags"), 0);
	rig_fini(&r);
}

/* The least recently used go, in memory; a few files are enough to see it. */
TEST(tag_count_is_bounded)
{
	struct tag_record in = record(1), out;
	char name[32];
	struct rig r;

	require(rig_init(&r, NULL));
	rig_settle(&r);
	/* Files for all would take long: the helper finds nothing to write. */
	for (unsigned i = 0; i < TAGS_MAX + 10; i++) {
		struct tags *t = &r.cache->tags;
		int n = snprintf(name, sizeof(name), "x/y/_tags/%u", i);

		if (i == 20)
			check(tag_get(r.cache, SLICE("x"), SLICE("y"), SLICE("0"), &out));
		if (i < TAGS_MAX)
			require(tags_add_old(t, (struct slice){ name, (size_t)n }, &in));
		else
			tag_put(r.cache, SLICE("x"), SLICE("y"), slice_of(name + 10), &in);
		check(t->count <= TAGS_MAX);
	}
	check(tag_get(r.cache, SLICE("x"), SLICE("y"), SLICE("0"), &out));
	check(!tags_add_old(&r.cache->tags, SLICE("x/y/_tags/more"), &in));
	rig_settle(&r);
	check_eq(rig_count(&r, "tags/x/y/_tags"), 10);
	check(!tag_get(r.cache, SLICE("x"), SLICE("y"), SLICE("49999"), &out));
	rig_fini(&r);
}
