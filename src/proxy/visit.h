/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One request for a [site], passed on to its upstream as it came, and the answer on its way back.
 * Knows nothing of who asked by which version of HTTP: the owner gives the request's body piece by
 * piece, and reads the answer's.
 *
 *   DIAL -> SEND -> HEAD -> BODY -> DONE
 *                   HEAD -> TUNNEL            101: the connection is a WebSocket now
 *   any -> FAILED
 *
 * The body of the request is sent in HEAD and BODY, so an answer may come before its end.
 *
 * Invariants
 *  1. The head that is sent is made by http/forward.h; bodies are framed anew both ways.
 *  2. A request goes out a second time only if a kept connection broke before a byte of an answer
 *     came, no byte of its body had been given, and its method is safe or nothing of it was sent.
 *  3. A connection is used again only when request and answer were both complete.
 *  4. What of the body waits is at most one slab in the stream; and by HTTP/2 what the client's
 *     window allows (visit_queue).
 *  5. When no byte moves for the site's `timeout`, it has failed.
 */
#pragma once

#include "proxy/tunnel.h"
#include "proxy/upread.h"

enum {
	/* The most that visit_give() takes: a chunk's framing fits beside it into the slab. */
	VISIT_PIECE_MAX = NET_PLAIN_BYTES - 32,
};

enum visit_state {
	VISIT_DIAL,
	VISIT_SEND,   /* its head is being sent */
	VISIT_HEAD,   /* the answer's is waited for */
	VISIT_BODY,   /* msg is valid */
	VISIT_TUNNEL, /* msg is valid */
	VISIT_DONE,   /* msg is valid; all of the answer was read */
	VISIT_FAILED,
};

struct visit {
	struct proxy *proxy;
	const struct conf_site *conf;
	struct mirror *mirror; /* of its generation: the site, for those who dial */
	struct task *owner;
	struct arena *arena; /* the owner's */
	struct timer timer;
	struct timer expect_timer;
	struct upconn *conn;
	enum visit_state state;
	int err;          /* FAILED */
	bool client_slow; /* the same: it is the client who gave nothing more */
	bool is_head;
	bool is_safe; /* its method changes nothing */
	bool websocket;
	bool fresh;   /* the retry: on a new connection */
	bool expects; /* the client waits for a 100 before it sends its body */
	bool go_on;   /* and may be told so */
	bool refused; /* upstream takes no more of the body */
	enum body_kind body;
	bool uploaded; /* all of the body was given */
	uint64_t up_bytes;
	uint64_t down_bytes;
	char *request; /* in the arena; wiped once it is not needed */
	size_t request_len;
	size_t request_sent;
	struct msg msg; /* slices into the arena */
	struct upread read;
	struct buf queue;       /* HTTP/2: what came and was not sent yet; malloc'ed */
	bool queue_last;        /* and all of it did come */
	struct spill spills[2]; /* bodies that are spliced: up, down */
	struct tunnel tunnel;
	uint64_t moved_ms; /* TUNNEL: when bytes went last */
	uint64_t moved;    /* the same: bytes by then */
};

struct visit_opts {
	unsigned site;         /* index in the configuration */
	const struct msg *msg; /* borrowed during visit_new() */
	const struct addr *client;
	bool https;    /* the client came by TLS, to us or to a balancer */
	bool believed; /* its X-Forwarded-For */
	struct task *owner;
	struct arena *arena;
};

/* NULL: VISITS_MAX is reached, no memory, or a head that would be too long. */
struct visit *visit_new(struct proxy *p, const struct visit_opts *o) must_check;
/* Goes as far as it can; true: the answer's head is there, or it has failed. */
bool visit_run(struct visit *v);
static inline bool visit_has_head(const struct visit *v)
{
	return v->state == VISIT_BODY || v->state == VISIT_TUNNEL || v->state == VISIT_DONE;
}

/* May a piece of the request's body be given now?  If not, the owner will be woken. */
bool visit_takes(const struct visit *v);
/* At most VISIT_PIECE_MAX bytes, all of which are taken; <last>: the body ends with them. */
void visit_give(struct visit *v, struct slice piece, bool last);
/* True, once: the client that waits for it may be told by a 100 to send its body. */
bool visit_may_go_on(struct visit *v);
/* The client cannot give the rest. */
void visit_fail(struct visit *v, int err);

/* For who cannot choose when a piece comes: it is kept.  False: no memory, or too much. */
bool visit_queue(struct visit *v, struct slice piece, bool last) must_check;
/* Gives what is kept, as far as that goes now; bytes that went. */
size_t visit_flush(struct visit *v);

/*
 * The same straight from the client's socket, <left> bytes of a body of known length.  > 0: so many
 * went; 0: wait; -EAGAIN: give pieces, for now; else the client's error.
 */
int visit_give_from(struct visit *v, struct stream *down, uint64_t left) must_check;

/* The answer's body: > 0: bytes put at <dst>; else enum body_wait. */
int visit_read(struct visit *v, char *dst, size_t cap) must_check;
/* The same straight to the client's socket: > 0, 0, -EAGAIN as above, else it has broken. */
int visit_read_to(struct visit *v, struct stream *down) must_check;

/* In TUNNEL: <down> and what was read of it; see tunnel_run(). */
enum tunnel_state visit_tunnel(struct visit *v, struct stream *down, struct buf *in) must_check;
/* Before the client's socket is closed. */
void visit_cut(struct visit *v);
/* True: it is gone.  False: the owner will be woken, call again. */
bool visit_close(struct visit *v) must_check;
