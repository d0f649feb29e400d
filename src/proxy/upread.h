/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The body of an answer as it comes on an upstream connection, its framing taken off.
 *
 * Invariant: what is given is exactly as long as the framing says, or reading ends with an error;
 * after ERR_EOF, upread_is_clean() says whether the connection can serve another request.
 */
#pragma once

#include "http/h1.h"
#include "proxy/upconn.h"

struct upread {
	struct h1_body body;
	bool keep_alive; /* the answer's head allows another request */
	bool whole;      /* the framing said that the body is complete */
	bool over;       /* bytes beyond the body came: not reusable */
};

/* <m>: the answer's head. */
void upread_init(struct upread *r, const struct msg *m);
/* All of it was given; ERR_EOF is what follows. */
static inline bool upread_is_over(const struct upread *r)
{
	return r->whole || r->body.kind == BODY_NONE ||
	       (r->body.kind == BODY_LENGTH && r->body.left == 0);
}
static inline bool upread_is_clean(const struct upread *r)
{
	return r->keep_alive && !r->over;
}
/*
 * > 0: bytes added to <into>; 0: nothing now, the connection's user will be woken; ERR_EOF: the
 * body is complete; else error.
 */
int upread_pull(struct upread *r, struct upconn *u, struct buf *into) must_check;
/*
 * The same straight to <to>, as far as stream_splice() can; -EAGAIN: it is to be pulled, for now.
 */
int upread_splice(struct upread *r, struct upconn *u, struct stream *to,
		  struct spill *p) must_check;
