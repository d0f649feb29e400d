/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One HTTP/1.1 connection to an upstream host, or to a host that an upstream redirected to.  Kept
 * alive in the worker's idle list between uses.
 *
 * Members of the host's pool (uppool.h) are dialled as RFC 8305 wants: the next one STAGGER_MS
 * after the last or when that failed, families in turn; the first that is ready wins, the rest are
 * closed.
 *
 * Invariants
 *  1. Nothing is dialled but an address that a configured mirror's request resolved to and that its
 *     `private` rule allows: the check is here, after the name was resolved, for every address.  An
 *     address that the configuration itself gives its upstream's host, or an outgoing proxy, is
 *     allowed.  Through an outgoing proxy, names cannot be checked; addresses in their place are.
 *  2. In use by exactly one fetch from upconn_get() to upconn_put(); idle or closing otherwise.
 *  3. An idle connection that receives anything, or its end, is closed.
 *  4. It holds a slot of its pool from the moment that it dials until it is freed.
 */
#pragma once

#include "base/buf.h"
#include "http/uri.h"
#include "io/resolve.h"
#include "net/stream.h"
#include "proxy/proxy.h"
#include "proxy/uppool.h"

enum upconn_state { UP_RESOLVING, UP_QUEUED, UP_CONNECTING, UP_READY, UP_IDLE, UP_CLOSING };

enum {
	STAGGER_MS = 250,    /* RFC 8305 5 */
	TLS_STALL_MS = 1000, /* one that is connected, but not yet ready, is given so long */
};

/* One member that is dialled. */
struct attempt {
	struct stream stream;
	struct stream_dial dial;
	struct addr from; /* dial.bind */
	uint64_t begun_ms;
	uint32_t member; /* 0: not in use, or told of already */
};

struct upconn {
	struct proxy *proxy;
	struct mirror *mirror;
	struct list node; /* idle or closing list */
	struct task task;
	struct task *user;     /* the fetch that has it */
	struct stream *stream; /* the attempt's that won; NULL before */
	struct uppool *pool;
	struct uppool_wait wait;
	struct timer timer;   /* connect limit; idle limit */
	struct timer stagger; /* the next attempt */
	enum upconn_state state;
	int err;      /* UP_READY was not and will not be reached */
	int err_last; /* of an attempt */
	bool https;
	bool only; /* <member>, or nobody */
	bool kept; /* it served a request before */
	bool slot;
	bool spare;    /* its user takes a new one only if there are more than others need */
	bool dial_due; /* one failed: the next follows at once */
	uint16_t port;
	unsigned source;      /* as upconn_get() */
	uint32_t member;      /* that it is connected to */
	uint64_t asked_ms;    /* it was got, or began to dial */
	uint64_t connect_ms;  /* that took */
	unsigned order_count; /* members to try */
	unsigned order_next;
	uint32_t order[MEMBERS_MAX];
	struct attempt attempts[ATTEMPTS_MAX];
	char host[256];
	struct buf in; /* received bytes not yet used; memory from head_pool while in use */
};

/*
 * An idle connection to that place, or a new one that is being made; <user> is woken as it
 * proceeds.  <fresh>: never a kept one.  <source>: the number of the pool's bind address that it
 * comes from, 1 is the first of each family; 0: any.  NULL: UPCONNS_MAX is reached.
 */
struct upconn *upconn_get(struct proxy *p, struct mirror *m, const struct uri *to, bool fresh,
			  unsigned source, struct task *user) must_check;
/* A new one to <member> of the place's pool and to nobody else. */
struct upconn *upconn_get_member(struct proxy *p, struct mirror *m, const struct uri *to,
				 uint32_t member, struct task *user) must_check;
/* Is this error our own fault, or a name's, so that it says nothing of a member? */
bool upconn_is_ours(int err) must_check;
/* Its stream will be used as it is, without answers being parsed: it gives its buffer back. */
void upconn_use_raw(struct upconn *u);
/* One that waits for a slot may be changed for an idle one: gives the one to use. */
struct upconn *upconn_better(struct upconn *u) must_check;
/* Gives it back: <reusable> into the idle list, else it is closed. */
void upconn_put(struct upconn *u, bool reusable);
/* What came of it, for the choice of the next; before upconn_put(). */
void upconn_report(struct upconn *u, enum upconn_outcome what);
/*
 * Of one that was given back: what <member> sent for <to> was wrong (UPCONN_BAD), and another is to
 * be asked.  True: there is another that is not out.
 */
bool upconn_blame(struct proxy *p, struct mirror *m, const struct uri *to, uint32_t member);
/* When draining: closes all idle ones. */
void upconn_close_idle(struct proxy *p);

/* Limits of the pool, else of the mirror. */
uint64_t upconn_connect_ms(const struct upconn *u);
uint64_t upconn_first_byte_ms(const struct upconn *u);
uint64_t upconn_idle_ms(const struct upconn *u);
