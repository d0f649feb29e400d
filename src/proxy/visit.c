/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/visit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "http/forward.h"
#include "proxy/body.h"

enum step { STEP_MORE, STEP_WAIT };

enum {
	/*
	 * An upstream that knows nothing of Expect waits for the body: after so long the client is
	 * told to send it.  (Clients that give up waiting do so after a second.)
	 */
	EXPECT_MS = 1000,
	/* By HTTP/2: the window that its stream has. */
	QUEUE_MAX = 64 * 1024,
};

static void visit_timeout(struct timer *t);
static void visit_expect_timeout(struct timer *t);

static void visit_arm(struct visit *v)
{
	loop_timer_set(v->proxy->loop, &v->timer, proxy_now(v->proxy) + v->conf->timeout_ms);
}

static void visit_disarm(struct visit *v)
{
	loop_timer_clear(v->proxy->loop, &v->timer);
	loop_timer_clear(v->proxy->loop, &v->expect_timer);
}

/* ---- beginning ---- */

static bool make_request(struct visit *v, const struct visit_opts *o)
{
	const struct msg *m = o->msg;
	char client[ADDR_TEXT_MAX];
	struct forward f = {
		.host = v->conf->host_rewrite ? slice_of(v->conf->host_rewrite) : m->authority,
		.https = o->https,
		.anew = !o->believed,
		.websocket = v->websocket,
		.body = v->body,
		.body_bytes = m->body_bytes,
	};
	size_t room = 512 + m->method_text.len + m->target.len + f.host.len + m->authority.len;
	struct buf out;
	char *mem;

	addr_format_ip(o->client, client);
	f.client = slice_of(client);
	for (unsigned i = 0; i < m->fields_count; i++)
		room += m->fields[i].name.len + m->fields[i].value.len + 4;
	mem = arena_alloc(v->arena, room);
	if (!mem)
		return false;
	buf_init(&out, mem, room);
	v->request = mem;
	v->request_len = room;
	if (!forward_request(m, &f, &out))
		return false;
	v->request_len = buf_len(&out);
	return true;
}

static void wipe_request(struct visit *v)
{
	if (v->request)
		explicit_bzero(v->request, v->request_len);
	v->request = NULL;
}

struct visit *visit_new(struct proxy *p, const struct visit_opts *o)
{
	const struct msg *m = o->msg;
	struct visit *v;

	if (p->visits_count == VISITS_MAX)
		return NULL;
	v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	v->proxy = p;
	v->conf = &p->config->sites[o->site];
	v->mirror = &p->mirrors[p->config->mirrors_count + p->config->passes_count + o->site];
	v->owner = o->owner;
	v->arena = o->arena;
	v->is_head = m->method == METHOD_HEAD;
	v->is_safe = v->is_head || m->method == METHOD_GET || m->method == METHOD_OPTIONS;
	v->websocket = forward_is_websocket(m);
	v->body = m->body == BODY_UNTIL_CLOSE ? BODY_CHUNKED : m->body;
	v->uploaded = v->body == BODY_NONE || (v->body == BODY_LENGTH && m->body_bytes == 0);
	v->expects = m->expect_continue && !v->uploaded;
	timer_init(&v->timer, visit_timeout);
	timer_init(&v->expect_timer, visit_expect_timeout);
	p->visits_count++;
	if (make_request(v, o))
		return v;
	if (!visit_close(v))
		unreachable("nothing of it is in flight");
	return NULL;
}

/* ---- ends ---- */

void visit_fail(struct visit *v, int err)
{
	assert(err < 0);
	if (v->state == VISIT_DONE || v->state == VISIT_FAILED)
		return;
	log_debug("site=%s upstream=%s state=%d err=\"%s\"", v->conf->name, v->conf->upstream.text,
		  v->state, err_text(err));
	visit_disarm(v);
	visit_cut(v);
	if (v->conn)
		upconn_put(v->conn, false);
	v->conn = NULL;
	v->err = err;
	v->state = VISIT_FAILED;
	loop_wake(v->proxy->loop, v->owner);
}

/* Upstream, or the way to it, is to blame. */
static void visit_broken(struct visit *v, int err)
{
	stat_inc(&v->proxy->stats, STAT_SITE_ERRORS);
	log_limited(LOG_WARN, "site=%s upstream=%s failed: %s", v->conf->name,
		    v->conf->upstream.text, err_text(err));
	if (v->conn && v->conn->state == UP_READY && !upconn_is_ours(err))
		upconn_report(v->conn, UPCONN_TIMEOUT);
	visit_fail(v, err);
}

/* The answer was read to its end, so the connection may serve another request. */
static void visit_finish(struct visit *v)
{
	visit_disarm(v);
	upconn_put(v->conn, v->uploaded && upread_is_clean(&v->read));
	v->conn = NULL;
	v->state = VISIT_DONE;
}

static void visit_timeout(struct timer *t)
{
	struct visit *v = container_of(t, struct visit, timer);
	uint64_t due_ms = v->moved_ms + v->conf->idle_timeout_ms;

	if (v->state == VISIT_TUNNEL && due_ms > proxy_now(v->proxy)) {
		loop_timer_set(v->proxy->loop, t, due_ms);
		return;
	}
	v->client_slow = v->state == VISIT_TUNNEL || visit_takes(v);
	if (v->client_slow)
		visit_fail(v, -ETIMEDOUT);
	else
		visit_broken(v, -ETIMEDOUT);
}

static void visit_expect_timeout(struct timer *t)
{
	struct visit *v = container_of(t, struct visit, expect_timer);

	v->go_on = v->expects;
	loop_wake(v->proxy->loop, v->owner);
}

/* ---- the request's head ---- */

static enum step visit_dial(struct visit *v)
{
	const struct conf_upstream *up = &v->conf->upstream;
	struct uri to = { .https = up->https, .host = slice_of(up->host), .port = up->port };

	if (!v->conn)
		v->conn = upconn_get(v->proxy, v->mirror, &to, v->fresh, 0, v->owner);
	if (!v->conn) {
		visit_broken(v, ERR_LIMIT);
		return STEP_MORE;
	}
	v->conn = upconn_better(v->conn);
	if (v->conn->err) {
		visit_broken(v, v->conn->err);
		return STEP_MORE;
	}
	if (v->conn->state != UP_READY)
		return STEP_WAIT;
	v->request_sent = 0;
	v->state = VISIT_SEND;
	visit_arm(v);
	return STEP_MORE;
}

/* See invariant 2. */
static enum step visit_again(struct visit *v, int err)
{
	if (!v->conn->kept || v->fresh || buf_len(&v->conn->in) > 0 || v->up_bytes > 0 ||
	    !v->request || !(v->is_safe || v->request_sent == 0)) {
		visit_broken(v, err == ERR_EOF ? ERR_SHORT : err);
		return STEP_MORE;
	}
	visit_disarm(v);
	upconn_put(v->conn, false);
	v->conn = NULL;
	v->fresh = true;
	v->state = VISIT_DIAL;
	return STEP_MORE;
}

static enum step visit_send(struct visit *v)
{
	while (v->request_sent < v->request_len) {
		struct slice rest = { v->request + v->request_sent,
				      v->request_len - v->request_sent };
		int n = stream_send(v->conn->stream, rest, false);

		if (n < 0)
			return visit_again(v, n);
		if (n == 0)
			return STEP_WAIT;
		v->request_sent += (size_t)n;
	}
	v->state = VISIT_HEAD;
	if (v->expects)
		loop_timer_set(v->proxy->loop, &v->expect_timer, proxy_now(v->proxy) + EXPECT_MS);
	return STEP_MORE;
}

/* ---- its body ---- */

bool visit_takes(const struct visit *v)
{
	return (v->state == VISIT_HEAD || v->state == VISIT_BODY) && !v->uploaded && !v->refused &&
	       v->conn->stream->tx_err == 0 && stream_writable(v->conn->stream);
}

bool visit_may_go_on(struct visit *v)
{
	bool now = v->go_on && v->state == VISIT_HEAD;

	if (now)
		v->expects = v->go_on = false;
	return now;
}

/* As one chunk, and the last one behind it, in the slab. */
static struct slice frame_chunk(char *slab, struct slice piece, bool last)
{
	size_t n = 0;

	if (piece.len > 0) {
		n = (size_t)snprintf(slab, 16, "%zx\r\n", piece.len);
		memcpy(slab + n, piece.ptr, piece.len);
		n += piece.len;
		memcpy(slab + n, "\r\n", 2);
		n += 2;
	}
	if (last) {
		memcpy(slab + n, "0\r\n\r\n", 5);
		n += 5;
	}
	return (struct slice){ slab, n };
}

/* What of the body went, or went not. */
static void visit_gave(struct visit *v, size_t bytes, bool last, bool failed)
{
	v->expects = v->go_on = false; /* it did not wait */
	v->refused = failed;           /* an answer may have come before that */
	v->uploaded = last && !failed;
	v->up_bytes += bytes;
	stat_add(&v->proxy->stats, STAT_SITE_UP, (int64_t)bytes);
	if (v->state == VISIT_HEAD || timer_armed(&v->timer))
		visit_arm(v);
}

int visit_give_from(struct visit *v, struct stream *down, uint64_t left)
{
	int n;

	assert(visit_takes(v) && left > 0);
	if (v->body != BODY_LENGTH)
		return -EAGAIN;
	n = stream_splice(down, v->conn->stream, &v->spills[0], left);
	if (n > 0)
		visit_gave(v, (size_t)n, (uint64_t)n == left, false);
	if (n >= 0 || n == -EAGAIN || n == ERR_EOF || down->err)
		return n;
	visit_gave(v, 0, false, true);
	return 0;
}

void visit_give(struct visit *v, struct slice piece, bool last)
{
	struct slice out = piece;
	int n = 0;

	assert(visit_takes(v) && piece.len <= VISIT_PIECE_MAX);
	if (v->body == BODY_CHUNKED)
		out = frame_chunk(v->proxy->net.plain, piece, last);
	if (out.len)
		n = stream_send(v->conn->stream, out, false);
	assert(n < 0 || (size_t)n == out.len);
	visit_gave(v, piece.len, last, n < 0);
}

bool visit_queue(struct visit *v, struct slice piece, bool last)
{
	if (v->uploaded || v->refused || v->state == VISIT_DONE || v->state == VISIT_FAILED)
		return true;
	v->queue_last |= last;
	if (piece.len && !v->queue.mem) {
		char *mem = malloc(QUEUE_MAX);

		if (!mem)
			return false;
		buf_init(&v->queue, mem, QUEUE_MAX);
	}
	return piece.len == 0 || buf_append(&v->queue, piece);
}

size_t visit_flush(struct visit *v)
{
	size_t went = 0;

	while (visit_takes(v) && (buf_len(&v->queue) > 0 || v->queue_last)) {
		struct slice piece = slice_first(buf_data(&v->queue), VISIT_PIECE_MAX);
		bool last = v->queue_last && piece.len == buf_len(&v->queue);

		visit_give(v, piece, last);
		buf_take(&v->queue, piece.len);
		went += piece.len;
	}
	if (buf_len(&v->queue) == 0) {
		free(v->queue.mem);
		buf_init(&v->queue, NULL, 0);
	}
	return went;
}

/* ---- the answer ---- */

/* The head must outlive the connection's buffer: it is copied and parsed where it stays. */
static bool visit_keep_head(struct visit *v, size_t used)
{
	struct slice head = slice_first(buf_data(&v->conn->in), used);
	struct h1_error e;
	char *copy = arena_dup(v->arena, head);

	if (!copy)
		return false;
	head.ptr = copy;
	if ((v->websocket ? h1_parse_switch(head, &v->msg, &used, &e)
			  : h1_parse_response(head, v->is_head, &v->msg, &used, &e)) != H1_DONE)
		unreachable("a head that parsed does not parse");
	buf_take(&v->conn->in, used);
	return true;
}

static enum step visit_begun(struct visit *v, size_t used)
{
	if (!visit_keep_head(v, used)) {
		visit_broken(v, -ENOMEM);
		return STEP_MORE;
	}
	if (v->msg.status == 101 && !forward_is_switched(&v->msg)) {
		visit_broken(v, ERR_HTTP);
		return STEP_MORE;
	}
	upconn_report(v->conn, UPCONN_OK);
	wipe_request(v);
	visit_disarm(v);
	upread_init(&v->read, &v->msg);
	if (v->msg.status == 101) {
		v->state = VISIT_TUNNEL;
		stat_inc(&v->proxy->stats, STAT_SITE_TUNNELS);
		return STEP_MORE;
	}
	v->state = VISIT_BODY;
	if (upread_is_over(&v->read))
		visit_finish(v);
	return STEP_MORE;
}

static enum step visit_head(struct visit *v)
{
	struct buf *in = &v->conn->in;
	struct h1_error e;
	size_t used;
	int n;

	for (;;) {
		switch (v->websocket
				? h1_parse_switch(buf_data(in), &v->msg, &used, &e)
				: h1_parse_response(buf_data(in), v->is_head, &v->msg, &used, &e)) {
		case H1_DONE:
			if (v->msg.status >= 200 || v->msg.status == 101)
				return visit_begun(v, used);
			v->go_on |= v->msg.status == 100 && v->expects;
			buf_take(in, used);
			continue;
		case H1_BAD:
			log_limited(LOG_WARN, "site=%s upstream=%s bad answer: %s", v->conf->name,
				    v->conf->upstream.text, e.why);
			visit_broken(v, ERR_HTTP);
			return STEP_MORE;
		case H1_MORE: break;
		}
		buf_compact(in);
		n = stream_pull(v->conn->stream, in);
		if (n < 0)
			return visit_again(v, n);
		if (n == 0)
			return STEP_WAIT;
	}
}

bool visit_run(struct visit *v)
{
	enum step s = STEP_MORE;

	while (s == STEP_MORE) {
		switch (v->state) {
		case VISIT_DIAL: s = visit_dial(v); break;
		case VISIT_SEND: s = visit_send(v); break;
		case VISIT_HEAD: s = visit_head(v); break;
		case VISIT_BODY:
		case VISIT_TUNNEL:
		case VISIT_DONE:
		case VISIT_FAILED: return true;
		}
	}
	return false;
}

/* <n>: what a pull of the answer's body gave. */
static void visit_got(struct visit *v, int n)
{
	if (n == 0) {
		if (!timer_armed(&v->timer))
			visit_arm(v);
		return;
	}
	if (n < 0 && n != ERR_EOF) {
		visit_broken(v, n);
		return;
	}
	loop_timer_clear(v->proxy->loop, &v->timer);
	if (n > 0) {
		v->down_bytes += (uint64_t)n;
		stat_add(&v->proxy->stats, STAT_SITE_DOWN, n);
	}
	if (upread_is_over(&v->read) || n == ERR_EOF)
		visit_finish(v);
}

int visit_read(struct visit *v, char *dst, size_t cap)
{
	struct buf into;
	int n;

	if (v->state != VISIT_BODY)
		return v->state == VISIT_DONE ? BODY_END : BODY_BROKEN;
	assert(v->spills[1].held == 0);
	buf_init(&into, dst, cap);
	n = upread_pull(&v->read, v->conn, &into);
	visit_got(v, n);
	if (n >= 0)
		return n;
	return n == ERR_EOF ? BODY_END : BODY_BROKEN;
}

int visit_read_to(struct visit *v, struct stream *down)
{
	int n;

	if (v->state != VISIT_BODY)
		return -EAGAIN; /* visit_read() tells */
	n = upread_splice(&v->read, v->conn, down, &v->spills[1]);
	if (n == -EAGAIN || down->err)
		return down->err ? down->err : n;
	/* Who does not take bytes has a limit in time elsewhere. */
	if (n != 0 || stream_writable(down))
		visit_got(v, n);
	return n == ERR_EOF ? -EAGAIN : n;
}

/* ---- a WebSocket ---- */

static void visit_count(struct visit *v)
{
	uint64_t up = tunnel_bytes(&v->tunnel, 0), down = tunnel_bytes(&v->tunnel, 1);

	stat_add(&v->proxy->stats, STAT_SITE_UP, (int64_t)(up - v->up_bytes));
	stat_add(&v->proxy->stats, STAT_SITE_DOWN, (int64_t)(down - v->down_bytes));
	v->up_bytes = up;
	v->down_bytes = down;
	if (up + down == v->moved && timer_armed(&v->timer))
		return;
	v->moved = up + down;
	v->moved_ms = proxy_now(v->proxy);
}

enum tunnel_state visit_tunnel(struct visit *v, struct stream *down, struct buf *in)
{
	struct tunnel *t = &v->tunnel;
	enum tunnel_state s;

	if (v->state != VISIT_TUNNEL)
		return TUNNEL_BROKEN;
	if (!t->net) {
		struct stream *up = v->conn->stream;

		tunnel_init(t, &v->proxy->net, v->owner, (struct tunnel_way){ down, up, in, 0, 0 },
			    (struct tunnel_way){ up, down, &v->conn->in, 0, 0 });
		stat_inc(&v->proxy->stats, STAT_SITE_TUNNELS_NOW);
	}
	s = tunnel_run(t);
	visit_count(v);
	if (!timer_armed(&v->timer))
		loop_timer_set(v->proxy->loop, &v->timer,
			       proxy_now(v->proxy) + v->conf->idle_timeout_ms);
	return s;
}

void visit_cut(struct visit *v)
{
	if (v->tunnel.net)
		(void)tunnel_end(&v->tunnel);
}

bool visit_close(struct visit *v)
{
	struct proxy *p = v->proxy;

	visit_disarm(v);
	if (v->tunnel.net && !tunnel_end(&v->tunnel))
		return false;
	if (v->tunnel.net)
		stat_add(&p->stats, STAT_SITE_TUNNELS_NOW, -1);
	if (v->conn)
		upconn_put(v->conn, false);
	spill_end(&p->net, &v->spills[0]);
	spill_end(&p->net, &v->spills[1]);
	wipe_request(v);
	free(v->queue.mem);
	p->visits_count--;
	free(v);
	return true;
}
