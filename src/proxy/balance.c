/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/balance.h"

#include <stdlib.h>
#include <string.h>

enum {
	SHARE = 16,        /* of weights, so that a returning one has a part of 1 */
	LATENCY_SHARE = 4, /* a new value counts for a quarter */
};

void balance_init(struct balance *b, enum balance_mode mode)
{
	memset(b, 0, sizeof(*b));
	b->mode = mode;
}

void balance_fini(struct balance *b)
{
	free(b->past);
	b->past = NULL;
	b->past_count = 0;
}

void balance_inherit(struct balance *b, const struct balance *from)
{
	/* Who was not asked for since the last reload has it from there. */
	const struct member *v = from->count ? from->v : from->past;
	unsigned count = from->count ? from->count : from->past_count;

	assert(b->count == 0);
	assert(!b->past);
	b->past = count ? malloc(count * sizeof(*v)) : NULL;
	if (!b->past)
		return;
	memcpy(b->past, v, count * sizeof(*v));
	b->past_count = count;
}

static bool same_addr(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_port == b->in.sin_port &&
		       a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return a->in6.sin6_port == b->in6.sin6_port &&
	       memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
}

static struct member *find_addr(struct member *v, unsigned count, const struct addr *a)
{
	for (unsigned i = 0; i < count; i++)
		if (same_addr(&v[i].addr, a))
			return &v[i];
	return NULL;
}

static struct member new_member(struct balance *b, const struct addr *a)
{
	const struct member *past = find_addr(b->past, b->past_count, a);
	struct member m = past ? *past : (struct member){ .addr = *a };

	m.id = ++b->last_id;
	m.in_use = 0;
	m.credit = 0;
	m.picked = 0;
	return m;
}

void balance_set(struct balance *b, const struct member *v, unsigned count)
{
	unsigned old = b->count;
	struct member was[MEMBERS_MAX];

	memcpy(was, b->v, old * sizeof(was[0]));
	b->count = 0;
	for (unsigned i = 0; i < count && b->count < MEMBERS_MAX; i++) {
		struct member *m = find_addr(b->v, b->count, &v[i].addr);
		const struct member *before = find_addr(was, old, &v[i].addr);

		assert(v[i].weight >= 1);
		assert(v[i].weight <= BALANCE_WEIGHT_MAX);
		if (m) { /* twice in the list */
			m->named |= v[i].named;
			continue;
		}
		m = &b->v[b->count++];
		*m = before ? *before : new_member(b, &v[i].addr);
		m->weight = v[i].weight;
		m->named = v[i].named;
	}
}

/* Its weight, in parts: less for a while after it was out. */
static int64_t parts(const struct member *m, uint64_t now_ms)
{
	int64_t whole = (int64_t)m->weight * SHARE;
	uint64_t since = now_ms - m->out_until_ms;
	int64_t some;

	if (m->out_until_ms == 0 || since >= RETURN_MS)
		return whole;
	some = whole / 8 + whole * 7 / 8 * (int64_t)since / RETURN_MS;
	return some > 0 ? some : 1;
}

/* Smooth weighted round robin: everybody earns its weight, the richest pays for all. */
static struct member *turn(struct balance *b, uint64_t now_ms)
{
	struct member *best = NULL;
	int64_t total = 0;

	for (unsigned i = 0; i < b->count; i++) {
		struct member *m = &b->v[i];

		if (member_is_out(m, now_ms))
			continue;
		m->credit += parts(m, now_ms);
		total += parts(m, now_ms);
		if (!best || m->credit > best->credit)
			best = m;
	}
	if (best)
		best->credit -= total;
	return best;
}

/* Is <a> the better one of two that are in? */
static bool better(const struct balance *b, const struct member *a, const struct member *c,
		   uint64_t now_ms)
{
	uint64_t wa = (uint64_t)parts(a, now_ms), wc = (uint64_t)parts(c, now_ms);
	uint64_t x = 0, y = 0;

	switch (b->mode) {
	case BALANCE_ROUNDROBIN: return a->credit > c->credit;
	case BALANCE_LEASTCONN:
		x = (a->in_use + 1ull) * wc;
		y = (c->in_use + 1ull) * wa;
		break;
	case BALANCE_LATENCY:
		x = a->latency_us * wc;
		y = c->latency_us * wa;
		break;
	}
	return x != y ? x < y : a->picked < c->picked;
}

static struct member *best_of(struct balance *b, uint64_t now_ms)
{
	bool probe = b->mode == BALANCE_LATENCY && b->picks % PROBE_EVERY == 0;
	struct member *best = NULL;

	for (unsigned i = 0; i < b->count; i++) {
		struct member *m = &b->v[i];

		if (member_is_out(m, now_ms))
			continue;
		if (!best || (probe ? m->picked < best->picked : better(b, m, best, now_ms)))
			best = m;
	}
	return best;
}

static struct member *least_bad(struct balance *b)
{
	struct member *best = NULL;

	for (unsigned i = 0; i < b->count; i++)
		if (!best || b->v[i].out_until_ms < best->out_until_ms)
			best = &b->v[i];
	return best;
}

struct member *balance_pick(struct balance *b, uint64_t now_ms)
{
	struct member *m;

	b->picks++;
	m = b->mode == BALANCE_ROUNDROBIN ? turn(b, now_ms) : best_of(b, now_ms);
	if (!m)
		m = least_bad(b);
	if (m)
		m->picked = b->picks;
	return m;
}

/* Is <a> to be tried before <c>, after one of <family>? */
static bool before(const struct balance *b, const struct member *a, const struct member *c,
		   sa_family_t family, uint64_t now_ms)
{
	bool out = member_is_out(a, now_ms);
	bool other = a->addr.sa.sa_family != family;

	if (out != member_is_out(c, now_ms))
		return !out;
	if (other != (c->addr.sa.sa_family != family))
		return other;
	return out ? a->out_until_ms < c->out_until_ms : better(b, a, c, now_ms);
}

unsigned balance_others(const struct balance *b, const struct member *first, uint64_t now_ms,
			const struct member *out[MEMBERS_MAX])
{
	sa_family_t family = first->addr.sa.sa_family;
	bool taken[MEMBERS_MAX] = { false };
	unsigned n = 0;

	taken[first - b->v] = true;
	for (;;) {
		const struct member *next = NULL;

		for (unsigned i = 0; i < b->count; i++)
			if (!taken[i] && (!next || before(b, &b->v[i], next, family, now_ms)))
				next = &b->v[i];
		if (!next)
			return n;
		taken[next - b->v] = true;
		family = next->addr.sa.sa_family;
		out[n++] = next;
	}
}

struct member *balance_find(struct balance *b, uint32_t id)
{
	for (unsigned i = 0; i < b->count; i++)
		if (b->v[i].id == id)
			return &b->v[i];
	return NULL;
}

void balance_begin(struct balance *b, uint32_t id)
{
	struct member *m = balance_find(b, id);

	if (m)
		m->in_use++;
}

void balance_end(struct balance *b, uint32_t id)
{
	struct member *m = balance_find(b, id);

	if (!m)
		return;
	assert(m->in_use > 0);
	m->in_use--;
}

static void well(struct member *m, uint64_t now_ms)
{
	if (member_is_out(m, now_ms)) /* it was the least bad, and is good */
		m->out_until_ms = now_ms;
	else if (now_ms - m->out_until_ms >= RETURN_MS)
		m->level = 0;
}

bool balance_report(struct balance *b, uint32_t id, enum upconn_outcome what, uint64_t now_ms)
{
	struct member *m = balance_find(b, id);
	uint64_t ms;

	if (!m)
		return false;
	if (what == UPCONN_OK) {
		m->fails = 0;
		well(m, now_ms);
		return false;
	}
	if (what == UPCONN_5XX && ++m->fails < EJECT_AFTER_5XX)
		return false;
	if (member_is_out(m, now_ms)) /* one of several that were under way */
		return false;
	ms = (uint64_t)EJECT_MIN_MS << m->level;
	if (ms >= EJECT_MAX_MS)
		ms = EJECT_MAX_MS;
	else
		m->level++;
	m->out_until_ms = now_ms + ms;
	m->why = what;
	m->fails = 0;
	m->credit = 0;
	m->ejections++;
	return true;
}

bool balance_checked(struct balance *b, uint32_t id, bool is_well, uint64_t out_ms, uint64_t now_ms)
{
	struct member *m = balance_find(b, id);
	bool was_out = m && member_is_out(m, now_ms);

	if (!m)
		return false;
	if (!is_well) {
		(void)balance_report(b, id, UPCONN_CHECK, now_ms);
		if (m->out_until_ms < now_ms + out_ms)
			m->out_until_ms = now_ms + out_ms;
		return !was_out;
	}
	if (was_out && (m->why == UPCONN_BAD || m->why == UPCONN_5XX))
		return false;
	well(m, now_ms); /* its count of 5xx is not a check's to clear */
	return was_out;
}

void balance_latency(struct balance *b, uint32_t id, uint64_t us)
{
	struct member *m = balance_find(b, id);

	if (!m)
		return;
	if (us == 0)
		us = 1;
	m->latency_us = m->latency_us ? (m->latency_us * (LATENCY_SHARE - 1) + us) / LATENCY_SHARE
				      : us;
}
