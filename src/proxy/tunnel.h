/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What follows a 101: bytes both ways between a client's stream and its upstream's, until both have
 * ended.  Spliced where neither has TLS, else by the worker's slab.
 *
 * Invariants
 *  1. A way takes no more from its source than its target takes: what waits is at most one slab in
 *     each stream.
 *  2. An end is passed on, and the other way goes on.
 *  3. What was read before it began goes first.
 */
#pragma once

#include "net/splice.h"
#include "net/stream.h"

enum tunnel_state { TUNNEL_WAIT, TUNNEL_OVER, TUNNEL_BROKEN };

struct tunnel_way {
	struct stream *from;
	struct stream *to;
	struct buf *first; /* bytes of <from> that were read already; the owner's */
	bool over;
	uint64_t bytes;
};

struct tunnel {
	struct net *net;
	struct task *owner;
	struct tunnel_way ways[2]; /* up, down */
	struct splice splice;
	bool spliced;
	bool begun;
	bool down_broke; /* BROKEN: it was the client */
};

/* Borrows all until tunnel_end() has given true. */
void tunnel_init(struct tunnel *t, struct net *net, struct task *owner, struct tunnel_way up,
		 struct tunnel_way down);
enum tunnel_state tunnel_run(struct tunnel *t) must_check;
uint64_t tunnel_bytes(const struct tunnel *t, int way);
/* True: nothing is in flight any more.  False: the owner will be woken, call again. */
bool tunnel_end(struct tunnel *t);
