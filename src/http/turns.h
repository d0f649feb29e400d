/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whose turn it is among the streams of an HTTP/2 connection.  nghttp2 asks whom it likes; one that
 * is asked while it is another's turn is put off (deferred there) and comes in the order of asking,
 * so that a turn can be longer than a frame.  Who is not asked, by his client's wish, is not here.
 *
 * Invariants
 *  1. Who is put off is told by turns_next() once, or forgotten.
 *  2. At most TURNS_MAX are put off, each once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	TURNS_MAX = 16,
	/* A turn lasts for so many bytes, however little of them the window lets by. */
	TURN_BYTES = 48 * 1024,
};

/* All zero: nobody's turn. */
struct turns {
	int32_t id; /* whose it is; 0: whoever is asked first */
	bool over;  /* turns_next() is due */
	uint32_t took;
	unsigned off_count;
	int32_t off[TURNS_MAX];
};

/* May <id> go now?  False: he was put off.  (True, out of turn, if there is no place for that.) */
bool turns_may(struct turns *t, int32_t id);
/* <id> goes, with so many bytes. */
void turns_took(struct turns *t, int32_t id, uint32_t bytes);
/* Who was asked has nothing to send, or turns are not to be kept. */
void turns_leave(struct turns *t);
/* Whose turn is next: to be resumed; 0: nobody was put off. */
int32_t turns_next(struct turns *t);
/* <id> is no more. */
void turns_forget(struct turns *t, int32_t id);

/* Does anybody wait for turns_next()? */
static inline bool turns_waiting(const struct turns *t)
{
	return t->id != 0 || t->off_count > 0;
}
