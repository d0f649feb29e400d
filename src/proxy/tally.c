/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/tally.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	BUCKETS = 1024,
	CHAIN_MAX = 64, /* looked through under the lock: more tags of one repository at once */
};

struct tallies {
	pthread_mutex_t lock;
	unsigned count;
	unsigned over_count;
	struct list idle; /* the one that ended first, first */
	struct list over; /* out of the buckets, to be told of */
	struct list buckets[BUCKETS];
};
_Static_assert(sizeof(struct tally) < 1280, "the bound of the table is what this says");

struct tallies *tallies_new(void)
{
	struct tallies *ts = calloc(1, sizeof(*ts));

	if (!ts)
		return NULL;
	pthread_mutex_init(&ts->lock, NULL);
	list_init(&ts->idle);
	list_init(&ts->over);
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&ts->buckets[i]);
	return ts;
}

/* Nothing joins it any more. */
static void end(struct tallies *ts, struct tally *t)
{
	assert(t->running == 0);
	list_remove(&t->hash_node);
	list_remove(&t->idle_node);
	list_push(&ts->over, &t->idle_node);
	ts->count--;
	ts->over_count++;
}

void tallies_free(struct tallies *ts)
{
	while (ts && !list_empty(&ts->over))
		free(container_of(list_pop(&ts->over), struct tally, idle_node));
	for (unsigned i = 0; ts && i < BUCKETS; i++)
		while (!list_empty(&ts->buckets[i]))
			free(container_of(list_pop(&ts->buckets[i]), struct tally, hash_node));
	free(ts);
}

/* ---- which one ---- */

static struct slice ip_of(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		return (struct slice){ (const char *)&a->in6.sin6_addr, sizeof(a->in6.sin6_addr) };
	return (struct slice){ (const char *)&a->in.sin_addr, sizeof(a->in.sin_addr) };
}

static uint64_t fnv(uint64_t h, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.ptr[i]) * 0x100000001b3;
	return h;
}

static struct list *bucket_of(struct tallies *ts, const struct tally_request *r)
{
	uint64_t h = fnv(0xcbf29ce484222325, ip_of(r->client));

	h = fnv(fnv(fnv(h, r->mirror), r->repo), r->tenant);
	return &ts->buckets[(h ^ h >> 32) % BUCKETS];
}

/* As it is kept: cut. */
static bool is(const char *kept, size_t size, struct slice s)
{
	return slice_eq(slice_of(kept), slice_first(s, size - 1));
}

static bool is_of(const struct tally *t, const struct tally_request *r)
{
	return slice_eq(ip_of(&t->client), ip_of(r->client)) &&
	       is(t->mirror, sizeof(t->mirror), r->mirror) &&
	       is(t->repo, sizeof(t->repo), r->repo) && is(t->tenant, sizeof(t->tenant), r->tenant);
}

/* By its tag; or else the one that was used last.  *crowded: too many are alike. */
static struct tally *find(struct list *bucket, const struct tally_request *r, bool *crowded)
{
	const bool by_tag = r->ref.len > 0 && !r->by_digest;
	unsigned n = 0;

	list_for_each(it, bucket) {
		struct tally *t = container_of(it, struct tally, hash_node);

		*crowded = ++n > CHAIN_MAX;
		if (*crowded)
			return NULL;
		if (is_of(t, r) &&
		    (!by_tag || (t->ref[0] == ':' && is(t->ref + 1, sizeof(t->ref) - 1, r->ref))))
			return t;
	}
	return NULL;
}

/* ---- opening ---- */

static void keep(char *out, size_t size, struct slice s)
{
	s = slice_first(s, size - 1);
	memcpy(out, s.ptr ? s.ptr : "", s.len);
	out[s.len] = '\0';
}

static struct tally *tally_new(const struct tally_request *r, uint64_t now_ms)
{
	struct tally *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	list_init(&t->hash_node);
	list_init(&t->idle_node);
	t->client = *r->client;
	t->begun_ms = now_ms;
	keep(t->mirror, sizeof(t->mirror), r->mirror);
	keep(t->repo, sizeof(t->repo), r->repo);
	keep(t->tenant, sizeof(t->tenant), r->tenant);
	keep(t->agent, sizeof(t->agent), r->agent);
	if (r->ref.len) {
		t->ref[0] = r->by_digest ? '@' : ':';
		keep(t->ref + 1, sizeof(t->ref) - 1, r->ref);
	}
	return t;
}

/* By the one that was idle for longest, unless too many wait to be told of. */
static bool make_room(struct tallies *ts)
{
	if (ts->count < TALLIES_MAX)
		return true;
	if (list_empty(&ts->idle) || ts->over_count >= TALLIES_MAX)
		return false;
	end(ts, container_of(ts->idle.next, struct tally, idle_node));
	return true;
}

struct tally *tally_begin(struct tallies *ts, const struct tally_request *r, uint64_t now_ms)
{
	struct list *bucket = bucket_of(ts, r);
	bool crowded = false;
	struct tally *t;

	pthread_mutex_lock(&ts->lock);
	t = find(bucket, r, &crowded);
	if (t && r->ref.len > 0 && !r->by_digest && t->running == 0 && t->blobs > 0) {
		end(ts, t); /* the next pull of the same tag begins */
		t = NULL;
	}
	if (!t && !crowded && make_room(ts)) {
		t = tally_new(r, now_ms);
		ts->count += t != NULL;
	}
	if (t) {
		list_remove(&t->hash_node);
		list_push_front(bucket, &t->hash_node);
		list_remove(&t->idle_node);
		t->running++;
	}
	pthread_mutex_unlock(&ts->lock);
	return t;
}

/* ---- what came of it ---- */

void tally_end(struct tallies *ts, struct tally *t, const struct tally_part *part, uint64_t now_ms)
{
	const bool refused = part->status >= 400 && part->status != 401;

	pthread_mutex_lock(&ts->lock);
	assert(t->running > 0);
	t->requests++;
	t->gets += part->get;
	t->blobs += part->get && part->blob && part->status < 400;
	t->errors += refused || !part->whole;
	if (part->hit)
		t->hit_bytes += part->bytes;
	else
		t->miss_bytes += part->bytes;
	if (!part->blob || !t->manifest)
		t->status = part->status;
	t->manifest |= !part->blob;
	t->last_ms = now_ms;
	if (--t->running == 0)
		list_push(&ts->idle, &t->idle_node);
	pthread_mutex_unlock(&ts->lock);
}

static bool is_told(const struct tally *t)
{
	return t->gets > 0 || t->errors > 0;
}

static struct tally *take(struct tallies *ts, uint64_t now_ms, bool all)
{
	struct tally *t;

	for (;;) {
		while (!list_empty(&ts->over)) {
			t = container_of(list_pop(&ts->over), struct tally, idle_node);
			ts->over_count--;
			if (is_told(t))
				return t;
			free(t);
		}
		if (list_empty(&ts->idle))
			return NULL;
		t = container_of(ts->idle.next, struct tally, idle_node);
		if (!all && now_ms < t->last_ms + TALLY_IDLE_MS)
			return NULL;
		end(ts, t);
	}
}

struct tally *tally_take(struct tallies *ts, uint64_t now_ms, bool all)
{
	struct tally *t;

	pthread_mutex_lock(&ts->lock);
	t = take(ts, now_ms, all);
	pthread_mutex_unlock(&ts->lock);
	return t;
}

bool tallies_any(struct tallies *ts)
{
	bool any;

	pthread_mutex_lock(&ts->lock);
	any = ts->count > 0 || ts->over_count > 0;
	pthread_mutex_unlock(&ts->lock);
	return any;
}
