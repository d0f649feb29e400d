/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/balance.h"

#include <arpa/inet.h>

#include "test.h"

static struct balance b;

/* "4.weight" members 10.0.0.N, and v6 ones from <v6> on. */
static void fill(enum balance_mode mode, unsigned count, unsigned v6, const unsigned *weights)
{
	struct member v[MEMBERS_MAX] = { 0 };

	for (unsigned i = 0; i < count; i++) {
		struct addr *a = &v[i].addr;

		v[i].weight = weights ? weights[i] : 1;
		if (i < v6) {
			a->in.sin_family = AF_INET;
			a->in.sin_addr.s_addr = htonl(0x0a000000 + i);
			a->len = sizeof(a->in);
		} else {
			a->in6.sin6_family = AF_INET6;
			a->in6.sin6_addr.s6_addr[15] = (uint8_t)i;
			a->len = sizeof(a->in6);
		}
	}
	if (b.count == 0 && !b.past)
		balance_init(&b, mode);
	balance_set(&b, v, count);
}

static void begin(enum balance_mode mode, unsigned count, const unsigned *weights)
{
	b.count = 0;
	fill(mode, count, count, weights);
}

static unsigned pick(uint64_t now)
{
	struct member *m = balance_pick(&b, now);

	check(m != NULL);
	return m ? (unsigned)(m - b.v) : 99;
}

static void pick_many(unsigned n, uint64_t now, unsigned got[MEMBERS_MAX])
{
	memset(got, 0, MEMBERS_MAX * sizeof(got[0]));
	for (unsigned i = 0; i < n; i++)
		got[pick(now)]++;
}

static uint32_t id_of(unsigned i)
{
	return b.v[i].id;
}

TEST(nobody_is_nobody)
{
	balance_init(&b, BALANCE_ROUNDROBIN);
	check(balance_pick(&b, 1) == NULL);
	check(!balance_report(&b, 7, UPCONN_CONNECT, 1));
	balance_begin(&b, 7);
	balance_end(&b, 7);
}

TEST(round_robin_follows_weights_and_is_smooth)
{
	static const unsigned weights[] = { 5, 1, 1 };
	static const unsigned want[] = { 0, 0, 1, 0, 2, 0, 0 };
	unsigned got[MEMBERS_MAX];

	begin(BALANCE_ROUNDROBIN, 3, weights);
	for (unsigned i = 0; i < 14; i++)
		check_eq(pick(1), want[i % 7]);
	pick_many(700, 1, got);
	check_eq(got[0], 500);
	check_eq(got[1], 100);
	check_eq(got[2], 100);
}

TEST(least_connections_by_weight)
{
	static const unsigned weights[] = { 1, 3 };

	begin(BALANCE_LEASTCONN, 2, weights);
	for (unsigned i = 0; i < 40; i++)
		balance_begin(&b, id_of(pick(1)));
	check_eq(b.v[0].in_use, 10);
	check_eq(b.v[1].in_use, 30);
	for (unsigned i = 0; i < 25; i++)
		balance_end(&b, id_of(1));
	check_eq(pick(1), 1);
}

TEST(latency_prefers_the_fast_and_still_asks_the_slow)
{
	unsigned got[MEMBERS_MAX];

	begin(BALANCE_LATENCY, 3, NULL);
	for (unsigned i = 0; i < 3; i++)
		balance_latency(&b, id_of(i), (i + 1) * 10000);
	pick_many(PROBE_EVERY * 30, 1, got);
	check(got[0] >= (PROBE_EVERY - 1) * 30);
	check(got[1] > 0);
	check(got[2] > 0);
	for (unsigned i = 0; i < 20; i++)
		balance_latency(&b, id_of(0), 500000);
	pick_many(PROBE_EVERY * 30, 1, got);
	check(got[1] >= (PROBE_EVERY - 1) * 30);
}

TEST(a_failed_one_is_out_for_longer_each_time)
{
	uint64_t now = 1000, last = 0;

	begin(BALANCE_ROUNDROBIN, 2, NULL);
	for (unsigned i = 0; i < 12; i++) {
		uint64_t out;

		check(balance_report(&b, id_of(0), UPCONN_CONNECT, now));
		check(!balance_report(&b, id_of(0), UPCONN_CONNECT, now));
		for (unsigned j = 0; j < 10; j++)
			check_eq(pick(now), 1);
		out = b.v[0].out_until_ms - now;
		check(out >= EJECT_MIN_MS);
		check(out <= EJECT_MAX_MS);
		check(out >= last);
		last = out;
		now = b.v[0].out_until_ms;
		check(!member_is_out(&b.v[0], now));
	}
	check_eq(last, EJECT_MAX_MS);
	check_eq(b.v[0].ejections, 12);
	/* Well for long enough: short again. */
	now += RETURN_MS;
	check(!balance_report(&b, id_of(0), UPCONN_OK, now));
	check(balance_report(&b, id_of(0), UPCONN_BAD, now));
	check_eq(b.v[0].out_until_ms - now, EJECT_MIN_MS);
}

TEST(it_returns_slowly)
{
	unsigned early[MEMBERS_MAX], middle[MEMBERS_MAX], late[MEMBERS_MAX];
	uint64_t back;

	begin(BALANCE_ROUNDROBIN, 2, NULL);
	check(balance_report(&b, id_of(0), UPCONN_TLS, 1000));
	back = b.v[0].out_until_ms;
	pick_many(100, back, early);
	pick_many(100, back + RETURN_MS / 2, middle);
	pick_many(100, back + RETURN_MS, late);
	check(early[0] >= 5 && early[0] <= 20);
	check(middle[0] > early[0] && middle[0] < late[0]);
	check(late[0] >= 49 && late[0] <= 51);
}

TEST(a_single_5xx_ejects_nobody)
{
	begin(BALANCE_ROUNDROBIN, 2, NULL);
	for (unsigned i = 0; i < 10; i++) {
		check(!balance_report(&b, id_of(0), UPCONN_5XX, 1000));
		check(!balance_report(&b, id_of(0), UPCONN_5XX, 1000));
		check(!balance_report(&b, id_of(0), UPCONN_OK, 1000));
	}
	check(!balance_report(&b, id_of(0), UPCONN_5XX, 1000));
	check(!balance_report(&b, id_of(0), UPCONN_5XX, 1000));
	check(balance_report(&b, id_of(0), UPCONN_5XX, 1000));
}

TEST(if_all_are_out_the_least_bad_is_tried_and_may_recover)
{
	for (enum balance_mode mode = BALANCE_ROUNDROBIN; mode <= BALANCE_LATENCY; mode++) {
		begin(mode, 3, NULL);
		check(balance_report(&b, id_of(1), UPCONN_CONNECT, 1000));
		check(balance_report(&b, id_of(0), UPCONN_CONNECT, 1100));
		check(balance_report(&b, id_of(2), UPCONN_CONNECT, 1200));
		check_eq(pick(1300), 1);
		check(!balance_report(&b, id_of(1), UPCONN_OK, 1400));
		check(!member_is_out(&b.v[1], 1400));
		check_eq(pick(1400), 1);
	}
}

TEST(others_come_by_families_in_turn_and_the_ejected_last)
{
	const struct member *out[MEMBERS_MAX];
	static const unsigned want[] = { 3, 1, 4, 2, 5 }; /* v4: 0 1 2, v6: 3 4 5 */

	b.count = 0;
	fill(BALANCE_LEASTCONN, 6, 3, NULL);
	for (unsigned i = 0; i < 6; i++)
		b.v[i].picked = i;
	require(balance_others(&b, &b.v[0], 1, out) == 5);
	for (unsigned i = 0; i < 5; i++)
		check_eq(out[i] - b.v, want[i]);
	check(balance_report(&b, id_of(3), UPCONN_CONNECT, 1));
	require(balance_others(&b, &b.v[0], 1, out) == 5);
	check_eq(out[0] - b.v, 4);
	check_eq(out[4] - b.v, 3);
}

TEST(who_stays_keeps_its_history_and_who_goes_is_forgotten)
{
	uint32_t kept, gone;

	begin(BALANCE_ROUNDROBIN, 3, NULL);
	kept = id_of(1);
	gone = id_of(2);
	balance_begin(&b, kept);
	balance_begin(&b, gone);
	check(balance_report(&b, kept, UPCONN_CONNECT, 1000));
	fill(BALANCE_ROUNDROBIN, 2, 2, NULL);
	check_eq(b.count, 2);
	check_eq(id_of(1), kept);
	check(member_is_out(&b.v[1], 1000));
	check_eq(b.v[1].in_use, 1);
	balance_end(&b, gone);
	fill(BALANCE_ROUNDROBIN, 3, 3, NULL);
	check(id_of(2) != gone);
	check_eq(b.v[2].in_use, 0);
}

TEST(members_are_bounded_and_unique)
{
	struct member v[MEMBERS_MAX + 5] = { 0 };

	for (unsigned i = 0; i < MEMBERS_MAX + 5; i++) {
		v[i].addr.in.sin_family = AF_INET;
		v[i].addr.in.sin_addr.s_addr = htonl(i / 2);
		v[i].addr.len = sizeof(v[i].addr.in);
		v[i].weight = 1;
	}
	balance_init(&b, BALANCE_ROUNDROBIN);
	balance_set(&b, v, MEMBERS_MAX);
	check_eq(b.count, MEMBERS_MAX / 2);
	for (unsigned i = 0; i < MEMBERS_MAX + 5; i++)
		v[i].addr.in.sin_addr.s_addr = htonl(i);
	balance_set(&b, v, MEMBERS_MAX + 5);
	check_eq(b.count, MEMBERS_MAX);
}

TEST(a_check_leaves_out_until_it_says_well)
{
	begin(BALANCE_ROUNDROBIN, 2, NULL);
	check(balance_checked(&b, id_of(0), false, 60000, 1000));
	check(!balance_checked(&b, id_of(0), false, 60000, 11000));
	check_eq(b.v[0].ejections, 1);
	check(member_is_out(&b.v[0], 70999));
	check(!member_is_out(&b.v[0], 71000));
	check(balance_checked(&b, id_of(0), true, 60000, 21000));
	check(!member_is_out(&b.v[0], 21000));
	check(!balance_checked(&b, id_of(0), true, 60000, 22000));
	check(!balance_checked(&b, 12345, false, 60000, 22000));
}

TEST(a_check_does_not_bring_back_who_sent_wrong_bytes)
{
	static const enum upconn_outcome what[] = { UPCONN_BAD, UPCONN_5XX };

	for (unsigned i = 0; i < countof(what); i++) {
		begin(BALANCE_ROUNDROBIN, 2, NULL);
		for (unsigned n = 0; n < EJECT_AFTER_5XX; n++)
			(void)balance_report(&b, id_of(i), what[i], 1000000);
		check(member_is_out(&b.v[i], 1000001));
		check(!balance_checked(&b, id_of(i), true, 60000, 1000001));
		check(member_is_out(&b.v[i], 1000001));
	}
}

TEST(history_is_inherited_by_address)
{
	struct balance was;

	begin(BALANCE_ROUNDROBIN, 2, NULL);
	(void)balance_report(&b, id_of(1), UPCONN_CONNECT, 5000);
	balance_begin(&b, id_of(1));
	was = b;
	for (unsigned reloads = 0; reloads < 2; reloads++) {
		b = (struct balance){ 0 };
		balance_init(&b, BALANCE_LEASTCONN);
		balance_inherit(&b, &was);
		check_eq(b.count, 0); /* nobody is a member yet */
		balance_fini(&was);
		was = b; /* not asked for in between */
	}
	fill(BALANCE_LEASTCONN, 3, 3, NULL);
	check(!member_is_out(&b.v[0], 5001));
	check(member_is_out(&b.v[1], 5001));
	check_eq(b.v[1].ejections, 1);
	check_eq(b.v[1].in_use, 0);
	check(!member_is_out(&b.v[2], 5001));
	balance_fini(&b);
}
