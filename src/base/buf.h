/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A bounded byte queue in one piece of memory: bytes are appended at the tail and taken from the
 * head.  The memory belongs to whoever gave it (a pool, an arena); NULL memory means "no buffer".
 *
 * Invariant: head <= tail <= cap; data is always contiguous.
 */
#pragma once

#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/slice.h"

struct buf {
	char *mem;
	size_t head;
	size_t tail;
	size_t cap;
};

static inline void buf_init(struct buf *b, char *mem, size_t cap)
{
	*b = (struct buf){ .mem = mem, .cap = cap };
}

static inline size_t buf_len(const struct buf *b)
{
	return b->tail - b->head;
}

static inline struct slice buf_data(const struct buf *b)
{
	return (struct slice){ b->mem ? b->mem + b->head : NULL, b->tail - b->head };
}

static inline char *buf_tail(struct buf *b)
{
	return b->mem + b->tail;
}

/* Room at the tail without moving anything. */
static inline size_t buf_room(const struct buf *b)
{
	return b->cap - b->tail;
}

/* Bytes were written at the tail. */
static inline void buf_grew(struct buf *b, size_t n)
{
	assert(n <= b->cap - b->tail);
	b->tail += n;
}

/* Bytes were used up at the head. */
static inline void buf_take(struct buf *b, size_t n)
{
	assert(n <= b->tail - b->head);
	b->head += n;
	if (b->head == b->tail)
		b->head = b->tail = 0;
}

/* Moves the data to the front, so that all free room is at the tail. */
static inline void buf_compact(struct buf *b)
{
	if (b->head == 0)
		return;
	memmove(b->mem, b->mem + b->head, b->tail - b->head);
	b->tail -= b->head;
	b->head = 0;
}

/* All or nothing: false when it does not fit. */
static inline bool buf_append(struct buf *b, struct slice s)
{
	if (buf_room(b) < s.len)
		buf_compact(b);
	if (buf_room(b) < s.len)
		return false;
	if (s.len)
		memcpy(buf_tail(b), s.ptr, s.len);
	b->tail += s.len;
	return true;
}

/* All or nothing printf at the tail. */
bool buf_printf(struct buf *b, const char *fmt, ...) printf_like(2, 3);
