/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What one worker knows of one host that is dialled: the addresses that are its members, which of
 * them are well, how many connections there are and who waits for one.  Every host has one, with
 * the settings of its [pool], or without any.
 *
 * Invariants
 *  1. Of one generation and its config: goes with it, or when nobody refers to it and its place is
 *     wanted.
 *  2. Members are what the names resolved to when they were last asked; a name that could not be
 *     asked keeps its addresses (io/resolve.h).
 *  3. conns counts the connections that have a slot, and is never more than conns_max, if there is
 *     one; a slot that is given back goes to who has waited longest.
 *  4. What /metrics reads is changed under proxy.uppools_lock only.
 */
#pragma once

#include "base/buf.h"
#include "http/uri.h"
#include "io/resolve.h"
#include "proxy/balance.h"
#include "proxy/proxy.h"

enum {
	/* Registries, token servers, CDNs, and what hostile redirects add. */
	UPPOOLS_MAX = 128,
	UPPOOL_SERVERS_MAX = 16,
	UPPOOL_ROWS_MAX = 64, /* of /metrics */
};

struct uppool;

/* A server of the pool, or the host itself, or its outgoing proxy. */
struct uppool_name {
	struct resolve q;
	struct uppool *pool;
	const char *host;
	uint16_t port;
	unsigned weight;
	bool asking;
	unsigned count;
	struct addr addrs[RESOLVE_ADDRS_MAX];
};

/* A place on a waiting list; lives in its owner. */
struct uppool_wait {
	struct list node;
	struct task *task;
	bool asked;   /* the names were asked for it */
	bool granted; /* of a slot: it is the owner's */
};

struct uppool {
	struct list node; /* in generation.uppools: the last used first */
	struct proxy *proxy;
	const struct conf_pool *conf; /* NULL: none */
	bool https;
	bool servers; /* members are those of conf->servers */
	uint16_t port;
	char host[256];
	unsigned refs; /* upconns */
	unsigned conns;
	unsigned idle;      /* of these */
	unsigned conns_max; /* 0: no bound */
	unsigned bind_next;
	bool warned;
	int err; /* of the last name that could not be resolved */
	struct list for_addrs;
	struct list for_slot;
	struct balance balance;
	unsigned names_count;
	struct uppool_name names[];
};

/* The one of that place; NULL: UPPOOLS_MAX are in use, or no memory. */
struct uppool *uppool_get(struct proxy *p, struct mirror *m, const struct uri *to) must_check;
void uppool_put(struct uppool *g);
/*
 * Before <g> is entered: what was known of the hosts of <old> that it dials by a pool of the same
 * name.
 */
void uppools_inherit(struct proxy *p, struct generation *g, const struct generation *old);
/* All of a generation, to which nobody refers. */
void uppools_free(struct list *uppools);

/*
 * Asks for the names again, if need be (answers are kept by TTL).  True: members are known, or
 * never will be.  False: <w>'s task is woken when to ask again.
 */
bool uppool_resolve(struct uppool *g, struct uppool_wait *w) must_check;
/* Is half of its slots in use? */
bool uppool_is_tight(const struct uppool *g);
/* True: the slot is the caller's.  False: <w>'s task is woken when it is (w->granted). */
bool uppool_slot(struct uppool *g, struct uppool_wait *w) must_check;
void uppool_slot_back(struct uppool *g);
/* See balance.h. */
uint32_t uppool_pick(struct uppool *g);
/* <others> has room for MEMBERS_MAX - 1. */
unsigned uppool_others(struct uppool *g, uint32_t first, uint32_t *others);
/* Is there a member but <id> that is not out? */
bool uppool_has_other(const struct uppool *g, uint32_t id) must_check;
void uppool_begin(struct uppool *g, uint32_t id);
void uppool_end(struct uppool *g, uint32_t id);
void uppool_latency(struct uppool *g, uint32_t id, uint64_t ms);
/* See balance.h. */
void uppool_checked(struct uppool *g, uint32_t id, bool well, uint64_t out_ms);
void uppool_report(struct uppool *g, uint32_t id, enum upconn_outcome what);

/*
 * The source address for a member of that family, the one of number <source> (upconn_get) or the
 * next in turn; *use: there is one, else the kernel chooses.  False: there are some, of the other
 * family only.
 */
bool uppool_bind(struct uppool *g, sa_family_t family, unsigned source, struct addr *out,
		 bool *use) must_check;

/* A member, of all workers together; <rows> has room for UPPOOL_ROWS_MAX.  Returns how many. */
struct uppool_row {
	char host[256];
	char member[ADDR_TEXT_MAX];
	unsigned in_use;
	unsigned out;            /* workers that leave it out */
	enum upconn_outcome why; /* if out: one of their reasons */
	uint64_t ejections;
	uint64_t latency_us; /* the longest of the workers' */
};
unsigned uppool_rows(const struct shared *s, uint64_t now_ms, struct uppool_row *rows);
/* The same as metrics; what does not fit is left out. */
void uppool_metrics(const struct shared *s, uint64_t now_ms, struct buf *out);
