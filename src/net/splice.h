/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bytes between two TCP sockets, both ways, unread: by splice(2) on the loop's thread, through
 * pooled pipes; copied through the worker's slab where there is no pipe.  Measured, that costs a
 * quarter less than the ring's receive and send, and the ring's own splice gives it back.
 *
 * Invariants
 *  1. Each way: bytes in a pipe go on before more are taken; a FIN is passed on when all before it
 *     went, and the other way goes on.
 *  2. At most one poll for each socket and direction is in flight.  A way that waits for its
 *     source holds no pipe.
 *  3. Nothing is lost: a way that cannot go on (err) ends both, and the owner cuts the sockets.
 *  4. The sockets are the owner's; they are closed after splice_end() was called.
 */
#pragma once

#include "net/net.h"
#include "net/pipes.h"

struct splice_way {
	struct splice *both;
	int from;
	int to;
	struct pipe pipe;
	size_t held; /* bytes in it */
	bool dry;    /* the last look took all that was there */
	bool eof;
	bool over; /* the FIN was passed on */
	struct op in_op;
	struct op out_op;
	uint64_t bytes; /* passed on */
};

struct splice {
	struct net *net;
	struct task *owner; /* woken when something can go on, and when all polls have ended */
	struct splice_way ways[2];
	unsigned inflight;
	bool ended;
	int err;
	int err_fd; /* the socket that it was of */
};

enum splice_state {
	SPLICE_MORE, /* its turn is over, there is more: call again */
	SPLICE_WAIT, /* the owner will be woken */
	SPLICE_OVER, /* both ways have ended */
	SPLICE_BROKEN,
};

/* ways[0] is from <a> to <b>; both non-blocking. */
void splice_init(struct splice *s, struct net *net, struct task *owner, int a, int b);
enum splice_state splice_run(struct splice *s) must_check;
/*
 * Gives back what it has; when <inflight> is 0, the owner having been woken, it is gone.  Legal
 * again and again, and on a zeroed struct.
 */
void splice_end(struct splice *s);
