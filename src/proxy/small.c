/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/small.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/hash.h"

enum { SMALL_BUCKETS = 4096 };

struct small_entry {
	struct small answer; /* its slices are in mem[] */
	struct small_entry *next;
	struct list lru;
	unsigned refs; /* atomic: the table's one, and readers' */
	uint64_t until_ms;
	size_t bytes;
	size_t key_len;
	char mem[]; /* the key first */
};

struct smalls {
	pthread_mutex_t lock;
	struct hash_seed seed;
	struct small_entry *buckets[SMALL_BUCKETS];
	struct list lru; /* latest used first */
	unsigned count;
	size_t bytes;
};

struct smalls *smalls_new(void)
{
	struct smalls *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	hash_seed_make(&s->seed);
	list_init(&s->lru);
	return s;
}

/* "mirror target", or none when it is too long. */
static struct slice make_key(const struct mirror *m, const char *target, char out[SMALL_KEY_MAX])
{
	int n = snprintf(out, SMALL_KEY_MAX, "%.*s %s", SLICE_FMT(m->name), target);

	return n < SMALL_KEY_MAX ? (struct slice){ out, (size_t)n } : SLICE_NONE;
}

static struct small_entry **find(struct smalls *s, struct slice key)
{
	uint64_t hash = hash_bytes(&s->seed, key.ptr, key.len);
	struct small_entry **at = &s->buckets[hash & (SMALL_BUCKETS - 1)];

	while (*at && !slice_eq(key, (struct slice){ (*at)->mem, (*at)->key_len }))
		at = &(*at)->next;
	return at;
}

static void unref(struct small_entry *e)
{
	unsigned before = __atomic_fetch_sub(&e->refs, 1, __ATOMIC_ACQ_REL);

	assert(before > 0);
	if (before == 1)
		free(e);
}

/* The lock is held. */
static void drop(struct smalls *s, struct small_entry **at)
{
	struct small_entry *e = *at;

	*at = e->next;
	list_remove(&e->lru);
	assert(s->count > 0 && s->bytes >= e->bytes);
	s->count--;
	s->bytes -= e->bytes;
	unref(e);
}

static void drop_last(struct smalls *s)
{
	struct small_entry *e = container_of(s->lru.prev, struct small_entry, lru);

	drop(s, find(s, (struct slice){ e->mem, e->key_len }));
}

void smalls_free(struct smalls *s)
{
	while (!list_empty(&s->lru))
		drop_last(s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

const struct small *small_get(struct smalls *s, const struct mirror *m, const char *target,
			      uint64_t now_ms)
{
	char text[SMALL_KEY_MAX];
	struct slice key = make_key(m, target, text);
	struct small_entry **at, *e = NULL;

	if (!key.ptr)
		return NULL;
	pthread_mutex_lock(&s->lock);
	at = find(s, key);
	if (*at && (*at)->until_ms <= now_ms) {
		drop(s, at);
	} else if (*at) {
		e = *at;
		__atomic_fetch_add(&e->refs, 1, __ATOMIC_RELAXED);
		list_remove(&e->lru);
		list_push_front(&s->lru, &e->lru);
	}
	pthread_mutex_unlock(&s->lock);
	return e ? &e->answer : NULL;
}

void small_put(const struct small *a)
{
	/* What the answer is a part of was never constant. */
	unref((struct small_entry *)((uintptr_t)a - offsetof(struct small_entry, answer)));
}

static struct slice copy(char **to, struct slice s)
{
	struct slice out = { *to, s.len };

	if (!s.ptr)
		return SLICE_NONE;
	memcpy(*to, s.ptr, s.len);
	*to += s.len;
	return out;
}

static struct small_entry *make(struct slice key, const struct small *a)
{
	size_t bytes = sizeof(struct small_entry) + key.len + a->type.len + a->filters.len +
		       a->digest.len + a->link.len + a->body.len;
	struct small_entry *e = malloc(bytes);
	char *to;

	if (!e)
		return NULL;
	*e = (struct small_entry){ .refs = 1, .bytes = bytes, .key_len = key.len };
	list_init(&e->lru);
	to = e->mem;
	copy(&to, key);
	e->answer = (struct small){
		.status = a->status,
		.type = copy(&to, a->type),
		.filters = copy(&to, a->filters),
		.digest = copy(&to, a->digest),
		.link = copy(&to, a->link),
		.body = copy(&to, a->body),
	};
	assert(to == (char *)e + bytes);
	return e;
}

void small_keep(struct smalls *s, const struct mirror *m, const char *target, const struct small *a,
		uint64_t until_ms)
{
	char text[SMALL_KEY_MAX];
	struct slice key = make_key(m, target, text);
	struct small_entry **at, *e;

	assert(a->status == 200 || a->status == 404);
	if (!key.ptr || a->body.len > SMALL_BODY_MAX)
		return;
	e = make(key, a);
	if (!e)
		return;
	e->until_ms = until_ms;
	pthread_mutex_lock(&s->lock);
	at = find(s, key);
	if (*at)
		drop(s, at);
	at = find(s, key);
	e->next = *at; /* NULL: the chain's end */
	*at = e;
	list_push_front(&s->lru, &e->lru);
	s->count++;
	s->bytes += e->bytes;
	while (s->count > SMALLS_MAX || s->bytes > SMALLS_BYTES_MAX)
		drop_last(s);
	pthread_mutex_unlock(&s->lock);
}
