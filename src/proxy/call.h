/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One request of an HTTP/2 connection: its xfer, and its stream in the connection's codec.
 *
 *   XFER -> SEND -> OVER
 *
 * Invariants
 *  1. The codec knows a call until its `ended`, or until the client frees the codec; then it is
 *     OVER, and goes by its own task when the xfer has given back all.
 *  2. A call that waits for its client has a limit in time (send_timeout), unless others of the
 *     connection move and the order in which they do is the client's wish.
 */
#pragma once

#include "http/h2.h"
#include "proxy/xfer.h"

struct client;

enum call_state {
	CALL_XFER, /* the answer is being found */
	CALL_SEND, /* the codec reads its body */
	CALL_OVER, /* nothing more is sent */
};

struct call {
	struct client *client;
	struct list node; /* client.calls, before it has run client.calls_new */
	struct task task;
	struct timer timer;
	enum call_state state;
	int32_t id;
	bool body_done;
	bool logged;
	const char *end; /* for the access log: why the answer ended early; NULL: ok */
	struct xfer xfer;
};

/* The codec's: owner is a struct client, stream a struct call. */
extern const struct h2_ops call_ops;

/* As far as it goes; it may be gone then. */
void call_run(struct call *k);
/* The connection ends: so does the call.  The codec must not be asked for output any more. */
void call_cut(struct call *k, const char *why);
