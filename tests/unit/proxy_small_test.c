/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/small.h"

#include <stdlib.h>

#include "test.h"

static struct mirror docker = { .name = { "docker.io", 9 } };
static struct mirror quay = { .name = { "quay.io", 7 } };

static void keep(struct smalls *s, const char *target, const char *body, uint64_t until_ms)
{
	small_keep(s, &docker, target, &(struct small){ 200, .body = slice_of(body) }, until_ms);
}

/* Is that what is kept?  NULL: nothing is. */
static bool kept(struct smalls *s, struct mirror *m, const char *target, uint64_t now_ms,
		 const char *body)
{
	const struct small *a = small_get(s, m, target, now_ms);
	bool same;

	if (!a)
		return !body;
	same = body && slice_eq(a->body, slice_of(body));
	small_put(a);
	return same;
}

TEST(what_was_kept_is_found_until_its_time)
{
	struct smalls *s = smalls_new();

	require(s);
	check(kept(s, &docker, "/v2/a", 0, NULL));
	keep(s, "/v2/a", "one", 100);
	check(kept(s, &docker, "/v2/a", 99, "one"));
	check(kept(s, &docker, "/v2/a?x=y", 99, NULL));
	check(kept(s, &docker, "/v2/", 99, NULL));
	check(kept(s, &quay, "/v2/a", 99, NULL));
	check(kept(s, &docker, "/v2/a", 100, NULL));
	check(kept(s, &docker, "/v2/a", 50, NULL));
	keep(s, "/v2/a", "two", 100);
	keep(s, "/v2/a", "three", 200);
	check(kept(s, &docker, "/v2/a", 150, "three"));
	smalls_free(s);
}

TEST(all_that_was_said_is_kept)
{
	struct smalls *s = smalls_new();
	const struct small in = { 200,        SLICE("t/y"), SLICE("f"),
				  SLICE("d"), SLICE("<l>"), SLICE("b") };
	const struct small *a;

	require(s);
	small_keep(s, &docker, "/x", &in, 9);
	a = small_get(s, &docker, "/x", 1);
	require(a);
	check_eq(a->status, 200);
	check(slice_eq(a->type, in.type) && slice_eq(a->filters, in.filters));
	check(slice_eq(a->digest, in.digest) && slice_eq(a->link, in.link));
	check(slice_eq(a->body, in.body) && a->body.ptr != in.body.ptr);
	small_put(a);
	small_keep(s, &docker, "/x", &(struct small){ .status = 404 }, 9);
	a = small_get(s, &docker, "/x", 1);
	require(a);
	check_eq(a->status, 404);
	check(!a->type.ptr && !a->link.ptr && a->body.len == 0);
	small_put(a);
	smalls_free(s);
}

TEST(a_reference_outlives_the_table_s_own)
{
	struct smalls *s = smalls_new();
	const struct small *a;

	require(s);
	keep(s, "/x", "old", 9);
	a = small_get(s, &docker, "/x", 1);
	require(a);
	keep(s, "/x", "new", 9);
	check(kept(s, &docker, "/x", 1, "new"));
	check(kept(s, &docker, "/x", 9, NULL));
	check(slice_eq(a->body, SLICE("old")));
	small_put(a);
	smalls_free(s);
}

TEST(the_least_recently_used_goes_first)
{
	struct smalls *s = smalls_new();
	char target[32];

	require(s);
	for (int i = 0; i <= SMALLS_MAX; i++) {
		snprintf(target, sizeof(target), "/%d", i);
		keep(s, target, target, 9);
		check(kept(s, &docker, "/0", 1, "/0"));
	}
	check(kept(s, &docker, "/1", 1, NULL));
	check(kept(s, &docker, "/2", 1, "/2"));
	check(kept(s, &docker, target, 1, target));
	smalls_free(s);
}

TEST(bytes_are_bounded)
{
	enum { MORE = SMALLS_BYTES_MAX / SMALL_BODY_MAX + 8 };
	struct smalls *s = smalls_new();
	char *body = calloc(1, SMALL_BODY_MAX + 2);
	char target[SMALL_KEY_MAX + 8];
	int found = 0;

	require(s && body);
	memset(body, 'x', SMALL_BODY_MAX + 1);
	keep(s, "/long", body, 9);
	check(kept(s, &docker, "/long", 1, NULL));
	body[SMALL_BODY_MAX] = '\0';
	for (int i = 0; i < MORE; i++) {
		snprintf(target, sizeof(target), "/%d", i);
		keep(s, target, body, 9);
	}
	for (int i = 0; i < MORE; i++) {
		snprintf(target, sizeof(target), "/%d", i);
		found += kept(s, &docker, target, 1, body);
	}
	check(found > MORE / 2 && found < SMALLS_BYTES_MAX / SMALL_BODY_MAX);
	memset(target, 'k', sizeof(target));
	target[SMALL_KEY_MAX] = '\0';
	keep(s, target, "x", 9);
	check(kept(s, &docker, target, 1, NULL));
	free(body);
	smalls_free(s);
}
