/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client's TLS connection that a [passthrough] passes on to its server, unopened: the ClientHello
 * that was looked at goes first, behind a PROXY header if that is wanted, then all is spliced.
 *
 *   DIAL -> FIRST -> FLOW -> OVER
 *
 * It lives in its client, whose task runs it and whose timer limits it; the server's side is an
 * upconn, so pools, source addresses and outgoing proxies are as for mirrors.
 *
 * Invariants
 *  1. Nothing is dialled but the upstream, or the pool, of the section whose `sni` the client
 *     named.
 *  2. Nothing is sent to the client that did not come from the server.
 *  3. At most PASSAGES_MAX of a worker, beside conns_max.
 */
#pragma once

#include "net/splice.h"
#include "proxy/client.h"
#include "proxy/upconn.h"

enum passage_state {
	PASSAGE_DIAL,  /* the server is being connected to */
	PASSAGE_FIRST, /* what was read of the client, and of the server, is being sent */
	PASSAGE_FLOW,
	PASSAGE_OVER,
};

struct passage {
	struct client *client;
	const struct conf_passthrough *conf; /* of <mirror>'s generation */
	struct mirror *mirror;
	struct upconn *up;
	struct splice splice;
	enum passage_state state;
	uint64_t begun_ms;
	uint64_t first[2];   /* bytes that went before the splice; up, down */
	uint64_t counted[2]; /* what the statistics have of all */
	uint64_t moved_ms;   /* when bytes went last */
	const char *end;     /* for the access log; NULL: ok */
	int status;          /* the same */
};

/* For stream.divert: of a client's stream. */
bool passage_is_for(struct stream *s);
/* The client's stream is diverted.  False: it cannot be. */
bool passage_begin(struct client *c) must_check;
/* True: it is over, the client is to be closed.  False: its task will be woken. */
bool passage_run(struct passage *g) must_check;
/* By the client's timer.  False: it has been idle for too long, or has not come about in time. */
bool passage_rearm(struct passage *g) must_check;
/* The client ends, now. */
void passage_cut(struct passage *g, const char *why);
/* True: all is given back and it is gone.  False: the client's task will be woken. */
bool passage_close(struct passage *g) must_check;
