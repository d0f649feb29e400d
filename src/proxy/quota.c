/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/quota.h"

#include <pthread.h>
#include <stdlib.h>

#include "http/msg.h"

enum { RETRY_AFTER_MAX_S = 86400, WINDOW_S = 6 * 3600 /* when none is said: Docker Hub's */ };

struct quota {
	uint64_t rest_until_ms[QUOTA_KINDS];
	uint64_t aside_until_ms;
	unsigned pauses; /* in a row, without Retry-After */
	uint64_t limit;
	uint64_t remaining;
	uint64_t known_until_ms; /* 0: these two are not known */
	uint64_t turn;           /* when it was picked for what costs */
};

struct quotas {
	pthread_mutex_t lock;
	unsigned count;
	uint64_t turn;
	struct quota accounts[];
};

/* ---- fields ---- */

static bool cut_number(struct slice *s, uint64_t *n)
{
	size_t i = 0;

	*n = 0;
	for (; i < s->len && s->ptr[i] >= '0' && s->ptr[i] <= '9'; i++) {
		if (*n > UINT64_MAX / 10 - 1)
			return false;
		*n = *n * 10 + (uint64_t)(s->ptr[i] - '0');
	}
	*s = slice_skip(*s, i);
	return i > 0;
}

bool ratelimit_parse(struct slice value, struct ratelimit *out)
{
	struct slice first, param;
	uint64_t n;

	*out = (struct ratelimit){ 0 };
	/* Several policies may stand in it: the first is what limits now. */
	value = slice_first(value, slice_find(value, ','));
	first = slice_trim(slice_cut(&value, ';'));
	if (!cut_number(&first, &out->requests) || first.len > 0)
		return false;
	while (value.len > 0) {
		param = slice_trim(slice_cut(&value, ';'));
		if (!slice_starts(param, SLICE("w=")))
			continue;
		param = slice_skip(param, 2);
		if (cut_number(&param, &n) && param.len == 0)
			out->window_s = n;
	}
	return true;
}

bool retry_after_parse(struct slice value, int64_t now_s, unsigned *seconds)
{
	int64_t at;
	uint64_t n;
	struct slice rest = value;

	*seconds = 0;
	if (cut_number(&rest, &n) && rest.len == 0) {
		*seconds = n > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (unsigned)n;
		return true;
	}
	if (!http_parse_date(value, &at))
		return false;
	if (at > now_s)
		*seconds = at - now_s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S
							  : (unsigned)(at - now_s);
	return true;
}

/* ---- accounts ---- */

struct quotas *quotas_new(unsigned accounts)
{
	struct quotas *q = calloc(1, sizeof(*q) + accounts * sizeof(q->accounts[0]));

	assert(accounts > 0 && accounts <= QUOTA_ACCOUNTS_MAX);
	if (!q)
		return NULL;
	pthread_mutex_init(&q->lock, NULL);
	q->count = accounts;
	return q;
}

void quotas_free(struct quotas *q)
{
	if (q)
		pthread_mutex_destroy(&q->lock);
	free(q);
}

void quotas_take_over(struct quotas *q, unsigned account, struct quotas *from, unsigned was)
{
	assert(account < q->count && was < from->count);
	pthread_mutex_lock(&from->lock);
	q->accounts[account] = from->accounts[was];
	if (q->turn < from->turn)
		q->turn = from->turn;
	pthread_mutex_unlock(&from->lock);
}

static bool is_known(const struct quota *a, uint64_t now_ms)
{
	return a->known_until_ms > now_ms;
}

/*
 * Is <a> the better one?  First those that are not aside; then those of which nothing is known,
 * since an account without limit is told none; then by what remains; then whose turn is longest
 * ago.
 */
static bool goes_before(const struct quota *a, const struct quota *b, uint64_t now_ms)
{
	bool a_aside = a->aside_until_ms > now_ms, b_aside = b->aside_until_ms > now_ms;

	if (a_aside != b_aside)
		return b_aside;
	if (is_known(a, now_ms) != is_known(b, now_ms))
		return is_known(b, now_ms);
	if (is_known(a, now_ms) && a->remaining != b->remaining)
		return a->remaining > b->remaining;
	return a->turn < b->turn;
}

static bool picked_later(const struct quota *a, const struct quota *b, uint64_t now_ms)
{
	bool a_aside = a->aside_until_ms > now_ms, b_aside = b->aside_until_ms > now_ms;

	return a_aside != b_aside ? b_aside : a->turn > b->turn;
}

static int pick(struct quotas *q, enum quota_kind kind, bool costs, uint32_t tried, uint64_t now_ms,
		unsigned *wait_s)
{
	uint64_t soonest_ms = UINT64_MAX;
	int best = -1;

	*wait_s = 0;
	for (unsigned i = 0; i < q->count; i++) {
		const struct quota *a = &q->accounts[i];

		if (tried & (1u << i))
			continue;
		if (a->rest_until_ms[kind] > now_ms) {
			if (a->rest_until_ms[kind] < soonest_ms)
				soonest_ms = a->rest_until_ms[kind];
			continue;
		}
		if (best < 0 || (costs ? goes_before(a, &q->accounts[best], now_ms)
				       : picked_later(a, &q->accounts[best], now_ms)))
			best = (int)i;
	}
	if (best < 0 && soonest_ms < UINT64_MAX)
		*wait_s = (unsigned)((soonest_ms - now_ms + 999) / 1000);
	if (best < 0 || !costs)
		return best;
	q->accounts[best].turn = ++q->turn;
	/* Until its answer tells: many go at once. */
	if (q->accounts[best].remaining > 0)
		q->accounts[best].remaining--;
	return best;
}

int quotas_pick(struct quotas *q, enum quota_kind kind, bool costs, uint32_t tried, uint64_t now_ms,
		unsigned *wait_s)
{
	int picked;

	pthread_mutex_lock(&q->lock);
	picked = pick(q, kind, costs, tried, now_ms, wait_s);
	pthread_mutex_unlock(&q->lock);
	return picked;
}

/* Only the first of those that were under way together makes the next pause longer. */
static uint64_t next_pause_ms(struct quota *a, enum quota_kind kind, uint64_t now_ms)
{
	uint64_t ms;

	if (a->rest_until_ms[kind] > now_ms)
		return a->rest_until_ms[kind] - now_ms;
	ms = (uint64_t)QUOTA_PAUSE_MS << a->pauses;
	if (ms >= QUOTA_PAUSE_MAX_MS)
		return QUOTA_PAUSE_MAX_MS;
	a->pauses++;
	return ms;
}

unsigned quotas_limited(struct quotas *q, unsigned account, enum quota_kind kind,
			unsigned retry_after_s, uint64_t max_ms, uint64_t now_ms)
{
	struct quota *a = &q->accounts[account];
	uint64_t ms;

	assert(account < q->count);
	pthread_mutex_lock(&q->lock);
	ms = retry_after_s ? retry_after_s * 1000ull : next_pause_ms(a, kind, now_ms);
	if (ms > max_ms)
		ms = max_ms;
	for (unsigned k = 0; k < QUOTA_KINDS; k++)
		if ((k == kind || kind == QUOTA_BLOB) && a->rest_until_ms[k] < now_ms + ms)
			a->rest_until_ms[k] = now_ms + ms;
	pthread_mutex_unlock(&q->lock);
	return (unsigned)((ms + 999) / 1000);
}

void quotas_answered(struct quotas *q, unsigned account, bool well, struct slice limit,
		     struct slice remaining, uint64_t now_ms)
{
	struct quota *a = &q->accounts[account];
	struct ratelimit most, left;
	bool told = limit.ptr && remaining.ptr && ratelimit_parse(limit, &most) &&
		    ratelimit_parse(remaining, &left);
	uint64_t window_s;

	assert(account < q->count);
	pthread_mutex_lock(&q->lock);
	if (well)
		a->pauses = 0;
	if (told) {
		window_s = left.window_s ? left.window_s : most.window_s;
		if (window_s == 0 || window_s > RETRY_AFTER_MAX_S)
			window_s = WINDOW_S;
		a->limit = most.requests;
		a->remaining = left.requests;
		a->known_until_ms = now_ms + window_s * 1000;
	}
	pthread_mutex_unlock(&q->lock);
}

bool quotas_aside(struct quotas *q, unsigned account, uint64_t now_ms)
{
	struct quota *a = &q->accounts[account];
	bool first;

	assert(account < q->count);
	pthread_mutex_lock(&q->lock);
	first = a->aside_until_ms <= now_ms;
	if (first)
		a->aside_until_ms = now_ms + QUOTA_ASIDE_MS;
	pthread_mutex_unlock(&q->lock);
	return first;
}

unsigned quotas_count(const struct quotas *q)
{
	return q->count;
}

void quotas_look(struct quotas *q, unsigned account, uint64_t now_ms, struct quota_view *out)
{
	const struct quota *a = &q->accounts[account];
	uint64_t until = 0;

	assert(account < q->count);
	pthread_mutex_lock(&q->lock);
	for (unsigned k = 0; k < QUOTA_KINDS; k++)
		if (a->rest_until_ms[k] > until)
			until = a->rest_until_ms[k];
	*out = (struct quota_view){
		.known = is_known(a, now_ms),
		.limit = a->limit,
		.remaining = a->remaining,
		.rest_s = until > now_ms ? (until - now_ms + 999) / 1000 : 0,
		.aside = a->aside_until_ms > now_ms,
	};
	pthread_mutex_unlock(&q->lock);
}
