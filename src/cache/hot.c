/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/hot.h"

#include <stdlib.h>

#include "base/list.h"
#include "cache/hash.h"

enum { HOT_BUCKETS = 1024 };

struct entry {
	struct list chain; /* of its bucket */
	struct list lru;   /* the most recently used first */
	struct digest digest;
	size_t len;
	char body[];
};

struct hot {
	struct hash_seed seed;
	struct list buckets[HOT_BUCKETS];
	struct list lru;
	unsigned count;
	size_t bytes;
};

struct hot *hot_new(void)
{
	struct hot *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	hash_seed_make(&h->seed);
	list_init(&h->lru);
	for (unsigned i = 0; i < HOT_BUCKETS; i++)
		list_init(&h->buckets[i]);
	return h;
}

static void entry_drop(struct hot *h, struct entry *e)
{
	list_remove(&e->chain);
	list_remove(&e->lru);
	h->count--;
	h->bytes -= e->len;
	free(e);
}

void hot_free(struct hot *h)
{
	if (!h)
		return;
	while (!list_empty(&h->lru))
		entry_drop(h, container_of(h->lru.next, struct entry, lru));
	free(h);
}

static struct list *bucket_of(struct hot *h, const struct digest *d)
{
	return &h->buckets[hash_bytes(&h->seed, d, sizeof(*d)) % HOT_BUCKETS];
}

static struct entry *entry_find(struct hot *h, const struct digest *d)
{
	struct list *bucket = bucket_of(h, d);

	list_for_each(n, bucket) {
		struct entry *e = container_of(n, struct entry, chain);

		if (digest_eq(&e->digest, d))
			return e;
	}
	return NULL;
}

const char *hot_get(struct hot *h, const struct digest *d, size_t *len)
{
	struct entry *e = h ? entry_find(h, d) : NULL;

	if (!e)
		return NULL;
	list_remove(&e->lru);
	list_push_front(&h->lru, &e->lru);
	*len = e->len;
	return e->body;
}

bool hot_put(struct hot *h, const struct digest *d, const char *body, size_t len)
{
	struct digest found;
	struct entry *e;

	assert(len <= HOT_BODY_MAX);
	digest_of((enum digest_alg)d->alg, (struct slice){ body, len }, &found);
	if (!digest_eq(&found, d))
		return false;
	if (!h || entry_find(h, d))
		return true;
	e = malloc(sizeof(*e) + len);
	if (!e)
		return true;
	while (h->count >= HOT_BODIES || h->bytes + len > HOT_BYTES)
		entry_drop(h, container_of(h->lru.prev, struct entry, lru));
	e->digest = *d;
	e->len = len;
	memcpy(e->body, body, len);
	list_init(&e->chain);
	list_init(&e->lru);
	list_push(bucket_of(h, d), &e->chain);
	list_push_front(&h->lru, &e->lru);
	h->count++;
	h->bytes += len;
	return true;
}
