/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/share.h"

#include <string.h>

enum { FILL_MS = 4 };

static int64_t burst_of(uint64_t rate)
{
	return (int64_t)(rate * SHARE_BURST_MS / 1000);
}

static int64_t capped(int64_t n, int64_t most)
{
	return n < most ? n : most;
}

void share_set(struct share *s, uint64_t rate, uint64_t per_client)
{
	s->rate = rate;
	s->per_client = per_client;
}

static unsigned bucket_of(const uint8_t ip[16])
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (unsigned i = 0; i < 16; i++)
		h = (h ^ ip[i]) * 16777619u;
	return (h ^ h >> 16) % SHARE_CLIENTS_MAX;
}

static void drop_idle(struct share *s, uint64_t now_ms)
{
	for (unsigned i = 0; i < SHARE_CLIENTS_MAX; i++) {
		struct share_client *c = &s->clients[i];

		if (!c->used || now_ms < c->seen_ms + SHARE_IDLE_MS)
			continue;
		if (c->part < 0 || c->own < 0)
			continue; /* a debt is not got rid of by waiting */
		if (c->part > 0)
			s->common += c->part;
		c->used = false;
		s->used--;
	}
}

static void fill_client(const struct share *s, struct share_client *c, int64_t part, uint64_t ms,
			int64_t *over)
{
	int64_t most = burst_of(s->rate) / (int64_t)s->used + 1;

	c->own = capped(c->own + (int64_t)(s->per_client * ms / 1000), burst_of(s->per_client));
	c->part += part;
	if (c->part <= most)
		return;
	*over += c->part - most;
	c->part = most;
}

static void fill(struct share *s, uint64_t now_ms)
{
	uint64_t ms, all;
	int64_t over, part;

	/* Workers read the clock at moments of their own. */
	if (now_ms < s->filled_ms + FILL_MS)
		return;
	ms = now_ms - s->filled_ms;
	/* After a pause of all, no more than a burst. */
	if (ms > SHARE_BURST_MS)
		ms = SHARE_BURST_MS;
	drop_idle(s, now_ms);
	s->filled_ms = now_ms;
	all = s->rate * ms + s->rest;
	s->rest = all % 1000;
	over = (int64_t)(all / 1000);
	part = s->used ? over / s->used : 0;
	over -= part * s->used;
	for (unsigned i = 0; i < SHARE_CLIENTS_MAX; i++)
		if (s->clients[i].used)
			fill_client(s, &s->clients[i], part, ms, &over);
	s->common = capped(s->common + over, burst_of(s->rate));
}

/* Its bucket, made if need be; with none left, one that it shares. */
static struct share_client *client_of(struct share *s, const uint8_t ip[16], uint64_t now_ms)
{
	unsigned first = bucket_of(ip);
	struct share_client *c, *free = NULL;

	for (unsigned i = 0; i < SHARE_CLIENTS_MAX; i++) {
		c = &s->clients[(first + i) % SHARE_CLIENTS_MAX];
		if (c->used && memcmp(c->ip, ip, 16) == 0) {
			c->seen_ms = now_ms;
			return c;
		}
		if (!c->used && !free)
			free = c;
	}
	if (!free)
		return &s->clients[first];
	*free = (struct share_client){ .used = true,
				       .own = burst_of(s->per_client),
				       .seen_ms = now_ms };
	memcpy(free->ip, ip, 16);
	s->used++;
	return free;
}

static unsigned wait_for(int64_t debt, uint64_t rate)
{
	uint64_t ms = (uint64_t)(debt + 1) * 1000 / (rate ? rate : 1) + 1;

	return ms < FILL_MS ? FILL_MS : ms < SHARE_WAIT_MAX_MS ? (unsigned)ms : SHARE_WAIT_MAX_MS;
}

unsigned share_wait_ms(struct share *s, const uint8_t ip[16], uint64_t now_ms)
{
	struct share_client *c;

	if (!s->rate && !s->per_client)
		return 0;
	c = client_of(s, ip, now_ms);
	fill(s, now_ms);
	if (s->per_client && c->own <= 0)
		return wait_for(-c->own, s->per_client);
	if (s->rate && c->part <= 0 && c->part + s->common <= 0)
		return wait_for(-c->part, s->rate / s->used);
	return 0;
}

void share_spent(struct share *s, const uint8_t ip[16], uint64_t now_ms, uint64_t bytes)
{
	struct share_client *c;
	int64_t n = (int64_t)bytes, take;

	if (!s->rate && !s->per_client)
		return;
	c = client_of(s, ip, now_ms);
	if (s->per_client)
		c->own -= n;
	if (!s->rate)
		return;
	/* Its own part first, then what nobody else wanted, then debt. */
	take = c->part > 0 ? capped(n, c->part) : 0;
	c->part -= take;
	n -= take;
	take = s->common > 0 ? capped(n, s->common) : 0;
	s->common -= take;
	c->part -= n - take;
}
