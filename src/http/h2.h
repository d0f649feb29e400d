/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * HTTP/2 (RFC 9113), the server's side of one connection: bytes in, requests out; answers in,
 * bytes out.  No sockets, no clock: what time it is, is told.  nghttp2 shows in h2.c alone.
 *
 * A request's head is written down as HTTP/1.1 would have it and goes through h1_parse_request(),
 * so there is one grammar of what is accepted, and no difference between the versions to abuse.
 *
 * Invariants
 *  1. A stream that was named by `request` or `refuse` is ended by one call of `ended`, after which
 *     it is not named again; h2_free() calls nothing.
 *  2. Body bytes are read straight into the caller's output and nowhere kept; a stream whose turn
 *     it is not, or that the peer gives no window, is not read.
 *  3. An answer counts as complete (END_STREAM) only when `body` said that it is.
 *  4. Streams take turns frame by frame, or by runs of H2_RUN_FRAMES that are read at once while
 *     there are H2_RUN_STREAMS_MAX at most; a client may order its own (RFC 9218, no tree of 7540).
 *  5. What a peer may have us hold: H2_STREAMS_MAX streams of under 1 KB here, one head of
 *     HTTP_HEAD_MAX, a table of 4 KB, H2_QUEUE_MAX frames that wait; no body of a request.
 *  6. What a peer may have us do for nothing is bounded by the second (buckets): then
 *     ENHANCE_YOUR_CALM, and the connection ends.
 */
#pragma once

#include <sys/uio.h>

#include "http/h1.h"
#include "http/turns.h"

enum {
	/* What browsers and Go open at most; nghttp2 refuses more. */
	H2_STREAMS_MAX = 100,
	/* Answers to pings and settings, resets: a peer that does not read them is not read. */
	H2_QUEUE_MAX = 128,
	/* The least room that h2_make() begins a frame in. */
	H2_ROOM_MIN = 1024,
	/* 64 KiB: beyond that the system call is a small part of a read. */
	H2_RUN_FRAMES = 4,
	/* More go frame by frame. */
	H2_RUN_STREAMS_MAX = TURNS_MAX,
};

struct h2;

enum h2_read { H2_WAIT = 0, H2_BROKEN = -1 };

/* Called from within h2_feed() and h2_make() only.  <owner> and <stream> are the user's. */
struct h2_ops {
	/*
	 * A request; <m> is valid during the call.  What is returned names the stream from now on;
	 * NULL: it is refused, unprocessed, so that the client may try again.
	 */
	void *(*request)(void *owner, int32_t id, const struct msg *m);
	/* The same for one that may be answered with e->status only. */
	void *(*refuse)(void *owner, int32_t id, const struct h1_error *e);
	/*
	 * > 0: bytes of the body put into <to>, from its beginning on (1 to H2_RUN_FRAMES places);
	 * H2_WAIT: none now, h2_resume() will be called.  *end: these were the last (then it may be
	 * none).  H2_BROKEN: there will be no more, and the connection has to be cut.
	 */
	int (*body)(void *stream, const struct iovec *to, unsigned count, bool *end);
	/*
	 * The request's body, if it is wanted: a piece, or its end.  NULL: none is.  In all, as
	 * much comes as the stream's first window holds, and what h2_used() said.
	 */
	void (*data)(void *stream, struct slice piece, bool end);
	/* The answer is on its way in whole, or the stream was reset, by whomever. */
	void (*ended)(void *stream);
};

/* <ops> and <owner> are borrowed.  NULL: no memory. */
struct h2 *h2_new(const struct h2_ops *ops, void *owner) must_check;
void h2_free(struct h2 *h);

/*
 * Takes all of <in>.  0; or negative: the connection is of no use any more, not even for a GOAWAY.
 */
int h2_feed(struct h2 *h, struct slice in, uint64_t now_ms) must_check;
/* Is a request's head half received? */
bool h2_in_head(const struct h2 *h);
/* Do so many answers to the peer's own frames wait that it should not be read? */
bool h2_is_full(const struct h2 *h);

/*
 * The answer to a stream that has not ended: status, fields (their names are sent in lower case),
 * and a body unless !body.  Negative: no memory.
 */
int h2_answer(struct h2 *h, int32_t id, int status, const struct field *fields, unsigned count,
	      bool body) must_check;
/* Before an answer: 100, for a client that waits for it before it sends its body. */
void h2_go_on(struct h2 *h, int32_t id);
/* So much of the request's body that `data` was given is used: the peer may send as much more. */
void h2_used(struct h2 *h, int32_t id, size_t bytes);
/* There may be more of a body that gave H2_WAIT. */
void h2_resume(struct h2 *h, int32_t id);
/* Is it the peer's window that this stream waits for? */
bool h2_is_blocked(const struct h2 *h, int32_t id);
/* Ends a stream early (CANCEL); `ended` is called by the next h2_make(). */
void h2_reset(struct h2 *h, int32_t id);

/*
 * No new streams; those there are go on.  The peer is told which of its requests were not seen.
 * <now>: they do not go on either.
 */
void h2_goaway(struct h2 *h, bool now);
/* h2_goaway() comes soon: the peer is to open no more streams, those on their way are served. */
void h2_warn(struct h2 *h);
/* Nothing will be received and nothing is to be sent: the connection may be closed. */
bool h2_is_over(const struct h2 *h);
/* Why the peer was told to calm down; NULL: it was not. */
const char *h2_calmed(const struct h2 *h);

/*
 * Makes output at <out>: > 0 bytes, 0: nothing now, or nothing that fits into less than
 * H2_ROOM_MIN, or `body` gave H2_BROKEN; negative: as for h2_feed().
 */
int h2_make(struct h2 *h, char *out, size_t room) must_check;
