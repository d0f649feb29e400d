/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/turns.h"

#include <string.h>

static unsigned find(const struct turns *t, int32_t id)
{
	unsigned i = 0;

	while (i < t->off_count && t->off[i] != id)
		i++;
	return i;
}

static void remove_at(struct turns *t, unsigned at)
{
	t->off_count--;
	memmove(t->off + at, t->off + at + 1, (t->off_count - at) * sizeof(*t->off));
}

bool turns_may(struct turns *t, int32_t id)
{
	if (t->id == 0 || t->id == id)
		return true;
	if (find(t, id) < t->off_count)
		return false;
	if (t->off_count == TURNS_MAX)
		return true;
	t->off[t->off_count++] = id;
	return false;
}

void turns_took(struct turns *t, int32_t id, uint32_t bytes)
{
	t->took = (t->id == id ? t->took : 0) + bytes;
	t->id = id;
	t->over = t->took >= TURN_BYTES;
}

void turns_leave(struct turns *t)
{
	t->id = 0;
	t->over = true;
}

int32_t turns_next(struct turns *t)
{
	t->id = 0;
	t->over = false;
	t->took = 0;
	if (t->off_count > 0) {
		t->id = t->off[0];
		remove_at(t, 0);
	}
	return t->id;
}

void turns_forget(struct turns *t, int32_t id)
{
	unsigned at = find(t, id);

	if (at < t->off_count)
		remove_at(t, at);
	if (t->id == id)
		turns_leave(t);
}
