/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/cache.h"

#include <errno.h>
#include <malloc.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <time.h>

#include "cache_rig.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

/* Makes a published file by hand, last used <age_s> ago. */
static void plant(struct rig *r, const struct digest *d, const char *text, unsigned age_s)
{
	char path[STORE_PATH_MAX];

	rig_blob_path(r, CACHE_BLOB, d, 0, path);
	rig_write(r, path, text);
	struct timespec times[2] = { { .tv_sec = time(NULL) - age_s },
				     { .tv_sec = time(NULL) - age_s } };
	utimensat(r->cache->store.root_fd, path, times, 0);
}

static void digest_of_number(unsigned n, struct digest *d)
{
	body_make_digest(&n, sizeof(n), d);
}

TEST(cache_open_says_what_is_wrong)
{
	struct rig r;
	struct cache_opts opts;
	struct cache *c;
	char err[300], file[PATH_MAX], deep[PATH_MAX];

	require(rig_init(&r, NULL));
	opts = r.opts;
	rig_write(&r, "file", "x");
	rig_path(&r, "file", file);
	opts.path = file;
	check_eq(cache_open(&c, &opts, err, sizeof(err)), -ENOTDIR);
	check(strstr(err, file) && strstr(err, "must be a folder"));
	rig_path(&r, "no/such", deep);
	opts.path = deep;
	check_eq(cache_open(&c, &opts, err, sizeof(err)), -ENOENT);
	check(strstr(err, deep) && strstr(err, "make the folder above it first"));
	rig_path(&r, "other", deep);
	rig_write(&r, "other/blobs", "a file where a folder should be");
	check_eq(cache_open(&c, &opts, err, sizeof(err)), -ENOTDIR);
	check(strstr(err, "other/blobs"));
	check(!c);
	rig_fini(&r);
}

TEST(cache_open_on_a_full_or_read_only_disk)
{
	struct rig r;
	struct cache_opts opts;
	struct cache *c;
	char err[300], path[PATH_MAX];
	bool mounted;

	require(rig_init(&r, NULL));
	opts = r.opts;
	rig_path(&r, "mnt", path);
	opts.path = path;
	mkdir(path, 0755);
	mounted = mount("none", path, "tmpfs", 0, "size=64k") == 0;
	if (mounted) {
		rig_write(&r, "mnt/ballast", "");
		/* Folders take no block of a tmpfs. */
		char big[PATH_MAX];
		int fd;

		rig_path(&r, "mnt/ballast", big);
		fd = open(big, O_WRONLY);
		while (write(fd, big, 4096) > 0)
			;
		close(fd);
		check_eq(cache_open(&c, &opts, err, sizeof(err)), -ENOSPC);
		check(strstr(err, "free some space"));
		mount("none", path, NULL, MS_REMOUNT | MS_RDONLY, NULL);
		check_eq(cache_open(&c, &opts, err, sizeof(err)), -EROFS);
		check(strstr(err, "read-only"));
		umount(path);
	}
	rig_fini(&r);
	if (!mounted)
		skip("no tmpfs can be mounted here");
}

TEST(cache_open_removes_orphans_and_spares_the_living)
{
	struct rig r;
	char path[PATH_MAX];
	int fd;

	require(rig_init(&r, NULL));
	rig_settle(&r);
	rig_write(&r, "tmp/orphan", "x");
	rig_write(&r, "tmp/living", "x");
	rig_path(&r, "tmp/living", path);
	fd = open(path, O_RDONLY);
	require(flock(fd, LOCK_EX) == 0);
	rig_reopen(&r);
	check(!rig_has(&r, "tmp/orphan"));
	check(rig_has(&r, "tmp/living"));
	close(fd);
	rig_reopen(&r);
	check(!rig_has(&r, "tmp/living"));
	rig_fini(&r);
}

TEST(scan_takes_what_is_well_formed_and_leaves_the_rest)
{
	static const char *const strange[] = {
		"blobs/sha256/README",
		"blobs/sha256/ba/" ABC "0",
		"blobs/sha256/bb/" ABC,
		"blobs/sha256/ba/" ABC ".oci-index",
		"blobs/sha512/ba/" ABC,
		"manifests/sha256/ba/" ABC,
		"manifests/sha256/ba/" ABC ".no-type",
		"blobs/sha256/BA/" ABC,
	};
	struct cache_totals totals;
	struct rig r;
	struct digest d;
	struct blob_view v;
	struct blob *b;

	require(rig_init(&r, NULL));
	rig_settle(&r);
	for (unsigned i = 0; i < countof(strange); i++)
		rig_write(&r, strange[i], "xy");
	rig_write(&r, "blobs/sha256/ba/" ABC, "abc");
	rig_write(&r, "manifests/sha256/ba/" ABC ".oci-index", "abcd");
	log_set_level(LOG_ERR);
	rig_reopen(&r);
	cache_totals(r.cache, &totals);
	check(!totals.scanning);
	check_eq(totals.blobs, 2);
	check_eq(totals.bytes, 7);
	for (unsigned i = 0; i < countof(strange); i++)
		check(rig_has(&r, strange[i]));
	require(digest_parse(SLICE("sha256:" ABC), &d));
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_HIT);
	check(rig_body_is(b, "abc", 3));
	blob_unref(b);
	b = cache_peek(r.cache, CACHE_MANIFEST, &d);
	require(b);
	blob_look(b, &v);
	check_eq(v.type, 1);
	check_eq(v.size, 4);
	blob_unref(b);
	rig_fini(&r);
}

TEST(cache_keeps_private_blobs_apart)
{
	const uint32_t one = cache_owner(SLICE("one")), two = cache_owner(SLICE("two"));
	struct rig r;
	struct digest d;
	struct blob *b;
	struct cache_totals totals;
	char path[STORE_PATH_MAX];

	check(one != two && one && two);
	check_eq(cache_owner(SLICE("one")), one);
	require(digest_parse(SLICE("sha256:" ABC), &d));
	require(rig_init(&r, NULL));
	rig_settle(&r);
	rig_blob_path(&r, one | CACHE_BLOB, &d, 0, path);
	rig_write(&r, path, "abc");
	rig_blob_path(&r, one | CACHE_MANIFEST, &d, 2, path);
	rig_write(&r, path, "abc");
	/* What was written before there were owners is nobody's. */
	rig_write(&r, "private/blobs/sha256/ba/" ABC, "abc");
	rig_reopen(&r);
	cache_totals(r.cache, &totals);
	check_eq(totals.blobs, 2);
	check(!cache_peek(r.cache, CACHE_BLOB, &d));
	check(!cache_peek(r.cache, CACHE_MANIFEST, &d));
	check(!cache_peek(r.cache, two | CACHE_BLOB, &d));
	check(!cache_peek(r.cache, two | CACHE_MANIFEST, &d));
	require(cache_get(r.cache, one | CACHE_BLOB, &d, &b) == CACHE_HIT);
	check(rig_body_is(b, "abc", 3));
	blob_unref(b);
	b = cache_peek(r.cache, one | CACHE_MANIFEST, &d);
	require(b);
	blob_unref(b);
	rig_fini(&r);
}

/* The folders of an owner come with the first thing that is his. */
TEST(cache_fills_for_an_owner)
{
	const uint32_t owner = cache_owner(SLICE("one"));
	struct loop *l = rig_loop();
	struct rig r;
	struct digest d;
	char *body = body_make(3, 5000, &d);
	struct blob *b;

	require(l && rig_init(&r, NULL));
	rig_settle(&r);
	check_eq(rig_fill_of(&r, l, body, 5000, &d, 0, owner), 0);
	rig_reopen(&r);
	check(!cache_peek(r.cache, CACHE_BLOB, &d));
	require(cache_get(r.cache, owner | CACHE_BLOB, &d, &b) == CACHE_HIT);
	check(rig_body_is(b, body, 5000));
	blob_unref(b);
	rig_fini(&r);
	loop_free(l);
	free(body);
}

TEST(cache_notices_files_that_were_deleted_or_cut)
{
	struct cache_totals totals;
	struct rig r;
	struct digest d;
	char path[STORE_PATH_MAX];
	struct loop *l = rig_loop();
	char *body = body_make(1, 5000, &d);
	struct blob *b;

	require(l && rig_init(&r, NULL));
	check_eq(rig_fill(&r, l, body, 5000, &d, 0), 0);
	rig_reopen(&r); /* the file is not open any more */
	rig_blob_path(&r, CACHE_BLOB, &d, 0, path);
	require(unlinkat(r.cache->store.root_fd, path, 0) == 0);
	check_eq(rig_fill(&r, l, body, 5000, &d, 0), 0);
	cache_totals(r.cache, &totals);
	check_eq(totals.bytes, 5000);
	check_eq(totals.errors, 0);

	rig_reopen(&r);
	rig_write(&r, path, "short");
	check(!cache_peek(r.cache, CACHE_BLOB, &d));
	check(!rig_has(&r, path));
	cache_totals(r.cache, &totals);
	check_eq(totals.bytes, 0);
	check_eq(totals.blobs, 0);
	check_eq(totals.errors, 1);
	check_eq(rig_fill(&r, l, body, 5000, &d, 0), 0);
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_HIT);
	check(rig_body_is(b, body, 5000));
	blob_unref(b);
	free(body);
	rig_fini(&r);
	loop_free(l);
}

/* The oldest go, but never one that is read; and the order survives a restart. */
TEST(evict_by_last_use_within_the_size)
{
	struct cache_opts opts = { .size_bytes = 40 };
	struct cache_totals totals;
	struct rig r;
	struct digest d[8], new_d;
	struct loop *l = rig_loop();
	char *body = body_make(1, 10, &new_d);
	struct blob *reading;

	require(l && rig_init(&r, &opts));
	rig_settle(&r);
	for (unsigned i = 0; i < 4; i++) {
		digest_of_number(i, &d[i]);
		plant(&r, &d[i], "0123456789", 40000 - i * 10000); /* 0 is the oldest */
	}
	rig_reopen(&r);
	cache_totals(r.cache, &totals);
	check_eq(totals.bytes, 40);
	require(cache_get(r.cache, CACHE_BLOB, &d[1], &reading) == CACHE_HIT);
	blob_unref(reading); /* 1 was used just now */
	require(cache_get(r.cache, CACHE_BLOB, &d[0], &reading) == CACHE_HIT);
	cache_house(r.cache, HOUSE_TOUCH);
	rig_settle(&r);

	check_eq(rig_fill(&r, l, body, 10, &new_d, 0), 0);
	rig_settle(&r);
	cache_totals(r.cache, &totals);
	check_eq(totals.evictions, 1);
	check_eq(totals.bytes, 40);
	check(!cache_peek(r.cache, CACHE_BLOB, &d[2]));
	check(rig_body_is(reading, "0123456789", 10));
	blob_unref(reading);

	r.opts.size_bytes = 30;
	rig_reopen(&r);
	check(!cache_peek(r.cache, CACHE_BLOB, &d[3]));
	r.opts.size_bytes = 1;
	rig_reopen(&r);
	cache_totals(r.cache, &totals);
	check_eq(totals.blobs, 0);
	check_eq(totals.evictions, 3);
	free(body);
	rig_fini(&r);
	loop_free(l);
}

/* Two servers on one folder: what the other used later than we did is not our oldest. */
TEST(evict_spares_what_another_server_uses)
{
	struct cache_opts opts = { .size_bytes = 40 };
	struct cache_totals totals;
	char path[STORE_PATH_MAX];
	struct digest d[4];
	struct blob *b;
	struct rig r;

	require(rig_init(&r, &opts));
	rig_settle(&r);
	for (unsigned i = 0; i < 4; i++) {
		digest_of_number(i, &d[i]);
		plant(&r, &d[i], "0123456789", 40000 - i * 8000); /* 0 is the oldest */
	}
	rig_reopen(&r);
	require(cache_get(r.cache, CACHE_BLOB, &d[0], &b) == CACHE_HIT); /* its file is open */
	blob_unref(b);
	store_path(&r.cache->store, CACHE_BLOB, &d[1], 0, path);
	require(store_touch(&r.cache->store, path, cache_now_s() - 60) == 0);
	store_path(&r.cache->store, CACHE_BLOB, &d[2], 0, path);
	require(store_touch(&r.cache->store, path, cache_now_s() + 86400) == 0); /* a wrong clock */
	cache_resize(r.cache, 20, 0);
	rig_settle(&r);
	cache_totals(r.cache, &totals);
	check_eq(totals.bytes, 20);
	check_eq(totals.blobs, 2);
	check_eq(totals.evictions, 2);
	for (unsigned i = 0; i < 2; i++) {
		b = cache_peek(r.cache, CACHE_BLOB, &d[i]);
		check(b != NULL);
		if (b)
			blob_unref(b);
	}
	/* It was spared once: with nobody using it, it goes. */
	cache_resize(r.cache, 1, 0);
	rig_settle(&r);
	cache_totals(r.cache, &totals);
	check_eq(totals.blobs, 0);
	check_eq(totals.evictions, 4);
	rig_fini(&r);
}

TEST(evict_spares_what_is_read_even_over_the_size)
{
	struct cache_opts opts = { .size_bytes = 1000 };
	struct rig r;
	struct digest d;
	char path[STORE_PATH_MAX];
	struct blob *b;

	require(rig_init(&r, &opts));
	rig_settle(&r);
	digest_of_number(1, &d);
	plant(&r, &d, "0123456789", 10);
	rig_reopen(&r);
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_HIT);
	rig_settle(&r);
	r.cache->size_bytes = 5;
	cache_house(r.cache, HOUSE_EVICT);
	rig_settle(&r);
	rig_blob_path(&r, CACHE_BLOB, &d, 0, path);
	check(rig_has(&r, path));
	blob_unref(b);
	cache_house(r.cache, HOUSE_EVICT);
	rig_settle(&r);
	check(!rig_has(&r, path));
	rig_fini(&r);
}

TEST(evict_for_the_floor_of_free_space)
{
	struct cache_totals totals;
	struct rig r;
	struct digest d;

	require(rig_init(&r, NULL));
	rig_settle(&r);
	for (unsigned i = 0; i < 10; i++) {
		digest_of_number(i, &d);
		plant(&r, &d, "0123456789", 10);
	}
	rig_reopen(&r);
	r.cache->free_bytes = UINT64_MAX; /* no disk has so much */
	cache_house(r.cache, HOUSE_EVICT);
	rig_settle(&r);
	cache_totals(r.cache, &totals);
	check_eq(totals.blobs, 0);
	check_eq(totals.evictions, 10);
	rig_fini(&r);
}

/* The bound holds for what nobody reads; what is read stays open. */
TEST(files_are_kept_open_within_the_bound)
{
	struct cache_opts opts = { .fds_max = 8 };
	struct rig r;
	struct digest d[40];
	struct blob_view v;
	struct blob *reading, *b;

	require(rig_init(&r, &opts));
	rig_settle(&r);
	for (unsigned i = 0; i < countof(d); i++) {
		digest_of_number(i, &d[i]);
		plant(&r, &d[i], "0123456789", 10);
	}
	rig_reopen(&r);
	require(cache_get(r.cache, CACHE_BLOB, &d[0], &reading) == CACHE_HIT);
	for (unsigned i = 0; i < countof(d); i++) {
		require(cache_get(r.cache, CACHE_BLOB, &d[i], &b) == CACHE_HIT);
		blob_unref(b);
		check(r.cache->index.fds_open <= 9);
	}
	check(r.cache->index.fds_open >= 8);
	blob_look(reading, &v);
	check(v.fd >= 0);
	check(rig_body_is(reading, "0123456789", 10));
	check_eq(blob_readers(reading), 1);
	blob_unref(reading);
	rig_fini(&r);
}

/* Also what an idle blob costs, and how fast it goes. */
TEST(scan_of_many_files)
{
	enum { COUNT = 20000 };
	struct cache_totals totals;
	struct timespec from, to;
	struct rig r;
	struct digest d;

	require(rig_init(&r, NULL));
	rig_settle(&r);
	for (unsigned i = 0; i < COUNT; i++) {
		char path[STORE_PATH_MAX];
		int fd;

		digest_of_number(i, &d);
		rig_blob_path(&r, CACHE_BLOB, &d, 0, path);
		fd = openat(r.cache->store.root_fd, path, O_CREAT | O_WRONLY, 0644);
		if (fd < 0) {
			*strrchr(path, '/') = '\0';
			mkdirat(r.cache->store.root_fd, path, 0755);
			path[strlen(path)] = '/';
			fd = openat(r.cache->store.root_fd, path, O_CREAT | O_WRONLY, 0644);
		}
		require(fd >= 0);
		close(fd);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	rig_reopen(&r);
	clock_gettime(CLOCK_MONOTONIC, &to);
	cache_totals(r.cache, &totals);
	check_eq(totals.blobs, COUNT);
	printf("# %d files in %.0f ms, %zu bytes each\n", COUNT,
	       (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6,
	       sizeof(struct blob));
	rig_fini(&r);
}

enum { MANY = 100 * 1000 };

/* As the scan would: an idle blob of one byte, used <n> seconds after the start of time. */
static bool add_old(struct cache *c, unsigned n)
{
	struct digest d;
	struct blob *b;

	digest_of_number(n, &d);
	b = blob_new(CACHE_BLOB, &d, false);
	if (!b)
		return false;
	blob_set_ready(b, -1, 1, 0);
	b->used_s = MANY - n; /* index_add_old() puts each behind the last */
	return index_add_old(&c->index, b);
}

TEST(index_of_100000_blobs_takes_200_bytes_each)
{
	struct rig r;
	size_t before;
	size_t each;

	require(rig_init(&r, NULL));
	rig_settle(&r);
	before = mallinfo2().uordblks;
	for (unsigned n = 0; n < MANY; n++)
		require(add_old(r.cache, n));
	each = (mallinfo2().uordblks - before) / MANY;
	printf("# %zu bytes each\n", each);
#ifndef __SANITIZE_ADDRESS__
	check(each > 0); /* else the measure is none */
	check(each <= 200);
#endif
	rig_fini(&r);
}

/* Twice as many take about twice as long: far from four times, whatever the machine. */
static uint64_t eviction_ns(struct rig *r, unsigned count)
{
	struct timespec from, to;
	struct blob *b;

	for (unsigned n = 0; n < count; n++)
		check(add_old(r->cache, n));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (unsigned n = 0; n < count; n++) {
		b = index_take_oldest(&r->cache->index);
		if (!check(b))
			return 0;
		blob_unref(b);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	return (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)to.tv_nsec -
	       (uint64_t)from.tv_nsec;
}

TEST(eviction_of_100000_blobs_is_not_quadratic)
{
	struct rig r;
	uint64_t few, many;

	require(rig_init(&r, NULL));
	rig_settle(&r);
	few = eviction_ns(&r, MANY / 16);
	many = eviction_ns(&r, MANY);
	printf("# %llu ns each of %u, %llu of %u\n", (unsigned long long)few / (MANY / 16),
	       MANY / 16, (unsigned long long)many / MANY, MANY);
	check(many < 16 * 8 * few); /* 256 times, if it were */
	rig_fini(&r);
}

/* Thousands of old blobs that are being read are walked over once, not for each that goes. */
TEST(eviction_behind_many_that_are_read)
{
	enum { READ = MANY / 4 };
	static struct blob *read[READ];
	struct rig r;
	struct digest d;
	struct blob *b;
	struct timespec from, to;

	require(rig_init(&r, NULL));
	rig_settle(&r);
	for (unsigned n = 0; n < MANY; n++)
		require(add_old(r.cache, n));
	for (unsigned n = 0; n < READ; n++) {
		digest_of_number(MANY - 1 - n, &d);
		read[n] = index_get(&r.cache->index, CACHE_BLOB, &d, 0, false, &(bool){ 0 });
		require(read[n]);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (unsigned n = 0; n < MANY - READ; n++) {
		b = index_take_oldest(&r.cache->index);
		require(b);
		blob_unref(b);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	printf("# %ld ms\n",
	       (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000);
	check(!index_take_oldest(&r.cache->index));
	for (unsigned n = 0; n < READ; n++)
		blob_unref(read[n]);
	rig_fini(&r);
}

/* What is damaged is not given to anybody from the moment on, and its file is kept aside. */
TEST(damaged_blob_goes_to_quarantine)
{
	struct rig r;
	struct digest d;
	struct blob *b, *again;
	struct blob_view v;
	struct cache_totals totals;
	char path[STORE_PATH_MAX];

	require(rig_init(&r, NULL));
	rig_settle(&r);
	digest_of_number(1, &d);
	plant(&r, &d, "hello", 10);
	rig_reopen(&r);
	require((b = cache_peek(r.cache, CACHE_BLOB, &d)));
	blob_damaged(b, -ENOMEM); /* says nothing of the file */
	blob_look(b, &v);
	check(!v.damaged);
	blob_damaged(b, -EIO);
	blob_damaged(b, -EIO);
	blob_look(b, &v);
	check(v.damaged);
	check(!cache_peek(r.cache, CACHE_BLOB, &d));
	rig_settle(&r);
	rig_blob_path(&r, CACHE_BLOB, &d, 0, path);
	check(!rig_has(&r, path));
	check_eq(rig_count(&r, "quarantine"), 1);
	cache_totals(r.cache, &totals);
	check_eq(totals.damaged, 1);
	check_eq(totals.blobs, 0);
	check_eq(cache_get(r.cache, CACHE_BLOB, &d, &again), CACHE_MISS);
	blob_set_filler(again, true);
	blob_fail(again, &(struct blob_failure){ .err = ERR_KILLED });
	blob_set_filler(again, false);
	blob_unref(again);
	blob_unref(b);
	rig_fini(&r);
}

TEST(quarantine_is_bounded)
{
	struct rig r;
	struct digest d;
	char path[STORE_PATH_MAX], whole[PATH_MAX];

	require(rig_init(&r, NULL));
	rig_settle(&r);
	for (unsigned n = 0; n < 70; n++) {
		digest_of_number(n, &d);
		plant(&r, &d, "hello", 10);
		rig_blob_path(&r, CACHE_BLOB, &d, 0, path);
		check_eq(quarantine_file(&r.cache->store, path), 0);
		check(!rig_has(&r, path));
	}
	check_eq(rig_count(&r, "quarantine"), 64);
	check_eq(quarantine_file(&r.cache->store, path), -ENOENT);
	/* Larger than all of it may be: removed. */
	rig_write(&r, path, "");
	rig_path(&r, path, whole);
	require(truncate(whole, 2ll << 30) == 0);
	check_eq(quarantine_file(&r.cache->store, path), 0);
	check(!rig_has(&r, path));
	check_eq(rig_count(&r, "quarantine"), 64);
	rig_fini(&r);
}
