/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * HTTP/1.0 and 1.1 (RFC 9112), strict: what could be read in two ways is refused.  Bytes in,
 * message out; no sockets, no clock, no memory of its own.
 *
 * Refused: bare CR or LF in heads, obs-fold, space before the colon, control bytes and NUL, empty
 * names, both Content-Length and Transfer-Encoding, differing Content-Lengths (in requests also
 * repeated equal ones), transfer codings other than a single "chunked", chunked in HTTP/1.0, bad
 * chunk sizes, chunk extensions over 256 bytes, trailers over 8 KiB, missing Host in a 1.1 request,
 * double Host in any, targets that are neither origin-form nor absolute-form http(s), anything over
 * the limits.
 */
#pragma once

#include "http/msg.h"

enum h1_result { H1_MORE, H1_DONE, H1_BAD };

/* Why a message was refused; `status` is what to answer (400, 414, 431, 501, 505). */
struct h1_error {
	int status;      /* 502 for responses */
	const char *why; /* static */
};

/*
 * Parses a request head at the head of <data>.  H1_DONE: *used bytes belong to it (the body
 * follows).  H1_MORE: incomplete, and data.len < HTTP_HEAD_MAX: call again with all bytes so far.
 * One or two empty lines before a request are skipped.
 */
enum h1_result h1_parse_request(struct slice data, struct msg *m, size_t *used, struct h1_error *e);
/*
 * The same for a response; <head>: the request was a HEAD, so that no body follows.  1xx other than
 * 101 are for the caller to skip (status tells; their body is BODY_NONE); 101 is H1_BAD.
 */
enum h1_result h1_parse_response(struct slice data, bool head, struct msg *m, size_t *used,
				 struct h1_error *e);
/* The same, to a GET that asked for another protocol: 101 is an answer, behind which it begins. */
enum h1_result h1_parse_switch(struct slice data, struct msg *m, size_t *used, struct h1_error *e);

/* Body framing, resumable at any byte. */
struct h1_body {
	enum body_kind kind;
	uint64_t left; /* of the length, or of the chunk */
	uint8_t state; /* private */
	uint32_t seen; /* private: bytes of the current line or of the trailers */
};

void h1_body_init(struct h1_body *b, const struct msg *m);
/*
 * Takes from <in>: *used bytes are consumed; *out is the payload among them (a part of <in>, may be
 * empty).  H1_MORE: call again with what follows, of which some may be left in <in> (one chunk's
 * payload is given at a time); H1_DONE: the body is complete (nothing after *used belongs to it);
 * H1_BAD.  BODY_UNTIL_CLOSE never gets DONE: the stream's end ends it.
 */
enum h1_result h1_body_next(struct h1_body *b, struct slice in, size_t *used, struct slice *out);
