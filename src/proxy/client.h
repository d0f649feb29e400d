/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One client connection that speaks HTTP/1.1: reads a request, runs an xfer, writes its answer, and
 * again.  One request at a time; pipelined ones wait in the buffer.
 *
 * Invariants
 *  1. A connection that waits for a request holds no buffer and no xfer.
 *  2. Every state that waits for the client has a limit in time; what waits for upstream is limited
 *     there.
 *  3. An answer whose body cannot be finished ends by FIN without close_notify, never as if
 *     complete.
 */
#pragma once

#include "net/stream.h"
#include "proxy/xfer.h"

enum client_state {
	CLIENT_OPENING, /* TLS handshake */
	CLIENT_IDLE,    /* between requests: nothing received */
	CLIENT_HEAD,    /* a part of a head is there */
	CLIENT_XFER,    /* the answer is being found */
	CLIENT_SEND,    /* the answer is being sent */
	CLIENT_FINISH,  /* the xfer gives back what it has */
	CLIENT_CLOSING,
};

struct client {
	struct proxy *proxy;
	struct list node;
	struct task task;
	struct timer timer;
	struct stream stream;
	enum client_state state;
	enum listener_kind kind;
	struct buf in;     /* from head_pool while something is in it */
	struct xfer *xfer; /* from xfer_pool while a request is served */
	bool head_made;    /* it is in the slab or beyond */
	bool keep;         /* another request may follow */
	bool chunked;
	bool body_done;
	bool logged;     /* the xfer being finished */
	const char *end; /* for the access log: why the answer ended early; NULL: ok */
};

/* Takes fd. */
void client_accept(struct proxy *p, int fd, const struct addr *peer, enum listener_kind kind);
/* When draining: idle ones go at once. */
void clients_drain(struct proxy *p);
/* When the drain's time is over. */
void clients_kill(struct proxy *p);
