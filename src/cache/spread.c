/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/spread.h"

void spread_begin(struct spread *s, uint64_t from, uint64_t size, uint64_t step)
{
	assert(from < size);
	assert(step > 0);
	*s = (struct spread){ .prefix = from, .next = from, .size = size, .step = step };
}

static struct stretch *spread_at(struct spread *s, unsigned i)
{
	return &s->v[(s->first + i) % SPREAD_STRETCHES];
}

static struct stretch *spread_new(struct spread *s)
{
	struct stretch *st;

	(void)spread_prefix(s); /* what was left since then makes room */
	if (s->next == s->size || s->count == SPREAD_STRETCHES)
		return NULL;
	st = spread_at(s, s->count++);
	*st = (struct stretch){ .at = s->next, .end = s->next + s->step, .taken = true };
	/* A short one at the end would cost a request of its own. */
	if (s->size - s->next <= s->step + s->step / 2)
		st->end = s->size;
	s->next = st->end;
	return st;
}

struct stretch *spread_take(struct spread *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		struct stretch *st = spread_at(s, i);

		if (!st->taken && st->at < st->end) {
			st->taken = true;
			return st;
		}
	}
	return spread_new(s);
}

struct stretch *spread_follow(struct spread *s, struct stretch *st)
{
	unsigned i = ((unsigned)(st - s->v) + SPREAD_STRETCHES - s->first) % SPREAD_STRETCHES;

	assert(st->taken);
	assert(st->at == st->end);
	assert(i < s->count);
	spread_leave(st);
	if (i + 1 == s->count)
		return spread_new(s);
	st = spread_at(s, i + 1);
	if (st->taken || st->at == st->end)
		return NULL;
	st->taken = true;
	return st;
}

void spread_wrote(struct stretch *st, uint64_t bytes)
{
	assert(st->taken);
	assert(bytes <= st->end - st->at);
	st->at += bytes;
}

void spread_leave(struct stretch *st)
{
	assert(st->taken);
	st->taken = false;
}

uint64_t spread_prefix(struct spread *s)
{
	while (s->count > 0 && !s->v[s->first].taken && s->v[s->first].at == s->v[s->first].end) {
		s->prefix = s->v[s->first].end;
		s->first = (s->first + 1) % SPREAD_STRETCHES;
		s->count--;
	}
	/* One that is written whole may still be somebody's. */
	for (unsigned i = 0; i < s->count; i++) {
		const struct stretch *st = spread_at(s, i);

		s->prefix = st->at;
		if (st->at < st->end)
			break;
	}
	return s->prefix;
}

bool spread_is_first(const struct spread *s, const struct stretch *st)
{
	return st->at == s->prefix;
}
