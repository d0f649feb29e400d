/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/tally.h"

#include <stdlib.h>

#include "net/addr.h"
#include "test.h"

static struct tallies *ts;
static uint64_t now_ms;

static struct tally *begin(const char *client, const char *ref, bool by_digest)
{
	struct addr a;
	const struct tally_request r = {
		.client = &a,
		.mirror = SLICE("docker.io"),
		.repo = SLICE("library/x"),
		.ref = slice_of(ref),
		.by_digest = by_digest,
		.agent = SLICE("test"),
	};

	check_eq(addr_parse(slice_of(client), &a), 0);
	return tally_begin(ts, &r, now_ms);
}

static void end(struct tally *t, bool blob, bool hit, uint64_t bytes, int status)
{
	const struct tally_part part = { .bytes = bytes,
					 .status = status,
					 .get = true,
					 .blob = blob,
					 .hit = hit,
					 .whole = true };

	tally_end(ts, t, &part, now_ms);
}

#define A "192.0.2.1:1"
#define A2 "192.0.2.1:2" /* another connection */
#define B "192.0.2.2:1"

TEST(a_pull_is_one_tally)
{
	struct tally *t, *u;

	ts = tallies_new();
	require(ts);
	now_ms = 1000;
	t = begin(A, "latest", false);
	require(t);
	end(t, false, false, 10, 200);
	u = begin(A2, "sha256:1", true);
	check(u == t);
	end(u, false, false, 20, 200);
	u = begin(A2, NULL, false);
	check(u == t);
	check(begin(A, NULL, false) == t);
	end(u, true, true, 100, 200);
	now_ms += 60 * 1000;
	check(!tally_take(ts, now_ms, false)); /* one still runs */
	end(u, true, false, 1000, 206);
	now_ms += TALLY_IDLE_MS - 1;
	check(!tally_take(ts, now_ms, false));
	now_ms++;
	t = tally_take(ts, now_ms, false);
	require(t);
	check_eq(t->requests, 4);
	check_eq(t->blobs, 2);
	check_eq(t->hit_bytes, 100);
	check_eq(t->miss_bytes, 1030);
	check_eq(t->errors, 0);
	check_eq(t->status, 200);
	check_eq(t->last_ms - t->begun_ms, 60000);
	check_str(t->ref, ":latest");
	free(t);
	check(!tallies_any(ts));
	tallies_free(ts);
}

TEST(clients_and_tags_are_kept_apart)
{
	struct tally *a, *b, *c;

	ts = tallies_new();
	require(ts);
	a = begin(A, "1", false);
	b = begin(B, "1", false);
	c = begin(A, "2", false);
	require(a && b && c && a != b && a != c && b != c);
	check(begin(A, NULL, false) == c); /* the last one used */
	check(begin(A, "1", false) == a);
	check(begin(A, NULL, false) == a);
	tallies_free(ts);
}

TEST(the_tag_again_after_blobs_is_the_next_pull)
{
	struct tally *t;

	ts = tallies_new();
	require(ts);
	t = begin(A, "1", false);
	require(t);
	end(t, false, false, 1, 200);
	check(begin(A, "1", false) == t); /* HEAD, then GET */
	end(t, false, false, 1, 200);
	check(begin(A, NULL, false) == t);
	end(t, true, false, 1, 200);
	check(begin(A, "1", false) != t);
	check(tally_take(ts, now_ms, false) == t);
	free(t);
	check(!tally_take(ts, now_ms, false));
	tallies_free(ts);
}

TEST(who_only_looks_does_not_pull)
{
	struct tally_part head = { .status = 200, .whole = true };
	struct tally *t;

	ts = tallies_new();
	require(ts);
	tally_end(ts, begin(A, "1", false), &head, now_ms);
	check(!tally_take(ts, now_ms, true));
	check(!tallies_any(ts));
	head.status = 404;
	tally_end(ts, begin(A, "1", false), &head, now_ms);
	t = tally_take(ts, now_ms, true);
	require(t);
	check_eq(t->errors, 1);
	check_eq(t->status, 404);
	free(t);
	tallies_free(ts);
}

TEST(a_full_table_ends_the_oldest_and_then_takes_no_more)
{
	struct tally *first = NULL, *t;
	char client[64];
	unsigned told = 0;

	ts = tallies_new();
	require(ts);
	for (unsigned i = 0; i < TALLIES_MAX + 1; i++) {
		snprintf(client, sizeof(client), "10.%u.%u.1:1", i >> 8, i & 255);
		t = begin(client, "1", false);
		require(t);
		end(t, false, true, 1, 200);
		first = first ? first : t;
	}
	check(tally_take(ts, now_ms, false) == first);
	free(first);
	check(!tally_take(ts, now_ms, false));
	while ((t = tally_take(ts, now_ms, true)) != NULL) {
		told++;
		free(t);
	}
	check_eq(told, TALLIES_MAX);
	for (unsigned i = 0; i < TALLIES_MAX; i++) {
		snprintf(client, sizeof(client), "10.%u.%u.1:1", i >> 8, i & 255);
		check(begin(client, "1", false) != NULL);
	}
	check(!begin("10.99.99.1:1", "1", false)); /* all run */
	tallies_free(ts);
}
