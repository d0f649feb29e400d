/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "http/range.h"
#include "proxy/fetch_private.h"
#include "proxy/oci.h"

static void fetch_body_done(struct fetch *f)
{
	loop_timer_clear(f->proxy->loop, &f->timer);
	f->state = FETCH_DONE;
	fetch_drop_token(f, false);
	if (f->conn)
		fetch_release(f, true);
}

/* Bytes that came with the head, or that need their chunk framing taken off. */
static int fetch_pull_framed(struct fetch *f, struct buf *into)
{
	struct buf *in = &f->conn->in;
	size_t used;
	struct slice out;
	enum h1_result r;

	/* Payload is a part of what is consumed: no more than fits may be looked at. */
	r = h1_body_next(&f->body, slice_first(buf_data(in), buf_room(into)), &used, &out);
	if (out.len && !buf_append(into, out))
		unreachable("payload longer than its room");
	buf_take(in, used);
	if (r == H1_BAD)
		return ERR_HTTP;
	f->whole = r == H1_DONE;
	if (out.len)
		return (int)out.len;
	return f->whole ? ERR_EOF : 0;
}

/* A body of known length (or up to the close) goes straight to where the owner wants it. */
static int fetch_pull_direct(struct fetch *f, struct buf *into)
{
	int n = stream_pull(f->conn->stream, into);

	if (n <= 0 || f->body.kind == BODY_UNTIL_CLOSE)
		return n;
	if ((uint64_t)n > f->body.left) {
		into->tail -= (size_t)n - (size_t)f->body.left;
		n = (int)f->body.left;
		f->over = true;
	}
	f->body.left -= (uint64_t)n;
	return n;
}

static int fetch_pull_some(struct fetch *f, struct buf *into)
{
	struct buf *in = &f->conn->in;
	int n;

	if (f->whole || f->body.kind == BODY_NONE ||
	    (f->body.kind == BODY_LENGTH && f->body.left == 0))
		return ERR_EOF;
	if (f->body.kind != BODY_CHUNKED && buf_len(in) == 0)
		return fetch_pull_direct(f, into);
	for (;;) {
		/* One call may take no more than a chunk's size line: go on while it takes. */
		for (size_t before = SIZE_MAX; buf_len(in) > 0 && buf_len(in) < before;) {
			before = buf_len(in);
			n = fetch_pull_framed(f, into);
			if (n != 0)
				return n;
		}
		buf_compact(in);
		n = stream_pull(f->conn->stream, in);
		if (n <= 0)
			return n;
	}
}

int fetch_pull(struct fetch *f, struct buf *into)
{
	int n;

	if (f->state == FETCH_DONE)
		return ERR_EOF;
	if (f->state == FETCH_FAILED)
		return f->err;
	assert(f->state == FETCH_BODY);
	assert(buf_room(into) > 0);
	n = fetch_pull_some(f, into);
	if (n > 0) {
		if (!f->o.place) {
			stat_add(&f->proxy->stats, STAT_BYTES_UP, n);
			if (f->o.mirror->meter)
				counter_add(&f->o.mirror->meter->bytes_up, (uint64_t)n);
		}
		loop_timer_clear(f->proxy->loop, &f->timer);
		return n;
	}
	if (n == 0) {
		if (!timer_armed(&f->timer))
			fetch_arm(f, upconn_idle_ms(f->conn));
		return 0;
	}
	/* Only a clean end of the stream ends a body that has no other end. */
	if (n == ERR_EOF && f->body.kind == BODY_UNTIL_CLOSE)
		f->over = true;
	else if (n == ERR_EOF && f->body.kind == BODY_LENGTH && f->body.left > 0)
		n = ERR_SHORT;
	else if (n == ERR_EOF && f->body.kind == BODY_CHUNKED && f->conn->stream->err)
		n = ERR_SHORT;
	if (n == ERR_EOF)
		fetch_body_done(f);
	else
		fetch_fail(f, n);
	return n;
}

bool fetch_is_rest(const struct fetch *f, uint64_t from, uint64_t total)
{
	uint64_t first, last, of;

	return f->msg.status == 206 &&
	       content_range_parse(msg_field(&f->msg, "Content-Range"), &first, &last, &of) &&
	       first == from && last + 1 == of && (total == BLOB_SIZE_UNKNOWN || of == total);
}

bool fetch_is_range(const struct fetch *f, uint64_t from, uint64_t to, uint64_t total)
{
	uint64_t first, last, of;

	return f->msg.status == 206 &&
	       content_range_parse(msg_field(&f->msg, "Content-Range"), &first, &last, &of) &&
	       first == from && last == to && of == total &&
	       (f->msg.body != BODY_LENGTH || f->msg.body_bytes == to - from + 1);
}

bool fetch_is_whole(const struct fetch *f, uint64_t total)
{
	const struct msg *m = &f->msg;

	return m->status == 200 &&
	       (m->body != BODY_LENGTH || total == BLOB_SIZE_UNKNOWN || m->body_bytes == total);
}

/* Grows by doubling up to <max>; 0 or an error. */
static int grow(struct buf *b, size_t max)
{
	size_t cap = b->cap ? b->cap * 2 : 16 * 1024;
	char *mem;

	if (buf_room(b) > 0)
		return 0;
	if (b->cap >= max)
		return ERR_LONG;
	if (cap > max)
		cap = max;
	mem = realloc(b->mem, cap);
	if (!mem)
		return -ENOMEM;
	b->mem = mem;
	b->cap = cap;
	return 0;
}

int fetch_skip(struct fetch *f, uint64_t *left, char *mem, size_t cap)
{
	struct buf scratch;
	int n;

	while (*left > 0) {
		buf_init(&scratch, mem, *left < cap ? (size_t)*left : cap);
		n = fetch_pull(f, &scratch);
		if (n <= 0)
			return n == ERR_EOF ? ERR_SHORT : n;
		*left -= (uint64_t)n;
	}
	return 1;
}

int fetch_pull_all(struct fetch *f, struct buf *body, size_t max)
{
	int n;

	do {
		n = grow(body, max);
		if (n == 0)
			n = fetch_pull(f, body);
	} while (n > 0);
	return n;
}

bool fetch_refusal(struct fetch *f, struct buf *body, struct blob_failure *why)
{
	struct slice text;

	if (f->told) {
		*why = *f->refusal;
		return true;
	}
	if (fetch_pull_all(f, body, ERROR_BODY_MAX) == 0)
		return false;
	text = oci_error_message(&f->arena, buf_data(body));
	*why = (struct blob_failure){ .status = f->msg.status };
	snprintf(why->message, sizeof(why->message), "%.*s", SLICE_FMT(text));
	return true;
}
