/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What each client address does, over all workers: connections, handshakes and requests a second,
 * passwords that were wrong.  The limits are [limits]'; the one on passwords is ours.
 *
 * Invariants
 *  1. An address is known while it has connections, and CROWD_KEPT_MS after it did something that
 *     counts.  At most CROWD_MAX are known; one more is not limited.
 *  2. An IPv6 address counts for its network of 64 bits: who has one has them all.
 *  3. Rates are token buckets of one second's worth.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "net/addr.h"

enum {
	CROWD_KEPT_MS = 60 * 1000,
	CROWD_MAX = 64 * 1024, /* 80 B each */
	/* Wrong passwords of one address: so many at once, then one in CROWD_WRONG_MS. */
	CROWD_WRONG_MAX = 10,
	CROWD_WRONG_MS = 3000,
};

struct crowd;

struct crowd *crowd_new(void) must_check;
void crowd_free(struct crowd *c);

/* Whom <a> counts for. */
void crowd_ip(const struct addr *a, uint8_t out[16]);
/* A connection of it: true: crowd_leave() is owed; false: it has too many, or all have. */
bool crowd_enter(struct crowd *c, const struct addr *a, const struct conf_limits *l, bool tls,
		 uint64_t now_ms) must_check;
void crowd_leave(struct crowd *c, const struct addr *a, uint64_t now_ms);
/* A request of it; false: it, or all, make too many. */
bool crowd_request(struct crowd *c, const struct addr *a, const struct conf_limits *l,
		   uint64_t now_ms) must_check;
/* May it try a password?  False: too many were wrong. */
bool crowd_may_guess(struct crowd *c, const struct addr *a, uint64_t now_ms) must_check;
void crowd_guessed_wrong(struct crowd *c, const struct addr *a, uint64_t now_ms);
