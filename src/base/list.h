/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Intrusive doubly linked ring.  A node that is on no list points at itself, so removal is always
 * legal.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/assert.h"

struct list {
	struct list *next;
	struct list *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *n)
{
	assert(n->next == n);
	n->next = at;
	n->prev = at->prev;
	at->prev->next = n;
	at->prev = n;
}

/* Appends at the tail of the list whose head is <l>. */
static inline void list_push(struct list *l, struct list *n)
{
	list_insert_before(l, n);
}

/* Puts at the front. */
static inline void list_push_front(struct list *l, struct list *n)
{
	list_insert_before(l->next, n);
}

static inline void list_remove(struct list *n)
{
	n->next->prev = n->prev;
	n->prev->next = n->next;
	list_init(n);
}

/* Takes the first node off, NULL if there is none. */
static inline struct list *list_pop(struct list *l)
{
	struct list *n = l->next;

	if (n == l)
		return NULL;
	list_remove(n);
	return n;
}

#define list_for_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define list_for_each_safe(it, head)                                                               \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                  \
	     it = it##_next, it##_next = it->next)
