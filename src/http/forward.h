/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What of a message goes on to the next hop when a request is passed on as it is (RFC 9110 7.6).
 * Pure: a message in, bytes out.
 *
 * Invariants
 *  1. What goes on is framed by us alone: no Content-Length, Transfer-Encoding or Trailer of the
 *     sender's, and nothing that Connection names.
 *  2. Upgrade goes on for a WebSocket only ("h2c" would hide requests from us).
 *  3. Who the client is, by which scheme and name it came, is ours to say: its own X-Forwarded-For
 *     is added to (unless `anew`), its other X-Forwarded-* of these are dropped, "_" counting as
 *     "-" (as in CGI).
 */
#pragma once

#include "base/buf.h"
#include "http/msg.h"

struct forward {
	struct slice host;   /* the upstream's Host */
	struct slice client; /* address of the peer */
	bool https;          /* so the client came */
	bool anew;           /* whom its own X-Forwarded-For names is not believed */
	bool websocket;      /* its Upgrade goes on */
	enum body_kind body; /* of the request: NONE, LENGTH (body_bytes), CHUNKED */
	uint64_t body_bytes;
};

/* Is it a GET by HTTP/1.1, without a body, that asks for a WebSocket? */
bool forward_is_websocket(const struct msg *m);
/* Does an answer (101) say that it is one now? */
bool forward_is_switched(const struct msg *m);
/* The head of the request; false: it does not fit. */
bool forward_request(const struct msg *m, const struct forward *f, struct buf *out) must_check;
/* Does field number <i> of an answer go on? */
bool forward_answer_has(const struct msg *m, unsigned i);
