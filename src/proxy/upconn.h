/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One HTTP/1.1 connection to an upstream host, or to a host that an upstream redirected to.  Kept
 * alive in the worker's idle list between uses.
 *
 * Invariants
 *  1. Nothing is dialled but an address that a configured mirror's request resolved to and that its
 *     `private` rule allows: the check is here, after the name was resolved, for every address.
 *  2. In use by exactly one fetch from upconn_get() to upconn_put(); idle or closing otherwise.
 *  3. An idle connection that receives anything, or its end, is closed.
 */
#pragma once

#include "base/buf.h"
#include "http/uri.h"
#include "io/resolve.h"
#include "net/stream.h"
#include "proxy/proxy.h"

enum upconn_state { UP_RESOLVING, UP_CONNECTING, UP_READY, UP_IDLE, UP_CLOSING };

struct upconn {
	struct proxy *proxy;
	struct mirror *mirror;
	struct list node; /* idle or closing list */
	struct task task;
	struct task *user; /* the fetch that has it */
	struct stream stream;
	struct resolve dns;
	struct timer timer; /* connect limit; idle limit */
	enum upconn_state state;
	int err; /* UP_READY was not and will not be reached */
	bool https;
	bool dns_busy;
	bool kept; /* it served a request before */
	bool stream_used;
	unsigned addr_next;
	uint16_t port;
	char host[256];
	struct buf in; /* received bytes not yet used; memory from head_pool while in use */
};

/*
 * An idle connection to that place, or a new one that is being made; <user> is woken as it
 * proceeds.  <fresh>: never a kept one.  NULL: UPCONNS_MAX is reached.
 */
struct upconn *upconn_get(struct proxy *p, struct mirror *m, const struct uri *to, bool fresh,
			  struct task *user) must_check;
/* Gives it back: <reusable> into the idle list, else it is closed. */
void upconn_put(struct upconn *u, bool reusable);
/* When draining: closes all idle ones. */
void upconn_close_idle(struct proxy *p);
