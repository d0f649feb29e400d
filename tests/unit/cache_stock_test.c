/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/stock.h"

#include <errno.h>

#include "cache_rig.h"

enum { BYTES = 1000 };

/* A published blob of BYTES bytes, all <n>. */
static void plant(struct rig *r, char n, struct digest *d)
{
	char text[BYTES + 1], path[STORE_PATH_MAX];

	memset(text, n, BYTES);
	text[BYTES] = '\0';
	digest_of(DIGEST_SHA256, (struct slice){ text, BYTES }, d);
	rig_blob_path(r, CACHE_BLOB, d, 0, path);
	rig_write(r, path, text);
}

static bool has(struct cache *c, const struct digest *d)
{
	struct blob *b = cache_peek(c, CACHE_BLOB, d);

	if (b)
		blob_unref(b);
	return b != NULL;
}

static bool file_is_there(struct rig *r, const struct digest *d)
{
	char path[STORE_PATH_MAX];
	struct stat st;

	rig_blob_path(r, CACHE_BLOB, d, 0, path);
	return fstatat(r->cache->store.root_fd, path, &st, 0) == 0;
}

TEST(what_is_there_is_listed_and_read)
{
	struct rig r;
	struct digest d[3];
	struct cache_item *all;
	char mem[BYTES];
	int64_t n;

	require(rig_init(&r, NULL));
	for (unsigned i = 0; i < 3; i++)
		plant(&r, (char)('a' + i), &d[i]);
	rig_reopen(&r);
	n = cache_list(r.cache, &all);
	check_eq(n, 3);
	for (int64_t i = 0; i < n; i++) {
		check_eq(all[i].size, BYTES);
		check_eq(cache_read(r.cache, &all[i], mem, sizeof(mem)), BYTES);
		check_eq(cache_read(r.cache, &all[i], mem, sizeof(mem) - 1), -EFBIG);
	}
	free(all);
	rig_fini(&r);
}

TEST(a_pinned_blob_is_not_evicted)
{
	struct rig r;
	struct digest d[4];

	require(rig_init(&r, NULL));
	for (unsigned i = 0; i < 4; i++)
		plant(&r, (char)('a' + i), &d[i]);
	rig_reopen(&r);
	check(cache_pin(r.cache, CACHE_BLOB, &d[1], true));
	check(!cache_pin(r.cache, CACHE_MANIFEST, &d[1], true));
	cache_resize(r.cache, BYTES, 0);
	rig_settle(&r);
	check(has(r.cache, &d[1]));
	check(!has(r.cache, &d[0]) && !has(r.cache, &d[2]) && !has(r.cache, &d[3]));
	cache_resize(r.cache, 1, 0);
	rig_settle(&r);
	check(has(r.cache, &d[1]));
	check(cache_pin(r.cache, CACHE_BLOB, &d[1], false));
	cache_resize(r.cache, 1, 0);
	rig_settle(&r);
	check(!has(r.cache, &d[1]));
	rig_fini(&r);
}

TEST(while_held_nothing_is_evicted)
{
	struct rig r;
	struct digest d;

	require(rig_init(&r, NULL));
	plant(&r, 'a', &d);
	rig_reopen(&r);
	cache_hold(r.cache, true);
	cache_resize(r.cache, 1, 0);
	rig_settle(&r);
	check(has(r.cache, &d));
	cache_hold(r.cache, false);
	rig_settle(&r);
	check(!has(r.cache, &d));
	rig_fini(&r);
}

TEST(a_purged_blob_is_gone_but_for_who_reads_it)
{
	struct rig r;
	struct digest d;
	struct blob *reader;
	struct blob_view v;
	char mem[BYTES];

	require(rig_init(&r, NULL));
	plant(&r, 'a', &d);
	rig_reopen(&r);
	reader = cache_peek(r.cache, CACHE_BLOB, &d);
	require(reader);
	check(cache_purge(r.cache, CACHE_BLOB, &d));
	check(!cache_purge(r.cache, CACHE_BLOB, &d));
	check(!has(r.cache, &d) && !file_is_there(&r, &d));
	blob_look(reader, &v);
	check_eq(pread(v.fd, mem, BYTES, 0), BYTES);
	check_eq(mem[BYTES - 1], 'a');
	blob_unref(reader);
	rig_fini(&r);
}

TEST(what_is_being_filled_is_not_purged)
{
	struct rig r;
	struct digest d = { .bytes = { 1 } };
	struct blob *b;
	struct blob_failure why = { .err = -EIO };

	require(rig_init(&r, NULL));
	rig_settle(&r);
	check_eq(cache_get(r.cache, CACHE_BLOB, &d, &b), CACHE_MISS);
	check(!cache_purge(r.cache, CACHE_BLOB, &d));
	blob_fail(b, &why);
	blob_unref(b);
	rig_fini(&r);
}

struct tags_seen {
	unsigned count;
	bool right;
};

static void tag_seen(void *arg, const struct cache_tag *t)
{
	struct tags_seen *s = arg;

	s->count++;
	s->right = s->right && slice_eq(t->registry, SLICE("docker.io")) &&
		   slice_starts(t->repo, SLICE("a/b")) && slice_eq(t->tag, SLICE("_tags"));
}

TEST(tags_are_told_with_their_names_apart)
{
	struct rig r;
	struct tag_record record = { .checked_s = 1 };
	struct tags_seen seen = { .right = true };
	char repo[32];

	require(rig_init(&r, NULL));
	rig_settle(&r);
	for (unsigned i = 0; i < 500; i++) {
		snprintf(repo, sizeof(repo), "a/b%u", i);
		tag_put(r.cache, SLICE("docker.io"), slice_of(repo), SLICE("_tags"), &record);
	}
	tag_remove(r.cache, SLICE("docker.io"), SLICE("a/b7"), SLICE("_tags"));
	check(cache_tags(r.cache, tag_seen, &seen));
	check_eq(seen.count, 499);
	check(seen.right);
	rig_settle(&r);
	rig_fini(&r);
}

TEST(notes_are_kept)
{
	struct rig r;
	char mem[16];

	require(rig_init(&r, NULL));
	rig_settle(&r);
	check_eq(cache_note_read(r.cache, "pins", mem, sizeof(mem)), -ENOENT);
	check_eq(cache_note_write(r.cache, "pins", SLICE("abc")), 0);
	check_eq(cache_note_read(r.cache, "pins", mem, sizeof(mem)), 3);
	check_mem(mem, "abc", 3);
	check_eq(cache_note_read(r.cache, "pins", mem, 2), -EFBIG);
	rig_fini(&r);
}
