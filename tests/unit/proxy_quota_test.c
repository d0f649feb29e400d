/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/quota.h"

#include "test.h"

enum { HOUR_MS = 3600 * 1000 };

/* "requests;window", or NULL. */
static const char *limit(const char *value)
{
	static char text[64];
	struct ratelimit r;

	if (!ratelimit_parse(slice_of(value), &r))
		return NULL;
	snprintf(text, sizeof(text), "%llu;%llu", (unsigned long long)r.requests,
		 (unsigned long long)r.window_s);
	return text;
}

TEST(ratelimit_fields)
{
	check_str(limit("100;w=21600"), "100;21600");
	check_str(limit("0;w=21600"), "0;21600");
	check_str(limit("20"), "20;0");
	check_str(limit("20 ; q=1; w=60"), "20;60");
	check_str(limit("10, 10;w=1, 1000;w=3600"), "10;0");
	check_str(limit("10;w="), "10;0");
	check_str(limit("10;w=9x"), "10;0");
	check_str(limit(""), NULL);
	check_str(limit("-1"), NULL);
	check_str(limit("x100"), NULL);
	check_str(limit("100x"), NULL);
	check_str(limit("99999999999999999999999"), NULL);
}

enum { NOW_S = 784111777 }; /* Sun, 06 Nov 1994 08:49:37 GMT, as in RFC 9110 */

static int after(const char *value)
{
	unsigned s;

	return retry_after_parse(slice_of(value), NOW_S, &s) ? (int)s : -1;
}

TEST(retry_after_in_seconds_and_as_a_date)
{
	check_eq(after("0"), 0);
	check_eq(after("120"), 120);
	check_eq(after("99999999"), 86400);
	check_eq(after("Sun, 06 Nov 1994 08:50:37 GMT"), 60);
	check_eq(after("Sunday, 06-Nov-94 08:50:37 GMT"), 60);
	check_eq(after("Sun Nov  6 08:50:37 1994"), 60);
	check_eq(after("Sun, 06 Nov 1994 08:49:37 GMT"), 0);
	check_eq(after("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
	check_eq(after("Fri, 31 Dec 9999 23:59:59 GMT"), 86400);
	check_eq(after(""), -1);
	check_eq(after("-5"), -1);
	check_eq(after("1.5"), -1);
	check_eq(after("soon"), -1);
	check_eq(after("Sun, 06 Nov 1994 08:50:37 GMT and more"), -1);
	check_eq(after("99999999999999999999999999"), -1);
}

static struct quotas *q;
static unsigned wait_s;

static int pick(bool costs, uint64_t now)
{
	return quotas_pick(q, QUOTA_MANIFEST, costs, 0, now, &wait_s);
}

static void begin(unsigned accounts)
{
	quotas_free(q);
	q = quotas_new(accounts);
}

static void told(unsigned account, const char *remaining, uint64_t now)
{
	quotas_answered(q, account, true, SLICE("100;w=21600"), slice_of(remaining), now);
}

TEST(unknown_accounts_go_in_turn)
{
	unsigned n[3] = { 0 };

	begin(3);
	for (int i = 0; i < 30; i++)
		n[pick(true, 1)]++;
	check_eq(n[0], 10);
	check_eq(n[1], 10);
	check_eq(n[2], 10);
}

TEST(what_costs_nothing_goes_with_the_last)
{
	int last;

	begin(3);
	pick(true, 1);
	last = pick(true, 1);
	for (int i = 0; i < 5; i++)
		check_eq(pick(false, 1), last);
}

TEST(what_remains_is_spent_evenly)
{
	unsigned n[2] = { 0 };

	begin(2);
	told(0, "50;w=21600", 1);
	told(1, "60;w=21600", 1);
	/* Without a single answer between: 10 to bring the second down, then by turns. */
	for (int i = 0; i < 30; i++)
		n[pick(true, 2)]++;
	check_eq(n[0], 10);
	check_eq(n[1], 20);
	/* One of which nothing is known has no limit, as far as we know; knowledge grows old. */
	told(0, "100;w=21600", 6ull * HOUR_MS);
	check_eq(pick(true, 7ull * HOUR_MS), 1);
	/* What is said in nonsense is not learnt. */
	told(1, "lots", 7ull * HOUR_MS);
	check_eq(pick(true, 7ull * HOUR_MS), 1);
}

TEST(one_that_is_limited_rests)
{
	begin(2);
	check_eq(quotas_limited(q, 0, QUOTA_MANIFEST, 30, HOUR_MS, 1000), 30);
	for (int i = 0; i < 5; i++)
		check_eq(pick(true, 1001), 1);
	quotas_limited(q, 1, QUOTA_MANIFEST, 20, HOUR_MS, 1000);
	check_eq(pick(true, 1001), -1);
	check_eq(wait_s, 20);
	check_eq(pick(true, 20999), -1);
	check_eq(wait_s, 1);
	check_eq(pick(true, 21000), 1);
	check_eq(pick(true, 31000), 0);
	/* A shorter one does not shorten it. */
	quotas_limited(q, 0, QUOTA_MANIFEST, 100, HOUR_MS, 40000);
	quotas_limited(q, 0, QUOTA_MANIFEST, 1, HOUR_MS, 40000);
	quotas_limited(q, 1, QUOTA_MANIFEST, 200, HOUR_MS, 40000);
	check_eq(pick(true, 50000), -1);
	check_eq(wait_s, 90);
}

TEST(blobs_go_on_while_manifests_are_limited)
{
	begin(1);
	quotas_limited(q, 0, QUOTA_MANIFEST, 30, HOUR_MS, 1000);
	check_eq(quotas_pick(q, QUOTA_BLOB, false, 0, 2000, &wait_s), 0);
	quotas_limited(q, 0, QUOTA_BLOB, 60, HOUR_MS, 1000);
	check_eq(quotas_pick(q, QUOTA_BLOB, false, 0, 2000, &wait_s), -1);
	check_eq(wait_s, 59);
	check_eq(pick(true, 2000), -1);
	check_eq(wait_s, 59);
}

TEST(no_rest_is_longer_than_the_bound)
{
	begin(1);
	check_eq(quotas_limited(q, 0, QUOTA_MANIFEST, 86400, HOUR_MS, 1000), 3600);
	check_eq(pick(true, 1000 + HOUR_MS), 0);
	begin(1);
	check_eq(quotas_limited(q, 0, QUOTA_MANIFEST, 30, 0, 1000), 0);
	check_eq(pick(true, 1000), 0);
}

TEST(pauses_grow_until_an_answer_comes)
{
	uint64_t now = 1000;
	unsigned s = 0;

	begin(1);
	for (unsigned want = 1; want <= 32; want *= 2) {
		check_eq(quotas_limited(q, 0, QUOTA_MANIFEST, 0, HOUR_MS, now), want);
		/* Others that were under way add nothing. */
		check_eq(quotas_limited(q, 0, QUOTA_MANIFEST, 0, HOUR_MS, now), want);
		check_eq(pick(true, now), -1);
		now += want * 1000ull;
		check_eq(pick(true, now), 0);
	}
	for (int i = 0; i < 100; i++) {
		s = quotas_limited(q, 0, QUOTA_MANIFEST, 0, HOUR_MS, now);
		now += s * 1000ull;
	}
	check_eq(s, 60);
	quotas_answered(q, 0, false, SLICE_NONE, SLICE_NONE, now);
	check_eq(quotas_limited(q, 0, QUOTA_MANIFEST, 0, HOUR_MS, now), 60);
	now += 60 * 1000;
	quotas_answered(q, 0, true, SLICE_NONE, SLICE_NONE, now);
	check_eq(quotas_limited(q, 0, QUOTA_MANIFEST, 0, HOUR_MS, now), 1);
}

TEST(one_whose_login_is_refused_goes_last)
{
	begin(2);
	check(quotas_aside(q, 0, 1000));
	check(!quotas_aside(q, 0, 1000));
	for (int i = 0; i < 5; i++) {
		check_eq(pick(true, 1000), 1);
		check_eq(pick(false, 1000), 1);
	}
	check_eq(quotas_pick(q, QUOTA_MANIFEST, true, 2, 1000, &wait_s), 0);
	/* Later it has its turns again. */
	check_eq(pick(true, 1000 + QUOTA_ASIDE_MS), 1);
	check_eq(pick(true, 1000 + QUOTA_ASIDE_MS), 0);
	check_eq(quotas_pick(q, QUOTA_MANIFEST, true, 3, 1000, &wait_s), -1);
	check_eq(wait_s, 0);
}

TEST(what_metrics_show)
{
	struct quota_view v;

	begin(1);
	quotas_look(q, 0, 1000, &v);
	check(!v.known && !v.aside);
	check_eq(v.rest_s, 0);
	told(0, "76;w=60", 1000);
	quotas_limited(q, 0, QUOTA_MANIFEST, 5, HOUR_MS, 1000);
	quotas_look(q, 0, 2500, &v);
	check(v.known);
	check_eq(v.limit, 100);
	check_eq(v.remaining, 76);
	check_eq(v.rest_s, 4);
	quotas_look(q, 0, 62000, &v);
	check(!v.known);
	check_eq(quotas_count(q), 1);
	quotas_free(q);
	q = NULL;
}

TEST(what_an_account_was_told_goes_on_after_a_reload)
{
	struct quotas *was;

	begin(2);
	(void)quotas_limited(q, 1, QUOTA_MANIFEST, 600, HOUR_MS, 1000);
	was = q;
	q = quotas_new(3);
	quotas_take_over(q, 2, was, 1);
	quotas_free(was);
	for (int i = 0; i < 6; i++)
		check(pick(true, 2000) != 2);
	check_eq(quotas_pick(q, QUOTA_MANIFEST, true, 3, 2000, &wait_s), -1);
	check_eq(wait_s, 599);
}
