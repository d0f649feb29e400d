/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/share.h"

#include <string.h>

#include "test.h"

enum { SEND = 16 * 1024, CLIENTS = 9 };
static const uint64_t RATE = 1024 * 1024;

struct sim {
	struct share share;
	uint64_t now_ms;
	uint64_t wake_ms[64];
	uint64_t got[CLIENTS];
};

static const uint8_t *ip_of(unsigned client)
{
	static uint8_t ip[16];

	memset(ip, 0, sizeof(ip));
	ip[15] = (uint8_t)client;
	return ip;
}

/* Connection <i> is of <of[i]>, takes all that it may; for <ms>. */
static void run(struct sim *s, const unsigned *of, unsigned count, uint64_t ms)
{
	for (uint64_t end = s->now_ms + ms; s->now_ms < end; s->now_ms++)
		for (unsigned i = 0; i < count; i++) {
			unsigned wait;

			if (s->now_ms < s->wake_ms[i])
				continue;
			wait = share_wait_ms(&s->share, ip_of(of[i]), s->now_ms);
			if (wait) {
				s->wake_ms[i] = s->now_ms + wait;
				continue;
			}
			share_spent(&s->share, ip_of(of[i]), s->now_ms, SEND);
			s->got[of[i]] += SEND;
		}
}

static struct sim sim;

static void begin(uint64_t rate, uint64_t per_client)
{
	memset(&sim, 0, sizeof(sim));
	sim.now_ms = 1000;
	share_set(&sim.share, rate, per_client);
}

static bool within(uint64_t n, uint64_t want, unsigned percent)
{
	return n * 100 >= want * (100 - percent) && n * 100 <= want * (100 + percent);
}

TEST(no_rate_is_no_limit)
{
	begin(0, 0);
	check_eq(share_wait_ms(&sim.share, ip_of(1), 1), 0);
	share_spent(&sim.share, ip_of(1), 1, UINT32_MAX);
	check_eq(share_wait_ms(&sim.share, ip_of(1), 1), 0);
}

TEST(one_client_gets_the_rate)
{
	const unsigned of[] = { 1 };

	begin(RATE, 0);
	run(&sim, of, 1, 10000);
	check(within(sim.got[1], 10 * RATE, 5));
}

TEST(many_connections_of_one_client_get_what_one_of_another_gets)
{
	const unsigned of[] = { 1, 2, 2, 2, 2, 2, 2, 2, 2 };

	begin(RATE, 0);
	run(&sim, of, countof(of), 20000);
	check(within(sim.got[1] + sim.got[2], 20 * RATE, 5));
	check(within(sim.got[1], sim.got[2], 10));
}

TEST(what_one_client_does_not_take_others_get)
{
	const unsigned of[] = { 1, 2 };
	uint64_t before;

	begin(RATE, 0);
	run(&sim, of, 2, 3000);
	before = sim.got[1];
	run(&sim, of, 1, 10000); /* the second one has gone */
	check(within(sim.got[1] - before, 10 * RATE, 10));
}

TEST(each_client_has_its_own_limit_too)
{
	const unsigned of[] = { 1, 1, 1, 2 };

	begin(RATE, RATE / 4);
	run(&sim, of, countof(of), 10000);
	check(within(sim.got[1], 10 * RATE / 4, 5));
	check(within(sim.got[2], 10 * RATE / 4, 5));
	begin(0, RATE / 4);
	run(&sim, of, countof(of), 10000);
	check(within(sim.got[1], 10 * RATE / 4, 5));
}

TEST(a_pause_saves_no_more_than_a_burst)
{
	const unsigned of[] = { 1 };

	begin(RATE, 0);
	run(&sim, of, 1, 1000);
	sim.now_ms += 3600 * 1000;
	sim.got[1] = 0;
	run(&sim, of, 1, 1000);
	check(sim.got[1] <= RATE + RATE / 4);
}

TEST(more_clients_than_buckets_stay_within_the_rate)
{
	uint64_t sent = 0;

	begin(RATE, 0);
	for (; sim.now_ms < 6000; sim.now_ms += 5)
		for (unsigned i = 0; i < 2 * SHARE_CLIENTS_MAX; i++) {
			uint8_t ip[16] = { (uint8_t)(i >> 8), (uint8_t)i };

			if (share_wait_ms(&sim.share, ip, sim.now_ms))
				continue;
			share_spent(&sim.share, ip, sim.now_ms, SEND);
			sent += SEND;
		}
	/* A debt of one send for each bucket, beside the rate. */
	check(sent <= 5 * RATE + RATE / 4 + (uint64_t)SHARE_CLIENTS_MAX * SEND);
	check(sent >= 4 * RATE);
}
