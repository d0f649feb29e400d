/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHUNK_BYTES = 2048 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t cap;
	size_t len;
	max_align_t data[];
};

void arena_init(struct arena *a, size_t limit_bytes)
{
	*a = (struct arena){ .limit_bytes = limit_bytes };
}

void arena_init_in(struct arena *a, size_t limit_bytes, void *mem, size_t mem_bytes)
{
	struct arena_chunk *c = mem;

	assert(mem_bytes > sizeof(*c));
	*c = (struct arena_chunk){ .cap = mem_bytes - sizeof(*c) };
	*a = (struct arena){ .first = c, .limit_bytes = limit_bytes, .given = true };
}

static void chunks_free(struct arena_chunk *c)
{
	while (c) {
		struct arena_chunk *next = c->next;

		free(c);
		c = next;
	}
}

void arena_reset(struct arena *a)
{
	a->used_bytes = 0;
	if (!a->first)
		return;
	chunks_free(a->first->next);
	a->first->next = NULL;
	a->first->len = 0;
}

void arena_fini(struct arena *a)
{
	arena_reset(a);
	if (!a->given)
		free(a->first);
	a->first = NULL;
	a->given = false;
}

/* New chunks go in second place, so that the first is the one that a reset keeps. */
static struct arena_chunk *arena_grow(struct arena *a, size_t bytes)
{
	size_t cap = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
	struct arena_chunk *c = malloc(sizeof(*c) + cap);

	if (!c)
		return NULL;
	c->cap = cap;
	c->len = 0;
	if (a->first) {
		c->next = a->first->next;
		a->first->next = c;
	} else {
		c->next = NULL;
		a->first = c;
	}
	return c;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	const size_t align = _Alignof(max_align_t);
	struct arena_chunk *c = a->first;
	char *p;

	assert(a->limit_bytes > 0);
	if (bytes > a->limit_bytes)
		return NULL;
	bytes = (bytes + align - 1) & ~(align - 1);
	if (bytes > a->limit_bytes - a->used_bytes)
		return NULL;
	if (c && c->cap - c->len < bytes)
		c = c->next;
	if (!c || c->cap - c->len < bytes)
		c = arena_grow(a, bytes);
	if (!c)
		return NULL;
	p = (char *)c->data + c->len;
	c->len += bytes;
	a->used_bytes += bytes;
	memset(p, 0, bytes);
	return p;
}

char *arena_dup(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.len + 1);

	if (p && s.len)
		memcpy(p, s.ptr, s.len);
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	p = arena_alloc(a, (size_t)n + 1);
	if (!p)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}
