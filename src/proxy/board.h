/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What one worker lets others see of its work, beside counters: its most wanted images and its
 * fills.
 *
 * Invariants
 *  1. What happens is noted by the worker in memory of its own, without a lock.
 *  2. The worker copies that for others at most once in BOARD_MS, and only if something happened:
 *     the lock is held for one copy of bounded size.
 *  3. Readers are on any thread and see a state of the last BOARD_MS, or of when it was last busy.
 */
#pragma once

#include <pthread.h>

#include "base/slice.h"
#include "base/timer.h"
#include "base/top.h"
#include "cache/cache.h"

struct proxy;

enum { BOARD_MS = 500, BOARD_FILLS = 32, BOARD_NAME_MAX = 256 };

struct board_fill {
	char mirror[BOARD_NAME_MAX];
	char repo[BOARD_NAME_MAX];
	char digest[DIGEST_TEXT_MAX];
	bool manifest;
	uint64_t bytes;
	uint64_t size; /* BLOB_SIZE_UNKNOWN until known */
	uint64_t ms;   /* since it began */
};

struct board_view {
	struct top top;
	struct board_fill fills[BOARD_FILLS]; /* the oldest */
	unsigned fills_shown;
	unsigned fills_count; /* that run */
};

struct board {
	struct top top;
	struct timer timer;
	pthread_mutex_t lock; /* of view */
	struct board_view *view;
};

/* 0 or -ENOMEM. */
int board_init(struct board *b) must_check;
void board_fini(struct board *b);
/* An answer with something of an image in it. */
void board_note(struct proxy *p, struct slice mirror, struct slice repo, uint64_t bytes);
/* A fill began. */
void board_stir(struct proxy *p);
/* From any thread. */
void board_look(struct board *b, struct board_view *out);
