/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One client connection.  By HTTP/1.1: reads a request, runs an xfer, writes its answer, and again;
 * one request at a time, pipelined ones wait in the buffer.  By HTTP/2: a codec (http/h2.h) and a
 * call (call.h) for each request.
 *
 * Invariants
 *  1. A connection that waits for a request holds no buffer and no xfer (by HTTP/2, a codec).
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
	CLIENT_TUNNEL,  /* a site's answer was 101: it is a WebSocket now */
	CLIENT_PASS,    /* its connection is passed on: passage.h */
	CLIENT_H2,      /* HTTP/2: any of these, for each call */
	CLIENT_FINISH,  /* the xfer, or calls, give back what they have */
	CLIENT_CLOSING,
};

/* HTTP/2: whom the connection as a whole waits for; the client's timer is of it. */
enum client_waits {
	CLIENT_WAITS_NONE, /* upstream, the disk, or the calls' own timers */
	CLIENT_WAITS_IDLE, /* no call */
	CLIENT_WAITS_HEAD, /* a part of a head is there */
	CLIENT_WAITS_ROOM, /* it takes no bytes */
};

struct passage;

struct client {
	struct proxy *proxy;
	struct list node;
	struct task task;
	struct timer timer;
	struct stream stream;
	enum client_state state;
	enum listener_kind kind;
	struct buf in;       /* from head_pool while something is in it */
	struct xfer *xfer;   /* from xfer_pool while a request is served */
	struct h1_body form; /* of the request, for the xfer */
	bool unread;         /* some of its body */
	bool has_form;
	bool head_made; /* it is in the slab or beyond */
	bool keep;      /* another request may follow */
	bool chunked;
	bool body_done;
	bool served;     /* a request came */
	bool logged;     /* the xfer being finished */
	const char *end; /* for the access log: why the answer ended early; NULL: ok */

	struct passage *pass; /* or NULL */
	struct seat seat;
	struct timer pace_timer; /* until its share lets it have more */
	bool counted;            /* crowd_leave() is owed */

	/* HTTP/2. */
	struct h2 *h2;
	struct list calls;
	struct list calls_new; /* not run yet */
	unsigned calls_count;  /* on both */
	enum client_waits wait;
	bool warned;      /* that GOAWAY will be said */
	bool away;        /* GOAWAY was said */
	bool broken;      /* there is nothing more to say: the connection has to be cut */
	uint64_t sent_ms; /* when it last took bytes */
};

/* Takes fd. */
void client_accept(struct proxy *p, int fd, const struct addr *peer, enum listener_kind kind);
/* When draining: idle ones go at once. */
void clients_drain(struct proxy *p);
/* When the drain's time is over. */
void clients_kill(struct proxy *p);
