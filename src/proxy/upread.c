/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/upread.h"

#include <errno.h>

#include "base/err.h"

void upread_init(struct upread *r, const struct msg *m)
{
	*r = (struct upread){ .keep_alive = m->keep_alive };
	h1_body_init(&r->body, m);
}

/* Bytes that came with the head, or that need their chunk framing taken off. */
static int pull_framed(struct upread *r, struct buf *in, struct buf *into)
{
	size_t used;
	struct slice out;
	enum h1_result res;

	/* Payload is a part of what is consumed: no more than fits may be looked at. */
	res = h1_body_next(&r->body, slice_first(buf_data(in), buf_room(into)), &used, &out);
	if (out.len && !buf_append(into, out))
		unreachable("payload longer than its room");
	buf_take(in, used);
	if (res == H1_BAD)
		return ERR_HTTP;
	r->whole = res == H1_DONE;
	if (out.len)
		return (int)out.len;
	return r->whole ? ERR_EOF : 0;
}

/* A body of known length (or up to the close) goes straight to where the owner wants it. */
static int pull_direct(struct upread *r, struct stream *s, struct buf *into)
{
	int n = stream_pull(s, into);

	if (n <= 0 || r->body.kind == BODY_UNTIL_CLOSE)
		return n;
	if ((uint64_t)n > r->body.left) {
		into->tail -= (size_t)n - (size_t)r->body.left;
		n = (int)r->body.left;
		r->over = true;
	}
	r->body.left -= (uint64_t)n;
	return n;
}

static int pull_some(struct upread *r, struct upconn *u, struct buf *into)
{
	struct buf *in = &u->in;
	int n;

	if (upread_is_over(r))
		return ERR_EOF;
	if (r->body.kind != BODY_CHUNKED && buf_len(in) == 0)
		return pull_direct(r, u->stream, into);
	for (;;) {
		/* One call may take no more than a chunk's size line: go on while it takes. */
		for (size_t before = SIZE_MAX; buf_len(in) > 0 && buf_len(in) < before;) {
			before = buf_len(in);
			n = pull_framed(r, in, into);
			if (n != 0)
				return n;
		}
		buf_compact(in);
		n = stream_pull(u->stream, in);
		if (n <= 0)
			return n;
	}
}

/* Where the body may end and did not, or the other way round. */
static int ended(struct upread *r)
{
	/* Only a clean end of the stream ends a body that has no other end. */
	r->over = true;
	return r->body.kind == BODY_UNTIL_CLOSE ? ERR_EOF : ERR_SHORT;
}

int upread_pull(struct upread *r, struct upconn *u, struct buf *into)
{
	int n = pull_some(r, u, into);

	if (n != ERR_EOF || upread_is_over(r))
		return n;
	return ended(r);
}

int upread_splice(struct upread *r, struct upconn *u, struct stream *to, struct spill *p)
{
	uint64_t left = r->body.kind == BODY_LENGTH ? r->body.left : UINT64_MAX;
	int n;

	if (r->body.kind == BODY_CHUNKED || upread_is_over(r) || buf_len(&u->in) > 0)
		return -EAGAIN;
	n = stream_splice(u->stream, to, p, left);
	if (n == ERR_EOF)
		return ended(r);
	if (n > 0 && r->body.kind == BODY_LENGTH)
		r->body.left -= (uint64_t)n;
	return n;
}
