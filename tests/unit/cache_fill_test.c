/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/fill.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/err.h"
#include "cache_rig.h"

static struct rig r;
static struct loop *l;

static bool begin(const struct cache_opts *opts)
{
	l = rig_loop();
	return l && rig_init(&r, opts);
}

static void end(void)
{
	check_eq(loop_inflight(l), 0);
	rig_fini(&r);
	loop_free(l);
}

TEST(fill_publishes_a_file_named_by_its_digest)
{
	static const size_t lens[] = { 1, 16384, FILL_CHUNK, FILL_CHUNK + 1, 5 * FILL_CHUNK + 77 };
	char path[STORE_PATH_MAX];

	require(begin(NULL));
	for (unsigned i = 0; i < countof(lens); i++) {
		struct digest d;
		char *body = body_make(i, lens[i], &d);
		struct blob *b;

		check_eq(rig_fill(&r, l, body, lens[i], &d, 0), 0);
		rig_blob_path(&r, CACHE_BLOB, &d, 0, path);
		check(rig_has(&r, path));
		require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_HIT);
		check(rig_body_is(b, body, lens[i]));
		blob_unref(b);
		free(body);
	}
	check_eq(rig_count(&r, "tmp"), 0);
	end();
}

TEST(fill_of_nothing_and_of_unknown_length)
{
	struct filler f = { .announced = BLOB_SIZE_UNKNOWN };
	struct digest d;
	char *body = body_make(3, 300000, &d);
	struct digest none;
	char *empty = body_make(0, 0, &none);
	struct blob *b;

	require(begin(NULL));
	check_eq(rig_fill(&r, l, empty, 0, &none, 0), 0);
	require(cache_get(r.cache, CACHE_BLOB, &none, &b) == CACHE_HIT);
	check(rig_body_is(b, "", 0));
	blob_unref(b);

	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, body, 300000);
	rig_run(l);
	check_eq(f.err, 0);
	check(rig_body_is(b, body, 300000));
	blob_unref(b);
	free(body);
	free(empty);
	end();
}

TEST(fill_of_a_manifest_keeps_its_type)
{
	struct digest d;
	char *body = body_make(4, 700, &d);
	struct blob_view v;
	struct blob *b;

	require(begin(NULL));
	check_eq(rig_fill(&r, l, body, 700, &d, 2), 0);
	rig_reopen(&r);
	require(cache_get(r.cache, CACHE_MANIFEST, &d, &b) == CACHE_HIT);
	blob_look(b, &v);
	check_eq(v.type, 2);
	check(rig_body_is(b, body, 700));
	blob_unref(b);
	free(body);
	end();
}

/* Readers see the failure, nothing is left on the disk, and the next request may try again. */
static void expect_lost(struct filler *f, const char *body, size_t len, const struct digest *d,
			int err)
{
	struct blob_failure why;
	struct blob_view v;
	struct blob *b, *again;

	if (!check_eq(cache_get(r.cache, CACHE_BLOB, d, &b), CACHE_MISS))
		return;
	filler_start(f, r.cache, l, b, body, len);
	rig_run(l);
	check_eq(f->err, err);
	blob_look(b, &v);
	if (!check_eq(v.state, BLOB_FAILED))
		return;
	check(v.avail < len || len == 0);
	blob_failure(b, &why);
	check_eq(why.err, err);
	blob_unref(b);
	check_eq(rig_count(&r, "tmp"), 0);
	check_eq(rig_count(&r, "blobs/sha256"), 0);
	check(!cache_peek(r.cache, CACHE_BLOB, d));
	if (!check_eq(cache_get(r.cache, CACHE_BLOB, d, &again), CACHE_MISS))
		return;
	*f = (struct filler){ .announced = len, .len = 0, .stop_at = 1 };
	filler_start(f, r.cache, l, again, body, len);
	rig_run(l);
	check_eq(f->err, ERR_KILLED);
	blob_unref(again);
}

TEST(fill_that_is_short_long_or_wrong_is_never_published)
{
	enum { LEN = 3 * FILL_CHUNK + 5 };
	struct filler f = { .announced = LEN + 1 };
	struct digest d, wrong;
	char *body = body_make(5, LEN, &d);

	require(begin(NULL));
	expect_lost(&f, body, LEN, &d, ERR_SHORT);
	f = (struct filler){ .announced = LEN - 1 };
	expect_lost(&f, body, LEN, &d, ERR_LONG);
	f = (struct filler){ .announced = LEN };
	wrong = d;
	wrong.bytes[31] ^= 1;
	expect_lost(&f, body, LEN, &wrong, ERR_DIGEST);
	f = (struct filler){ .announced = BLOB_SIZE_UNKNOWN };
	expect_lost(&f, body, LEN, &wrong, ERR_DIGEST);
	f = (struct filler){ .announced = LEN, .stop_at = LEN / 2 };
	expect_lost(&f, body, LEN, &d, ERR_KILLED);
	free(body);
	end();
}

TEST(fill_that_was_wrong_is_followed_by_another_to_which_readers_go)
{
	enum { LEN = FILL_CHUNK + 5 };
	struct filler f = { .announced = LEN }, second = { .announced = LEN };
	struct digest d;
	char *body = body_make(7, LEN, &d), *wrong = body_make(8, LEN, &d);
	struct blob *b, *next, *joined;

	body_make_digest(body, LEN, &d);
	require(begin(NULL));
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, wrong, LEN);
	f.fill.again = true;
	rig_run(l);
	check_eq(f.err, ERR_DIGEST);
	require(f.fill.next != NULL);
	next = blob_successor(b);
	check(next == f.fill.next);
	check_eq(cache_get(r.cache, CACHE_BLOB, &d, &joined), CACHE_JOIN);
	check(joined == next);
	blob_unref(joined);
	filler_start(&second, r.cache, l, next, body, LEN);
	rig_run(l);
	check_eq(second.err, 0);
	check(rig_body_is(next, body, LEN));
	blob_unref(f.fill.next);
	blob_unref(next);
	blob_unref(b);
	free(body);
	free(wrong);
	end();
}

TEST(fill_given_up_before_it_knows_anything)
{
	struct filler f = { 0 };
	struct blob_failure why = { .status = 404, .message = "no such blob" };
	struct blob_failure seen;
	struct digest d;
	char *body = body_make(6, 10, &d);
	struct blob *b;

	require(begin(NULL));
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, body, 10);
	fill_fail(&f.fill, &why); /* the look at the disk is in flight */
	check(!fill_close(&f.fill));
	rig_run(l);
	blob_failure(b, &seen);
	check_eq(seen.status, 404);
	check_str(seen.message, "no such blob");
	blob_unref(b);
	free(body);
	end();
}

TEST(fill_finds_a_file_that_an_operator_copied_in)
{
	static const char digest[] =
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	struct filler f = { .announced = 3 };
	struct blob_view v;
	struct digest d;
	char path[STORE_PATH_MAX];
	struct blob *b;

	require(begin(NULL));
	require(digest_parse(slice_of(digest), &d));
	rig_settle(&r);
	rig_blob_path(&r, CACHE_MANIFEST, &d, 3, path);
	rig_write(&r, path, "abc");
	require(cache_get(r.cache, CACHE_MANIFEST, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, "", 0);
	rig_run(l);
	check(f.found);
	check(rig_body_is(b, "abc", 3));
	blob_look(b, &v);
	check_eq(v.type, 3);
	blob_unref(b);
	check_eq(cache_get(r.cache, CACHE_MANIFEST, &d, &b), CACHE_HIT);
	blob_unref(b);
	end();
}

static void hold_done(struct timer *t)
{
	(void)t;
	loop_stop(l);
}

static void run_for(unsigned ms)
{
	struct timer t;

	timer_init(&t, hold_done);
	loop_timer_set(l, &t, loop_now_ms(l) + ms);
	loop_run(l);
	loop_timer_clear(l, &t);
}

/* A few bytes reach a waiting reader at once; without one, writes wait for a whole chunk. */
TEST(fill_flush_writes_what_is_there)
{
	struct filler f = { .announced = 1000, .step = 100, .hold = true };
	struct digest d;
	char *body = body_make(7, 1000, &d);
	struct blob_view v;
	struct blob *b;

	require(begin(NULL));
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, body, 1000);
	run_for(300);
	require(f.fill.state == FILL_FLOWING);
	memcpy(buf_tail(fill_room(&f.fill)), body, 100);
	buf_grew(fill_room(&f.fill), 100);
	fill_added(&f.fill, 100);
	run_for(300);
	blob_look(b, &v);
	check_eq(v.avail, 0);
	memcpy(buf_tail(fill_room(&f.fill)), body + 100, 100);
	buf_grew(fill_room(&f.fill), 100);
	fill_added(&f.fill, 100);
	fill_flush(&f.fill);
	run_for(300);
	blob_look(b, &v);
	check_eq(v.state, BLOB_FILLING);
	check_eq(v.size, 1000);
	check_eq(v.avail, 200);
	f.given = 200;
	f.hold = false;
	loop_wake(l, &f.task);
	rig_run(l);
	check(rig_body_is(b, body, 1000));
	blob_unref(b);
	free(body);
	end();
}

/* The last byte waits for the digest, whatever was announced. */
TEST(fill_never_shows_the_whole_of_what_is_not_verified)
{
	uint64_t announced[] = { 1000, BLOB_SIZE_UNKNOWN };
	struct digest d;
	char *body = body_make(8, 1000, &d);

	require(begin(NULL));
	d.bytes[0] ^= 1;
	for (unsigned i = 0; i < countof(announced); i++) {
		struct filler f = { .announced = announced[i], .hold = true };
		struct blob_view v;
		struct blob *b;

		require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
		filler_start(&f, r.cache, l, b, body, 1000);
		run_for(300);
		memcpy(buf_tail(fill_room(&f.fill)), body, 1000);
		buf_grew(fill_room(&f.fill), 1000);
		f.given = 1000;
		fill_added(&f.fill, 1000);
		fill_flush(&f.fill);
		run_for(300);
		blob_look(b, &v);
		check_eq(v.avail, 999);
		f.hold = false;
		loop_wake(l, &f.task);
		rig_run(l);
		blob_look(b, &v);
		check_eq(v.state, BLOB_FAILED);
		check_eq(v.avail, 999);
		blob_unref(b);
	}
	free(body);
	end();
}

TEST(fill_larger_than_the_cache_goes_with_its_readers)
{
	struct cache_opts opts = { .size_bytes = 100000 };
	struct cache_totals totals;
	struct digest small_d, d;
	char *small = body_make(1, 50000, &small_d);
	char *body = body_make(2, 400000, &d);
	struct filler f = { .announced = 400000 };
	struct blob *b;

	require(begin(&opts));
	check_eq(rig_fill(&r, l, small, 50000, &small_d, 0), 0);
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, body, 400000);
	rig_run(l);
	check_eq(f.err, 0);
	check(rig_body_is(b, body, 400000));
	check(!cache_peek(r.cache, CACHE_BLOB, &d));
	check_eq(rig_count(&r, "tmp"), 0);
	blob_unref(b);
	rig_settle(&r);
	cache_totals(r.cache, &totals);
	check_eq(totals.bytes, 50000);
	check_eq(totals.evictions, 0);
	free(small);
	free(body);
	end();
}

/* While anybody holds the blob it goes on; then it is dropped, and the next who asks fills anew. */
TEST(fill_is_dropped_only_when_nobody_reads_it)
{
	struct filler f = { .announced = 1000, .hold = true };
	struct digest d;
	char *body = body_make(3, 1000, &d);
	struct blob *b, *again;

	require(begin(NULL));
	rig_settle(&r);
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, body, 1000);
	run_for(300);
	require(f.fill.state == FILL_FLOWING);
	check(!fill_drop(&f.fill));
	blob_unref(b);
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_JOIN);
	check(!fill_drop(&f.fill));
	check_eq(blob_state(b), BLOB_FILLING);
	blob_unref(b);
	check(fill_drop(&f.fill));
	check(!fill_drop(&f.fill));
	require(cache_get(r.cache, CACHE_BLOB, &d, &again) == CACHE_MISS);
	rig_run(l);
	check_eq(f.err, ERR_UNWANTED);
	check_eq(f.stats.v[STAT_FILLS_DROPPED], 1);
	check_eq(f.stats.v[STAT_FILLS_FAILED], 0);
	check_eq(rig_count(&r, "tmp"), 0);
	f = (struct filler){ .announced = 1000 };
	filler_start(&f, r.cache, l, again, body, 1000);
	rig_run(l);
	check_eq(f.err, 0);
	check(rig_body_is(again, body, 1000));
	blob_unref(again);
	free(body);
	end();
}

/* A write fails in the middle, as on a full disk: a limit that holds for root, too. */
TEST(fill_on_a_disk_that_fails)
{
	struct rlimit old, low = { .rlim_cur = 300000 };
	struct filler f = { .announced = 900000 };
	struct cache_totals totals;
	struct digest d;
	char *body = body_make(9, 900000, &d);
	struct blob *b;

	require(begin(NULL));
	rig_settle(&r);
	require(getrlimit(RLIMIT_FSIZE, &old) == 0);
	low.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	require(setrlimit(RLIMIT_FSIZE, &low) == 0);
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, body, 900000);
	log_set_level(LOG_ERR);
	rig_run(l);
	setrlimit(RLIMIT_FSIZE, &old);
	check_eq(f.err, -EFBIG);
	check_eq(blob_state(b), BLOB_FAILED);
	check_eq(rig_count(&r, "tmp"), 0);
	cache_totals(r.cache, &totals);
	check_eq(totals.errors, 1);
	check_eq(f.stats.v[STAT_FILLS_FAILED], 1);
	blob_unref(b);
	free(body);
	end();
}

TEST(fill_whose_temporary_folder_is_gone)
{
	struct filler f = { .announced = 10 };
	struct blob_failure why;
	struct cache_totals totals;
	char path[PATH_MAX];
	struct digest d;
	char *body = body_make(9, 10, &d);
	struct blob *b;

	require(begin(NULL));
	rig_settle(&r);
	rig_path(&r, "tmp", path);
	require(rmdir(path) == 0);
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, body, 10);
	rig_run(l);
	check_eq(f.err, -ENOENT);
	check_eq(blob_state(b), BLOB_FAILED);
	blob_failure(b, &why);
	check(why.disk);
	blob_unref(b);
	/* No fill begins until the probe has made the folder again. */
	check_eq(cache_get(r.cache, CACHE_BLOB, &d, &b), CACHE_NONE);
	cache_totals(r.cache, &totals);
	check(!totals.usable);
	for (unsigned ms = 0; ms < RIG_LIMIT_MS && !totals.usable; ms += 50) {
		usleep(50 * 1000);
		cache_clock(r.cache);
		cache_totals(r.cache, &totals);
	}
	check(totals.usable);
	rig_settle(&r);
	check_eq(rig_fill(&r, l, body, 10, &d, 0), 0);
	free(body);
	end();
}

TEST(fill_whose_rename_fails)
{
	struct filler f = { .announced = 10 };
	char path[STORE_PATH_MAX + 8];
	struct digest d;
	char *body = body_make(9, 10, &d);
	struct blob *b;

	require(begin(NULL));
	rig_settle(&r);
	/* A folder stands where the file should go. */
	rig_blob_path(&r, CACHE_BLOB, &d, 0, path);
	snprintf(path + strlen(path), 4, "/x");
	rig_write(&r, path, "");
	require(cache_get(r.cache, CACHE_BLOB, &d, &b) == CACHE_MISS);
	filler_start(&f, r.cache, l, b, body, 10);
	rig_run(l);
	check_eq(f.err, -EISDIR);
	/* Whoever reads it has the whole; who comes later does not find it. */
	check_eq(blob_state(b), BLOB_READY);
	check(rig_body_is(b, body, 10));
	check(!cache_peek(r.cache, CACHE_BLOB, &d));
	check_eq(rig_count(&r, "tmp"), 0);
	blob_unref(b);
	rig_settle(&r);
	free(body);
	end();
}
