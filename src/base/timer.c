/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/timer.h"

#include <stddef.h>
#include <stdlib.h>

enum { FIRST_CAP = 64 };

void timers_init(struct timers *ts)
{
	*ts = (struct timers){ 0 };
}

void timers_fini(struct timers *ts)
{
	for (uint32_t i = 0; i < ts->count; i++) {
		ts->heap[i]->at = 0;
		ts->heap[i]->due_ms = 0;
	}
	free(ts->heap);
	*ts = (struct timers){ 0 };
}

static void heap_put(struct timers *ts, uint32_t i, struct timer *t)
{
	ts->heap[i] = t;
	t->at = i + 1;
}

/* Moves <t> from the hole at <i> towards the top, as far as it is earlier than what is there. */
static void heap_up(struct timers *ts, uint32_t i, struct timer *t)
{
	while (i > 0 && ts->heap[(i - 1) / 2]->heap_ms > t->heap_ms) {
		heap_put(ts, i, ts->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(ts, i, t);
}

static void heap_down(struct timers *ts, uint32_t i, struct timer *t)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child + 1 < ts->count &&
		    ts->heap[child + 1]->heap_ms < ts->heap[child]->heap_ms)
			child++;
		if (child >= ts->count || ts->heap[child]->heap_ms >= t->heap_ms)
			break;
		heap_put(ts, i, ts->heap[child]);
		i = child;
	}
	heap_put(ts, i, t);
}

static void heap_add(struct timers *ts, struct timer *t)
{
	if (ts->count == ts->cap) {
		uint32_t cap = ts->cap ? ts->cap * 2 : FIRST_CAP;
		struct timer **heap = realloc(ts->heap, cap * sizeof(*heap));

		assert(heap != NULL);
		ts->heap = heap;
		ts->cap = cap;
	}
	ts->count++;
	heap_up(ts, ts->count - 1, t);
}

static void heap_remove(struct timers *ts, struct timer *t)
{
	uint32_t i = t->at - 1;
	struct timer *last = ts->heap[--ts->count];

	t->at = 0;
	if (last == t)
		return;
	if (last->heap_ms < t->heap_ms)
		heap_up(ts, i, last);
	else
		heap_down(ts, i, last);
}

void timers_set(struct timers *ts, struct timer *t, uint64_t due_ms)
{
	assert(due_ms > 0);
	assert(t->fired != NULL);
	t->due_ms = due_ms;
	if (t->at == 0) {
		t->heap_ms = due_ms;
		heap_add(ts, t);
	} else if (due_ms < t->heap_ms) {
		assert(t->at <= ts->count && ts->heap[t->at - 1] == t);
		t->heap_ms = due_ms;
		heap_up(ts, t->at - 1, t);
	}
}

void timers_clear(struct timers *ts, struct timer *t)
{
	t->due_ms = 0;
	if (t->at == 0)
		return;
	assert(t->at <= ts->count && ts->heap[t->at - 1] == t);
	heap_remove(ts, t);
}

unsigned timers_run(struct timers *ts, uint64_t now_ms, unsigned max)
{
	unsigned fired = 0;

	while (fired < max && ts->count > 0 && ts->heap[0]->heap_ms <= now_ms) {
		struct timer *t = ts->heap[0];

		if (t->due_ms > t->heap_ms) { /* it was moved later meanwhile */
			t->heap_ms = t->due_ms;
			heap_down(ts, 0, t);
			continue;
		}
		timers_clear(ts, t);
		t->fired(t);
		fired++;
	}
	return fired;
}

uint64_t timers_next_ms(const struct timers *ts, uint64_t now_ms)
{
	if (ts->count == 0)
		return UINT64_MAX;
	return ts->heap[0]->heap_ms > now_ms ? ts->heap[0]->heap_ms - now_ms : 0;
}
