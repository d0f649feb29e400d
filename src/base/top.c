/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/top.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* FNV-1a: names come from our own upstreams' images, and a collision costs a wrong count only. */
static uint64_t hash_more(uint64_t hash, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		hash = (hash ^ (unsigned char)s.ptr[i]) * 1099511628211u;
	return hash;
}

/* Its place, or the one that it takes over: an empty one, else that of the rarest. */
static struct top_entry *top_find(struct top *t, uint64_t hash, bool *is_new)
{
	struct top_entry *rarest = &t->v[0];

	*is_new = false;
	for (unsigned i = 0; i < t->used; i++) {
		if (t->v[i].hash == hash)
			return &t->v[i];
		if (t->v[i].count < rarest->count)
			rarest = &t->v[i];
	}
	*is_new = true;
	if (t->used == TOP_ENTRIES)
		return rarest;
	t->v[t->used] = (struct top_entry){ 0 };
	return &t->v[t->used++];
}

static void entry_append(struct top_entry *e, struct slice s)
{
	size_t room = sizeof(e->name) - e->len;

	s = slice_first(s, room);
	if (s.len)
		memcpy(e->name + e->len, s.ptr, s.len);
	e->len = (uint16_t)(e->len + s.len);
}

static void entry_begin(struct top_entry *e, uint64_t hash)
{
	e->hash = hash;
	e->error = e->count;
	e->bytes = 0;
	e->len = 0;
}

void top_add(struct top *t, struct slice folder, struct slice name, uint64_t count, uint64_t bytes)
{
	uint64_t hash = hash_more(14695981039346656037u, folder);
	struct top_entry *e;
	bool is_new;

	assert(count > 0);
	hash = hash_more(hash_more(hash, SLICE("/")), name);
	e = top_find(t, hash, &is_new);
	if (is_new) {
		entry_begin(e, hash);
		entry_append(e, folder);
		entry_append(e, SLICE("/"));
		entry_append(e, name);
	}
	e->count += count;
	e->bytes += bytes;
}

void top_merge(struct top *to, const struct top *from)
{
	for (unsigned i = 0; i < from->used; i++) {
		const struct top_entry *f = &from->v[i];
		bool is_new;
		struct top_entry *e = top_find(to, f->hash, &is_new);

		if (is_new) {
			entry_begin(e, f->hash);
			entry_append(e, top_name(f));
		}
		e->count += f->count;
		e->error += f->error;
		e->bytes += f->bytes;
	}
}

static int by_count(const void *pa, const void *pb)
{
	const struct top_entry *a = pa, *b = pb;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return a->bytes > b->bytes ? -1 : a->bytes < b->bytes;
}

void top_sort(struct top *t)
{
	qsort(t->v, t->used, sizeof(t->v[0]), by_count);
}
