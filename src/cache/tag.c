/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/tag.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/cache_private.h"

int tags_init(struct tags *t)
{
	*t = (struct tags){ .buckets = calloc(TAG_BUCKETS, sizeof(struct tag_entry *)) };
	pthread_mutex_init(&t->lock, NULL);
	hash_seed_make(&t->seed);
	list_init(&t->lru);
	list_init(&t->dirty);
	return t->buckets ? 0 : -ENOMEM;
}

void tags_fini(struct tags *t)
{
	for (unsigned i = 0; t->buckets && i < TAG_BUCKETS; i++) {
		while (t->buckets[i]) {
			struct tag_entry *e = t->buckets[i];

			t->buckets[i] = e->next;
			free(e);
		}
	}
	free(t->buckets);
	pthread_mutex_destroy(&t->lock);
}

/*
 * Names have been parsed by whoever calls, but they become a path here, so nothing that could mean
 * another folder, or a file of ours, passes: no empty component, none that begins with a dot, in a
 * repository none that begins with '_', no control bytes.
 */
static bool tag_component_ok(struct slice s, bool repo)
{
	if (s.len == 0 || s.len > TAG_NAME_MAX || s.ptr[0] == '.' || (repo && s.ptr[0] == '_'))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '/' || (unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
			return false;
	return true;
}

static bool tag_repo_ok(struct slice repo)
{
	if (repo.len == 0 || repo.len > TAG_NAME_MAX || repo.ptr[repo.len - 1] == '/')
		return false;
	while (repo.len > 0)
		if (!tag_component_ok(slice_cut(&repo, '/'), true))
			return false;
	return true;
}

static bool tag_key(struct slice registry, struct slice repo, struct slice tag,
		    char out[TAG_KEY_MAX], struct slice *key)
{
	int n;

	if (!tag_component_ok(registry, true) || !tag_repo_ok(repo) ||
	    !tag_component_ok(tag, false))
		return false;
	n = snprintf(out, TAG_KEY_MAX, "%.*s/%.*s/_tags/%.*s", SLICE_FMT(registry), SLICE_FMT(repo),
		     SLICE_FMT(tag));
	assert(n > 0 && n < TAG_KEY_MAX);
	*key = (struct slice){ out, (size_t)n };
	return true;
}

static struct tag_entry **tags_find(struct tags *t, struct slice key)
{
	uint64_t hash = hash_bytes(&t->seed, key.ptr, key.len);
	struct tag_entry **at = &t->buckets[hash & (TAG_BUCKETS - 1)];

	while (*at && !slice_eq(key, (struct slice){ (*at)->key, (*at)->key_len }))
		at = &(*at)->next;
	return at;
}

static void tags_soil(struct tags *t, struct tag_entry *e)
{
	if (list_empty(&e->dirty))
		list_push(&t->dirty, &e->dirty);
}

static void tags_bury(struct tags *t, struct tag_entry *e)
{
	assert(!e->gone);
	e->gone = true;
	list_remove(&e->lru);
	t->count--;
	tags_soil(t, e);
}

/* The entry for <key>, made as one that is gone if there is none; NULL: no memory. */
static struct tag_entry *tags_get_or_make(struct tags *t, struct slice key)
{
	struct tag_entry **at = tags_find(t, key);
	struct tag_entry *e = *at;

	if (e)
		return e;
	e = calloc(1, sizeof(*e) + key.len);
	if (!e)
		return NULL;
	list_init(&e->lru);
	list_init(&e->dirty);
	e->gone = true;
	e->key_len = (uint16_t)key.len;
	memcpy(e->key, key.ptr, key.len);
	*at = e;
	return e;
}

static void tags_revive(struct tags *t, struct tag_entry *e)
{
	if (!e->gone)
		return;
	e->gone = false;
	t->count++;
	if (t->count > TAGS_MAX)
		tags_bury(t, container_of(t->lru.prev, struct tag_entry, lru));
}

bool tag_get(struct cache *c, struct slice registry, struct slice repo, struct slice tag,
	     struct tag_record *out)
{
	struct tags *t = &c->tags;
	char text[TAG_KEY_MAX];
	struct slice key;
	struct tag_entry *e;
	bool known;

	if (!tag_key(registry, repo, tag, text, &key))
		return false;
	pthread_mutex_lock(&t->lock);
	e = *tags_find(t, key);
	known = e && !e->gone;
	if (known) {
		*out = e->record;
		list_remove(&e->lru);
		list_push_front(&t->lru, &e->lru);
	}
	pthread_mutex_unlock(&t->lock);
	return known;
}

void tag_put(struct cache *c, struct slice registry, struct slice repo, struct slice tag,
	     const struct tag_record *r)
{
	struct tags *t = &c->tags;
	char text[TAG_KEY_MAX];
	struct slice key;
	struct tag_entry *e;

	if (!tag_key(registry, repo, tag, text, &key))
		return;
	pthread_mutex_lock(&t->lock);
	e = tags_get_or_make(t, key);
	if (e) {
		tags_revive(t, e);
		list_remove(&e->lru);
		list_push_front(&t->lru, &e->lru);
		e->record = *r;
		tags_soil(t, e);
	}
	pthread_mutex_unlock(&t->lock);
	cache_house(c, HOUSE_TAGS);
}

void tag_remove(struct cache *c, struct slice registry, struct slice repo, struct slice tag)
{
	struct tags *t = &c->tags;
	/* Until all files are read, one may be there that we know nothing of. */
	bool make = __atomic_load_n(&c->scanning, __ATOMIC_ACQUIRE);
	char text[TAG_KEY_MAX];
	struct slice key;
	struct tag_entry *e;

	if (!tag_key(registry, repo, tag, text, &key))
		return;
	pthread_mutex_lock(&t->lock);
	e = make ? tags_get_or_make(t, key) : *tags_find(t, key);
	if (e && !e->gone)
		tags_bury(t, e);
	else if (e)
		tags_soil(t, e);
	pthread_mutex_unlock(&t->lock);
	if (e)
		cache_house(c, HOUSE_TAGS);
}

bool tags_next_change(struct tags *t, struct tag_change *out)
{
	struct list *n;

	pthread_mutex_lock(&t->lock);
	n = list_pop(&t->dirty);
	if (n) {
		out->entry = container_of(n, struct tag_entry, dirty);
		out->record = out->entry->record;
		out->gone = out->entry->gone;
		snprintf(out->path, sizeof(out->path), "tags/%.*s", (int)out->entry->key_len,
			 out->entry->key);
	}
	pthread_mutex_unlock(&t->lock);
	return n != NULL;
}

/* Entries are freed here alone, so the helper's pointer was good all the time. */
void tags_change_done(struct tags *t, const struct tag_change *change)
{
	struct tag_entry *e = change->entry;

	pthread_mutex_lock(&t->lock);
	if (e->gone && list_empty(&e->dirty)) {
		struct tag_entry **at = tags_find(t, (struct slice){ e->key, e->key_len });

		assert(*at == e);
		*at = e->next;
		free(e);
	}
	pthread_mutex_unlock(&t->lock);
}

bool tags_add_old(struct tags *t, struct slice key, const struct tag_record *r)
{
	bool room;

	pthread_mutex_lock(&t->lock);
	room = t->count < TAGS_MAX;
	if (room && !*tags_find(t, key)) {
		struct tag_entry *e = tags_get_or_make(t, key);

		if (e) {
			tags_revive(t, e);
			e->record = *r;
			list_push(&t->lru, &e->lru);
		}
	}
	pthread_mutex_unlock(&t->lock);
	return room;
}

static unsigned tags_count(const struct tags *t, unsigned from)
{
	unsigned n = 0;

	for (unsigned i = from; i < from + TAGS_SOME_BUCKETS; i++)
		for (const struct tag_entry *e = t->buckets[i]; e; e = e->next)
			n += !e->gone;
	return n;
}

/* In pieces, so that a request never waits for the copy of all. */
bool tags_copy(struct tags *t, unsigned from, struct tags_some *out)
{
	unsigned n;

	assert(from + TAGS_SOME_BUCKETS <= TAG_BUCKETS);
	out->count = 0;
	pthread_mutex_lock(&t->lock);
	n = tags_count(t, from);
	if (n > out->cap) {
		free(out->v);
		out->v = calloc(n, sizeof(*out->v));
		out->cap = out->v ? n : 0;
	}
	for (unsigned i = from; out->cap >= n && i < from + TAGS_SOME_BUCKETS; i++) {
		for (const struct tag_entry *e = t->buckets[i]; e; e = e->next) {
			struct tag_copy *copy = &out->v[out->count];

			if (e->gone)
				continue;
			copy->record = e->record;
			copy->key_len = e->key_len;
			memcpy(copy->key, e->key, e->key_len);
			out->count++;
		}
	}
	pthread_mutex_unlock(&t->lock);
	return out->count == n;
}
