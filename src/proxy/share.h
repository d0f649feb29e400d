/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A rate, shared fairly by clients: who may send now, and who waits how long.  Pure: the clock is
 * the caller's, and so is the lock.
 *
 * Each client that has sent, or wanted to, within SHARE_IDLE_MS has a bucket; what the rate gives
 * is divided evenly among them.  What overflows, since its owner takes less than his part, goes to
 * a common bucket that any of them may take from: nothing is wasted, and many connections of one
 * client get no more than one of another.  A client may go into debt by one send.
 *
 * Invariants
 *  1. Over any time that is long beside SHARE_BURST_MS, at most rate x time bytes are let through,
 *     and to one client at most per_client x time.
 *  2. SHARE_CLIENTS_MAX clients have buckets of their own; more share those.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

enum {
	SHARE_CLIENTS_MAX = 256,
	SHARE_IDLE_MS = 1000,
	SHARE_BURST_MS = 100, /* of a rate that may be saved up */
	SHARE_WAIT_MAX_MS = 250,
};

struct share_client {
	uint8_t ip[16];
	bool used;
	int64_t part; /* bytes it may send of the rate; below 0: debt */
	int64_t own;  /* of per_client */
	uint64_t seen_ms;
};

struct share {
	uint64_t rate; /* bytes a second; 0: none */
	uint64_t per_client;
	uint64_t filled_ms;
	uint64_t rest; /* of a division: bytes x 1/1000 */
	int64_t common;
	unsigned used;
	struct share_client clients[SHARE_CLIENTS_MAX];
};

/* Rates may change at any time; what was saved or owed stays. */
void share_set(struct share *s, uint64_t rate, uint64_t per_client);
/* 0: it may send; else ask again in so many milliseconds. */
unsigned share_wait_ms(struct share *s, const uint8_t ip[16], uint64_t now_ms) must_check;
/* It has. */
void share_spent(struct share *s, const uint8_t ip[16], uint64_t now_ms, uint64_t bytes);
