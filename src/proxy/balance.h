/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which of a pool's members to dial, and in which order: weights, ejection after failures, slow
 * return.  Pure: time is an argument, and members are addresses.
 *
 * Invariants
 *  1. Where there is a member, one is picked: if all are out, the one that is back first.
 *  2. A member is out for a bounded time, which doubles with each failure that follows its return
 *     and is short again once it has been well for as long as the slow return takes.
 *  3. A member is known by its id, which is never used again: who was connected to one that has
 *     gone reports to nobody.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "io/resolve.h"

enum {
	/* Of one pool: 16 servers of some addresses each. */
	MEMBERS_MAX = 64,
	BALANCE_WEIGHT_MAX = 256,
	EJECT_MIN_MS = 1000,
	EJECT_MAX_MS = 60 * 1000,
	/* After its return a member gets an eighth of its share, which grows to the whole. */
	RETURN_MS = 10 * 1000,
	/* Statuses of 5xx, one after the other: a single one may be the fault of what was asked. */
	EJECT_AFTER_5XX = 3,
	/* latency: one pick in so many goes to the member that was not picked for longest. */
	PROBE_EVERY = 8,
};

/* In the order of the words in the configuration. */
enum balance_mode { BALANCE_ROUNDROBIN, BALANCE_LEASTCONN, BALANCE_LATENCY };

/* What came of a connection. */
enum upconn_outcome {
	UPCONN_OK,      /* an answer, of no 5xx */
	UPCONN_CONNECT, /* no connection, or a much slower one than another member's */
	UPCONN_TLS,     /* the handshake failed, or its certificate was refused */
	UPCONN_TIMEOUT, /* no byte within the limit, or cut off before the end */
	UPCONN_5XX,
	UPCONN_BAD,   /* bytes of a wrong digest or length */
	UPCONN_CHECK, /* asked by itself, it was not well */
};

struct member {
	struct addr addr;
	unsigned weight; /* 1..BALANCE_WEIGHT_MAX */
	bool named;      /* the configuration names this very address */

	/* The rest is balance.c's, and read by who tells of it. */
	uint32_t id;
	unsigned in_use;
	int64_t credit;          /* round robin */
	uint64_t picked;         /* number of the last pick */
	uint64_t latency_us;     /* smoothed; 0: not known */
	unsigned fails;          /* 5xx in a row */
	unsigned level;          /* of the next ejection */
	enum upconn_outcome why; /* it was left out last */
	uint64_t out_until_ms;   /* it is out before this; 0: it never was */
	uint64_t ejections;
};

struct balance {
	enum balance_mode mode;
	unsigned count;
	uint32_t last_id;
	uint64_t picks;
	struct member v[MEMBERS_MAX];
	struct member *past; /* balance_inherit() */
	unsigned past_count;
};

static inline bool member_is_out(const struct member *m, uint64_t now_ms)
{
	return now_ms < m->out_until_ms;
}

void balance_init(struct balance *b, enum balance_mode mode);
void balance_fini(struct balance *b);
/*
 * Those who were members of <from>, and will be here, keep their history (but not their ids).
 * Without memory they have none.
 */
void balance_inherit(struct balance *b, const struct balance *from);
/*
 * The members from now on: of <v>, addr, weight and named are read.  Those that were members keep
 * their history.  More than MEMBERS_MAX are left out.
 */
void balance_set(struct balance *b, const struct member *v, unsigned count);
/* Whose turn it is; NULL: there is no member. */
struct member *balance_pick(struct balance *b, uint64_t now_ms);
/*
 * Who else may be tried after <first>, and after the <count> in <out>: next to be dialled first,
 * families in turn (RFC 8305 4), members that are out behind all others.  Returns how many.
 */
unsigned balance_others(const struct balance *b, const struct member *first, uint64_t now_ms,
			const struct member *out[MEMBERS_MAX]);
/* NULL: it has gone. */
struct member *balance_find(struct balance *b, uint32_t id);

/* A connection to it begins, ends to be used. */
void balance_begin(struct balance *b, uint32_t id);
void balance_end(struct balance *b, uint32_t id);
/* True: the member went out just now. */
bool balance_report(struct balance *b, uint32_t id, enum upconn_outcome what, uint64_t now_ms);
/*
 * A check's verdict.  <well>: one that is out is back, unless for what no check can judge (5xx,
 * wrong bytes); else it is out for <out_ms> at least.  True: that changed just now.
 */
bool balance_checked(struct balance *b, uint32_t id, bool well, uint64_t out_ms, uint64_t now_ms);
/* From the begin of connecting to the first byte of an answer. */
void balance_latency(struct balance *b, uint32_t id, uint64_t us);
