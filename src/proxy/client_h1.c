/* SPDX-License-Identifier: GPL-3.0-or-later */
/* HTTP/1.1 towards a client: reads a head, runs an xfer, writes its answer, and again. */
#include "proxy/client_private.h"

#include <errno.h>
#include <stdio.h>

#include "base/err.h"
#include "base/units.h"
#include "http/h1.h"
#include "proxy/login.h"
#include "proxy/reply.h"
#include "proxy/visit.h"

enum {
	/* "ffff\r\n" before a chunk, "\r\n" behind it, "0\r\n\r\n" at the end. */
	CHUNK_HEAD = 6,
	CHUNK_TAIL = 2,
	CHUNK_LAST = 5,
};

/* That is a secret, wherever in the buffer it was moved to. */
void client_h1_wipe(struct client *c)
{
	if (c->has_form && c->in.mem)
		explicit_bzero(c->in.mem, c->in.cap);
	c->has_form = false;
}

static bool client_borrow_buf(struct client *c)
{
	char *mem;

	if (c->in.mem)
		return true;
	mem = pool_get(&c->proxy->head_pool);
	if (!mem)
		return false;
	buf_init(&c->in, mem, HEAD_BUF_BYTES);
	return true;
}

static void client_return_buf(struct client *c)
{
	if (!c->in.mem || buf_len(&c->in) > 0)
		return;
	client_h1_wipe(c);
	pool_put(&c->proxy->head_pool, c->in.mem);
	buf_init(&c->in, NULL, 0);
}

static bool client_get_xfer(struct client *c)
{
	c->xfer = pool_get(&c->proxy->xfer_pool);
	c->end = NULL;
	c->served = true;
	c->head_made = c->chunked = c->body_done = false;
	return c->xfer != NULL;
}

/*
 * A balancer may speak HTTP/2 to the plain listener without asking.  True: *s is the next step; or
 * it is still to be seen.
 */
static bool client_is_h2(struct client *c, enum client_step *s)
{
	struct slice in = buf_data(&c->in);
	size_t n = in.len < client_h2_preface.len ? in.len : client_h2_preface.len;
	int err;

	if (c->kind != LISTEN_PLAIN || c->served || !c->proxy->config->server.http2 || n == 0 ||
	    !slice_eq(slice_first(in, n), slice_first(client_h2_preface, n)))
		return false;
	*s = STEP_WAIT;
	if (n < client_h2_preface.len)
		return true;
	*s = client_h2_begin(c);
	if (!c->h2)
		return true;
	err = client_h2_take(c, in);
	buf_take(&c->in, in.len);
	client_return_buf(c);
	if (err)
		*s = client_kill(c, true, NULL);
	return true;
}

static enum client_step client_refuse(struct client *c, const struct h1_error *e)
{
	stat_inc(&c->proxy->stats, STAT_REQUESTS_BAD);
	if (!client_get_xfer(c))
		return client_kill(c, true, NULL);
	xfer_start_error(c->xfer, c->proxy, &c->task, c->kind, e->status, e->why);
	c->keep = false;
	c->state = CLIENT_XFER;
	return STEP_MORE;
}

static enum client_step client_request(struct client *c, const struct msg *m)
{
	struct xfer_request r = client_asks(c, m);
	bool body = m->body != BODY_NONE && !(m->body == BODY_LENGTH && m->body_bytes == 0);

	if (!client_get_xfer(c))
		return client_kill(c, true, NULL);
	c->keep = m->keep_alive && !c->proxy->draining;
	c->unread = body;
	loop_timer_clear(c->proxy->loop, &c->timer);
	xfer_start(c->xfer, c->proxy, &c->task, &r);
	h1_body_init(&c->form, m);
	c->state = CLIENT_XFER;
	return STEP_MORE;
}

enum client_step client_h1_read(struct client *c)
{
	static const struct h1_error too_long = { 431, "the request's head is too long" };
	struct h1_error e;
	struct msg m;
	size_t used;
	int n;

	for (;;) {
		enum client_step s;
		bool h2;

		if (!client_borrow_buf(c))
			return client_kill(c, true, NULL);
		h2 = client_is_h2(c, &s);
		if (h2 && s == STEP_MORE)
			return s;
		switch (buf_len(&c->in) && !h2 ? h1_parse_request(buf_data(&c->in), &m, &used, &e)
					       : H1_MORE) {
		case H1_DONE: {
			s = client_request(c, &m);

			/* The block goes back to a pool: no credentials in it. */
			if (msg_field(&m, "Authorization").ptr)
				explicit_bzero(c->in.mem + c->in.head, used);
			buf_take(&c->in, used);
			client_return_buf(c);
			return s;
		}
		case H1_BAD: return client_refuse(c, &e);
		case H1_MORE: break;
		}
		if (buf_len(&c->in) >= HTTP_HEAD_MAX)
			return client_refuse(c, &too_long);
		buf_compact(&c->in);
		n = stream_pull(&c->stream, &c->in);
		if (n < 0)
			return client_kill(c, n == ERR_EOF || n == ERR_TLS_TRUNCATED, NULL);
		if (n == 0)
			break;
		if (c->state == CLIENT_IDLE) {
			c->state = CLIENT_HEAD;
			client_arm(c, c->proxy->config->server.header_timeout_ms);
		}
	}
	client_return_buf(c);
	return STEP_WAIT;
}

/* ---- writing the answer ---- */

/* Not by snprintf(): a dozen of them were a twentieth of a small request. */
static size_t put(char *at, size_t room, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value);

	if (n + v + 4 > room)
		return 0;
	memcpy(at, name, n);
	memcpy(at + n, ": ", 2);
	memcpy(at + n + 2, value, v);
	memcpy(at + n + 2 + v, "\r\n", 2);
	return n + v + 4;
}

static size_t make_status_line(char *h, int status)
{
	char *at = h + sizeof("HTTP/1.1 ") - 1;
	const char *reason = http_reason(status);

	memcpy(h, "HTTP/1.1 ", (size_t)(at - h));
	at = units_format_uint((uint64_t)status, at);
	*at++ = ' ';
	at = stpcpy(at, reason);
	memcpy(at, "\r\n", 2);
	return (size_t)(at + 2 - h);
}

/*
 * Into the slab, just before it is sent; returns its length.  Fields are few and short; a head that
 * would not fit loses fields, never its form.
 */
static size_t client_make_head(struct client *c, char *h)
{
	enum { HEAD_ROOM = HTTP_HEAD_MAX + 4096 };
	struct xfer *x = c->xfer;
	struct reply_head head;
	size_t n;

	_Static_assert((int)HEAD_ROOM < (int)NET_PLAIN_BYTES,
		       "a head and some of its body fit the slab");
	reply_head(x, &head);
	n = make_status_line(h, x->status);
	for (unsigned i = 0; i < head.count; i++)
		n += put(h + n, HEAD_ROOM - n - 128, head.fields[i].name, head.fields[i].value);
	c->chunked = x->body_bytes == BLOB_SIZE_UNKNOWN && x->minor >= 1;
	if (x->body_bytes == BLOB_SIZE_UNKNOWN && !c->chunked)
		c->keep = false;
	if (x->status == 101) {
		n += put(h + n, HEAD_ROOM - n, "Connection", "Upgrade");
		n += put(h + n, HEAD_ROOM - n, "Upgrade", "websocket");
		memcpy(h + n, "\r\n", 2);
		c->head_made = true;
		return n + 2;
	}
	if (c->chunked)
		n += put(h + n, HEAD_ROOM - n, "Transfer-Encoding", "chunked");
	if (!c->keep)
		n += put(h + n, HEAD_ROOM - n, "Connection", "close");
	else if (x->minor == 0)
		n += put(h + n, HEAD_ROOM - n, "Connection", "keep-alive");
	memcpy(h + n, "\r\n", 2);
	c->head_made = true;
	return n + 2;
}

/* The request's body, which the xfer asks for.  WAIT: more is to come. */
static enum client_step client_form(struct client *c)
{
	struct xfer *x = c->xfer;
	struct slice piece;
	enum h1_result r;
	size_t used;
	int n;

	if (!c->has_form)
		client_arm(c, c->proxy->config->server.header_timeout_ms);
	c->has_form = true;
	while (x->state == XFER_FORM) {
		if (!client_borrow_buf(c))
			return client_kill(c, true, "no_memory");
		r = h1_body_next(&c->form, buf_data(&c->in), &used, &piece);
		if (r == H1_BAD)
			return client_kill(c, true, "bad_request");
		login_form(x, piece, r == H1_DONE);
		buf_take(&c->in, used);
		if (r == H1_DONE || used > 0)
			continue;
		buf_compact(&c->in);
		n = stream_pull(&c->stream, &c->in);
		if (n < 0)
			return client_kill(c, false, "client_gone");
		if (n == 0)
			return STEP_WAIT;
	}
	loop_timer_clear(c->proxy->loop, &c->timer);
	client_return_buf(c);
	return STEP_MORE;
}

/* False: it has to wait. */
static bool client_go_on(struct client *c)
{
	static const struct slice go_on = { "HTTP/1.1 100 Continue\r\n\r\n", 25 };
	struct visit *v = c->xfer->visit;

	if (!v->go_on || !stream_writable(&c->stream) || !visit_may_go_on(v))
		return true;
	return stream_send(&c->stream, go_on, false) >= 0;
}

/* As visit_give_from(), if nothing of it is in our buffer. */
static int client_upload_splice(struct client *c)
{
	int n;

	if (c->form.kind != BODY_LENGTH || c->form.left == 0 || buf_len(&c->in) > 0)
		return -EAGAIN;
	n = visit_give_from(c->xfer->visit, &c->stream, c->form.left);
	if (n > 0)
		c->form.left -= (uint64_t)n;
	c->unread = c->form.left > 0;
	return n;
}

/*
 * The request's body goes on to a site's server as far as that takes it: while its answer is waited
 * for, and while it is sent.
 */
static enum client_step client_upload(struct client *c)
{
	struct visit *v = c->xfer->visit;
	size_t sent = 0;

	if (!v || !c->unread)
		return STEP_MORE;
	if (c->state == CLIENT_XFER && !client_go_on(c))
		return client_kill(c, false, "client_gone");
	while (c->unread && visit_takes(v)) {
		struct slice piece;
		enum h1_result r;
		size_t used;
		int n;

		if (sent >= CLIENT_TURN_BYTES) {
			loop_wake(c->proxy->loop, &c->task);
			break;
		}
		n = client_upload_splice(c);
		if (n > 0) {
			sent += (size_t)n;
			continue;
		}
		if (n != -EAGAIN && n < 0)
			return client_kill(c, false, "client_gone");
		if (n == 0)
			break;
		if (!client_borrow_buf(c))
			return client_kill(c, true, "no_memory");
		r = h1_body_next(&c->form, slice_first(buf_data(&c->in), VISIT_PIECE_MAX), &used,
				 &piece);
		if (r == H1_BAD)
			return client_kill(c, true, "bad_request");
		c->unread = r != H1_DONE;
		if (piece.len || !c->unread)
			visit_give(v, piece, !c->unread);
		buf_take(&c->in, used);
		sent += piece.len;
		if (used > 0 || !c->unread)
			continue;
		buf_compact(&c->in);
		n = stream_pull(&c->stream, &c->in);
		if (n < 0)
			return client_kill(c, false, "client_gone");
		if (n == 0)
			break;
	}
	client_return_buf(c);
	return STEP_MORE;
}

enum client_step client_h1_xfer(struct client *c)
{
	if (c->stream.err)
		return client_kill(c, false, "client_gone");
	while (!xfer_run(c->xfer)) {
		if (c->xfer->state == XFER_SITE) {
			(void)client_upload(c);
			return c->state == CLIENT_XFER ? STEP_WAIT : STEP_MORE;
		}
		if (c->xfer->state != XFER_FORM || client_form(c) == STEP_WAIT)
			return STEP_WAIT;
		if (c->state != CLIENT_XFER)
			return STEP_MORE;
	}
	/* What of its body is still to come would be taken for a request. */
	if (c->xfer->close || c->proxy->draining || c->unread)
		c->keep = false;
	reply_count(c->xfer);
	c->body_done = !reply_has_body(c->xfer);
	c->state = CLIENT_SEND;
	client_arm(c, c->proxy->config->server.send_timeout_ms);
	return STEP_MORE;
}

/* Reads body bytes behind what is in the slab already; the number, or enum body_wait. */
static int client_compose(struct client *c, char *at, size_t room)
{
	char size[16];
	int n;

	if (!c->chunked) {
		n = body_read(&c->xfer->body, at, room);
		c->body_done = n == BODY_END;
		return n;
	}
	n = body_read(&c->xfer->body, at + CHUNK_HEAD, room - CHUNK_HEAD - CHUNK_TAIL);
	if (n == BODY_END) {
		memcpy(at, "0\r\n\r\n", CHUNK_LAST);
		c->body_done = true;
		return CHUNK_LAST;
	}
	if (n <= 0)
		return n;
	snprintf(size, sizeof(size), "%04x\r\n", (unsigned)n);
	memcpy(at, size, CHUNK_HEAD);
	memcpy(at + CHUNK_HEAD + n, "\r\n", CHUNK_TAIL);
	return n + CHUNK_HEAD + CHUNK_TAIL;
}

/* Everything that is ready, in one slab and one send: 0 when there is nothing now, < 0 broken. */
static int client_send_slab(struct client *c)
{
	char *slab = c->proxy->net.plain;
	size_t len = c->head_made ? 0 : client_make_head(c, slab);
	int n = BODY_WAIT;

	while (!c->body_done && NET_PLAIN_BYTES - len > CHUNK_HEAD + CHUNK_TAIL) {
		n = client_compose(c, slab + len, NET_PLAIN_BYTES - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (n == BODY_BROKEN) {
		c->end = reply_broken(c->xfer);
		return -EIO;
	}
	if (len == 0)
		return 0;
	n = stream_send(&c->stream, (struct slice){ slab, len }, false);
	assert(n < 0 || (size_t)n == len);
	return n;
}

/* < 0: -EAGAIN, the page is not in memory; else as stream_send(). */
static int client_send_file(struct client *c)
{
	struct body *b = &c->xfer->body;
	uint64_t off;
	size_t len;
	int fd, n;

	if (!c->head_made || c->chunked || c->body_done || !stream_takes_files(&c->stream))
		return -EAGAIN;
	if (b->visit) {
		n = visit_read_to(b->visit, &c->stream);
		if (n > 0)
			body_skip(b, (size_t)n);
		if (n < 0 && n != -EAGAIN)
			c->end = reply_broken(c->xfer);
		return n;
	}
	if (!body_file(b, &fd, &off, &len))
		return -EAGAIN;
	n = stream_send_file(&c->stream, fd, off, len);
	if (n > 0)
		body_skip(b, (size_t)n);
	return n;
}

enum client_step client_h1_send(struct client *c)
{
	size_t sent = 0;
	int n;

	(void)client_upload(c);
	if (c->state != CLIENT_SEND)
		return STEP_MORE;
	while (!c->head_made || !c->body_done) {
		if (c->stream.err)
			return client_kill(c, false, "client_gone");
		if (!stream_writable(&c->stream))
			return STEP_WAIT;
		if (sent >= CLIENT_TURN_BYTES) {
			loop_wake(c->proxy->loop, &c->task);
			return STEP_WAIT;
		}
		if (!client_may_send(c)) {
			loop_timer_clear(c->proxy->loop, &c->timer);
			return STEP_WAIT;
		}
		n = client_send_file(c);
		if (n == -EAGAIN)
			n = client_send_slab(c);
		if (n < 0)
			return client_kill(c, false, c->stream.err ? "client_gone" : "broken");
		if (n > 0) {
			sent += (size_t)n;
			client_sent(c, (size_t)n);
			client_arm(c, c->proxy->config->server.send_timeout_ms);
		} else if (!c->body_done) {
			/* Upstream or the disk is waited for, not the client. */
			if (stream_writable(&c->stream))
				loop_timer_clear(c->proxy->loop, &c->timer);
			return STEP_WAIT;
		}
	}
	c->state = c->xfer->status == 101 ? CLIENT_TUNNEL : CLIENT_FINISH;
	return STEP_MORE;
}

/* A visit has its own limits in time. */
enum client_step client_h1_tunnel(struct client *c)
{
	struct visit *v = c->xfer->visit;

	loop_timer_clear(c->proxy->loop, &c->timer);
	switch (visit_tunnel(v, &c->stream, &c->in)) {
	case TUNNEL_WAIT: return STEP_WAIT;
	case TUNNEL_OVER: return client_kill(c, true, NULL);
	case TUNNEL_BROKEN: break;
	}
	return client_kill(c, v->client_slow,
			   v->client_slow         ? "idle"
			   : v->tunnel.down_broke ? "client_gone"
						  : "upstream");
}

/* ---- after an answer ---- */

enum client_step client_h1_finish(struct client *c)
{
	if (!c->logged)
		reply_log(c->xfer, &c->stream, c->end);
	c->logged = true;
	if (!xfer_close(c->xfer))
		return STEP_WAIT;
	c->logged = false;
	pool_put(&c->proxy->xfer_pool, c->xfer);
	c->xfer = NULL;
	if (c->stream.state != STREAM_OPEN) {
		c->state = CLIENT_CLOSING;
		return STEP_MORE;
	}
	/* Who was told that he may ask again, does so while we linger. */
	if (!c->keep || (c->proxy->draining && !c->proxy->lingering))
		return client_kill(c, true, NULL);
	c->state = buf_len(&c->in) ? CLIENT_HEAD : CLIENT_IDLE;
	client_arm(c, c->state == CLIENT_HEAD ? c->proxy->config->server.header_timeout_ms
					      : c->proxy->config->server.idle_timeout_ms);
	return STEP_MORE;
}
