/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "base/version.h"
#include "http/challenge.h"
#include "proxy/oci.h"
#include "proxy/token.h"

enum step { STEP_MORE, STEP_WAIT };

/* A body that is not wanted is waited for so long, for the connection's sake. */
enum { DRAIN_MS = 500 };

static void fetch_run(struct task *task);
static void fetch_timeout(struct timer *t);

static void fetch_fail(struct fetch *f, int err)
{
	assert(err < 0);
	stat_inc(&f->proxy->stats, STAT_UP_ERRORS);
	log_debug("fetch mirror=%s target=%s state=%d err=\"%s\"", f->o.mirror->conf->name,
		  LOG_Q(slice_of(f->o.target)), f->state, err_text(err));
	f->err = err;
	f->state = FETCH_FAILED;
	loop_timer_clear(f->proxy->loop, &f->timer);
	if (f->conn)
		upconn_put(f->conn, false);
	f->conn = NULL;
	loop_wake(f->proxy->loop, f->o.owner);
}

static void fetch_arm(struct fetch *f, uint64_t ms)
{
	loop_timer_set(f->proxy->loop, &f->timer, proxy_now(f->proxy) + ms);
}

void fetch_start(struct fetch *f, struct proxy *p, const struct fetch_opts *o)
{
	const struct conf_upstream *up = &o->mirror->conf->upstream;

	memset(f, 0, sizeof(*f));
	f->proxy = p;
	f->o = *o;
	task_init(&f->task, fetch_run);
	timer_init(&f->timer, fetch_timeout);
	list_init(&f->token_node);
	arena_init(&f->arena, FETCH_ARENA);
	f->origin = (struct uri){ .https = up->https,
				  .host = slice_of(up->host),
				  .port = up->port,
				  .target = o->place ? SLICE("/") : slice_of(o->target) };
	f->at = o->place ? *o->place : f->origin;
	f->auth_allowed = true;
	f->state = FETCH_AUTH;
	loop_wake(p->loop, &f->task);
}

static void fetch_drop_token(struct fetch *f, bool bad)
{
	if (f->token)
		token_put(f->token, f, bad);
	f->token = NULL;
}

/* ---- asking ---- */

static bool fetch_wants_token(const struct fetch *f)
{
	return f->auth_allowed && !f->o.place && !f->probing && f->o.scope && f->o.mirror->realm &&
	       !f->o.mirror->basic;
}

static enum step fetch_auth(struct fetch *f)
{
	if (!fetch_wants_token(f)) {
		f->state = FETCH_CONN;
		return STEP_MORE;
	}
	if (!f->token) {
		f->token = token_get(f->proxy, f->o.mirror, f->o.scope, f);
		if (!f->token) {
			fetch_fail(f, ERR_AUTH);
			return STEP_WAIT;
		}
	}
	switch (f->token->state) {
	case TOKEN_ASKING: return STEP_WAIT;
	case TOKEN_READY: f->state = FETCH_CONN; return STEP_MORE;
	case TOKEN_FAILED:
		/* The realm's own 401, 403, 429 ... is the answer; no body for the client. */
		if (f->token->status >= 400) {
			f->msg = (struct msg){ .status = f->token->status };
			f->state = FETCH_DONE;
			loop_wake(f->proxy->loop, f->o.owner);
		} else {
			fetch_fail(f, f->token->err);
		}
		return STEP_WAIT;
	}
	unreachable("token state");
}

/* NULL: none; the value is a secret. */
static const char *fetch_authorization(struct fetch *f)
{
	const struct conf_mirror *c = f->o.mirror->conf;

	if (f->o.place)
		return f->o.authorization;
	if (!f->auth_allowed || f->probing)
		return NULL;
	if (f->token)
		return arena_printf(&f->arena, "Bearer %s", f->token->value);
	if (f->o.mirror->basic && c->user)
		return basic_credentials(&f->arena, slice_of(c->user), slice_of(c->password));
	return NULL;
}

static bool fetch_make_request(struct fetch *f)
{
	struct slice target = f->probing ? SLICE("/v2/") : f->at.target;
	const char *auth = fetch_authorization(f);
	const char *authority = uri_authority(&f->arena, &f->at);
	const char *range = "";

	if (f->o.from > 0 && !f->probing)
		range = arena_printf(&f->arena, "Range: bytes=%llu-\r\n",
				     (unsigned long long)f->o.from);
	if (!authority || !range)
		return false;
	f->request = arena_printf(
		&f->arena,
		"%s %.*s HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice/%s\r\n%s%s%s%s%s%s%s"
		"Accept-Encoding: identity\r\n\r\n",
		f->o.head && !f->probing ? "HEAD" : "GET", SLICE_FMT(target), authority,
		version_text(), range, f->o.accept ? "Accept: " : "",
		f->o.accept ? f->o.accept : "", f->o.accept ? "\r\n" : "",
		auth ? "Authorization: " : "", auth ? auth : "", auth ? "\r\n" : "");
	if (!f->request)
		return false;
	f->request_len = strlen(f->request);
	f->request_sent = 0;
	return true;
}

static enum step fetch_connect(struct fetch *f)
{
	if (!f->conn) {
		f->conn = upconn_get(f->proxy, f->o.mirror, &f->at, f->fresh, &f->task);
		if (!f->conn) {
			fetch_fail(f, ERR_LIMIT);
			return STEP_WAIT;
		}
	}
	if (f->conn->err) {
		fetch_fail(f, f->conn->err);
		return STEP_WAIT;
	}
	if (f->conn->state != UP_READY)
		return STEP_WAIT;
	if (!fetch_make_request(f)) {
		fetch_fail(f, -ENOMEM);
		return STEP_WAIT;
	}
	f->state = FETCH_SEND;
	stat_inc(&f->proxy->stats, STAT_UP_REQUESTS);
	fetch_arm(f, f->o.mirror->conf->first_byte_timeout_ms);
	return STEP_MORE;
}

/*
 * A kept connection may have been closed by the server just as we used it: nothing of an answer was
 * seen, and GET and HEAD are safe to send again, once.
 */
static enum step fetch_broken(struct fetch *f, int err)
{
	bool again = f->conn->kept && !f->fresh && buf_len(&f->conn->in) == 0 && !f->timed_out;

	if (!again) {
		fetch_fail(f, err == ERR_EOF ? ERR_SHORT : err);
		return STEP_WAIT;
	}
	upconn_put(f->conn, false);
	f->conn = NULL;
	f->fresh = true;
	f->state = FETCH_CONN;
	return STEP_MORE;
}

static enum step fetch_send(struct fetch *f)
{
	while (f->request_sent < f->request_len) {
		struct slice rest = { f->request + f->request_sent,
				      f->request_len - f->request_sent };
		int n = stream_send(&f->conn->stream, rest, false);

		if (n < 0)
			return fetch_broken(f, n);
		if (n == 0)
			return STEP_WAIT;
		f->request_sent += (size_t)n;
	}
	explicit_bzero(f->request, f->request_len);
	f->state = FETCH_HEAD;
	return STEP_MORE;
}

/* ---- the answer ---- */

static enum step fetch_follow(struct fetch *f, enum fetch_state next);

/* The head must outlive the connection's buffer: it is copied and parsed where it stays. */
static bool fetch_keep_head(struct fetch *f, size_t used)
{
	struct slice head = slice_first(buf_data(&f->conn->in), used);
	struct h1_error e;
	char *copy = arena_dup(&f->arena, head);

	if (!copy)
		return false;
	head.ptr = copy;
	if (h1_parse_response(head, f->o.head && !f->probing, &f->msg, &used, &e) != H1_DONE)
		unreachable("a head that parsed does not parse");
	return true;
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static int fetch_redirect(struct fetch *f)
{
	struct slice where = msg_field(&f->msg, "Location");
	struct uri to;

	if (++f->redirects > REDIRECTS_MAX || !where.ptr)
		return ERR_REDIRECT;
	if (!uri_resolve(&f->arena, &f->at, where, &to))
		return ERR_REDIRECT;
	if (!to.https && !uri_same_origin(&to, &f->origin)) {
		log_limited(LOG_WARN, "redirect mirror=%s to=%s refused: not https",
			    f->o.mirror->conf->name, LOG_Q(to.host));
		return ERR_REDIRECT;
	}
	stat_inc(&f->proxy->stats, STAT_REDIRECTS);
	if (!uri_same_origin(&to, &f->origin))
		f->auth_allowed = false;
	f->at = to;
	return 0;
}

static char *dup_slice(struct slice s)
{
	return strndup(s.ptr ? s.ptr : "", s.len);
}

/* Remembers what the upstream wants, so that the next scope does not begin with a 401. */
static bool mirror_learn(struct mirror *m, const struct challenge *c)
{
	char *realm = dup_slice(c->realm);
	char *service = dup_slice(c->service);

	if (!realm || !service) {
		free(realm);
		free(service);
		return false;
	}
	free(m->realm);
	free(m->service);
	m->realm = realm;
	m->service = service;
	m->basic = c->scheme == CHALLENGE_BASIC;
	return true;
}

static bool fetch_challenge(struct fetch *f, struct challenge *c)
{
	struct slice value;
	unsigned at = 0;

	while (msg_field_next(&f->msg, "WWW-Authenticate", &at, &value))
		if (challenge_parse(&f->arena, value, c) && c->scheme != CHALLENGE_NONE)
			return true;
	return false;
}

/*
 * After a 401: may the request be sent once more, with something better?  Only the upstream's own
 * origin may ask; what a redirect target asks for is not listened to.
 */
static bool fetch_reauth(struct fetch *f)
{
	const struct conf_mirror *conf = f->o.mirror->conf;
	struct challenge c;
	bool had_token = f->token != NULL;

	/* A token that was refused is replaced once. */
	if (!f->auth_allowed || f->o.place || !f->o.scope || (had_token && ++f->refusals > 1))
		return false;
	fetch_drop_token(f, true);
	if (!fetch_challenge(f, &c)) {
		/* gcr.io has answered 401 without a challenge: /v2/ tells it. */
		if (f->probing || had_token)
			return false;
		f->probing = true;
		return true;
	}
	f->probing = false;
	if (c.scheme == CHALLENGE_BASIC && (!conf->user || f->o.mirror->basic))
		return false;
	return mirror_learn(f->o.mirror, &c);
}

/* What comes after this head: another request, or the owner. */
static enum step fetch_judge(struct fetch *f)
{
	int status = f->msg.status;

	if (is_redirect(status) && !f->probing) {
		int err = fetch_redirect(f);

		if (err) {
			fetch_fail(f, err);
			return STEP_WAIT;
		}
		return fetch_follow(f, FETCH_CONN);
	}
	if ((status == 401 || f->probing) && fetch_reauth(f))
		return fetch_follow(f, FETCH_AUTH);
	if (f->probing) {
		fetch_fail(f, ERR_AUTH);
		return STEP_WAIT;
	}
	h1_body_init(&f->body, &f->msg);
	f->state = FETCH_BODY;
	loop_timer_clear(f->proxy->loop, &f->timer);
	loop_wake(f->proxy->loop, f->o.owner);
	return STEP_WAIT;
}

static enum step fetch_head(struct fetch *f)
{
	struct buf *in = &f->conn->in;
	struct h1_error e;
	size_t used;
	int n;

	for (;;) {
		switch (h1_parse_response(buf_data(in), f->o.head && !f->probing, &f->msg, &used,
					  &e)) {
		case H1_DONE:
			if (f->msg.status < 200) {
				buf_take(in, used);
				continue;
			}
			if (!fetch_keep_head(f, used)) {
				fetch_fail(f, -ENOMEM);
				return STEP_WAIT;
			}
			buf_take(in, used);
			return fetch_judge(f);
		case H1_BAD:
			log_limited(LOG_WARN, "upstream mirror=%s host=%s bad answer: %s",
				    f->o.mirror->conf->name, f->conn->host, e.why);
			fetch_fail(f, ERR_HTTP);
			return STEP_WAIT;
		case H1_MORE: break;
		}
		buf_compact(in);
		n = stream_pull(&f->conn->stream, in);
		if (n < 0)
			return fetch_broken(f, n);
		if (n == 0)
			return STEP_WAIT;
	}
}

/* ---- from one request to the next ---- */

static void fetch_release(struct fetch *f, bool complete)
{
	upconn_put(f->conn, complete && f->msg.keep_alive && !f->over);
	f->conn = NULL;
}

/*
 * A small body is read to its end, so that the connection can be kept; a large one costs more than
 * a new connection.
 */
static enum step fetch_follow(struct fetch *f, enum fetch_state next)
{
	bool small;

	h1_body_init(&f->body, &f->msg);
	small = f->body.kind == BODY_NONE ||
		(f->body.kind == BODY_LENGTH && f->msg.body_bytes <= FETCH_DRAIN_MAX);
	f->fresh = false;
	if (small && f->msg.keep_alive && f->body.kind == BODY_LENGTH && f->body.left > 0) {
		f->next = next;
		f->state = FETCH_DRAIN;
		fetch_arm(f, DRAIN_MS);
		return STEP_MORE;
	}
	fetch_release(f, small);
	f->state = next;
	return STEP_MORE;
}

static enum step fetch_drain(struct fetch *f)
{
	struct buf *in = &f->conn->in;
	struct slice out;
	size_t used;
	enum h1_result r;
	int n;

	for (;;) {
		r = h1_body_next(&f->body, buf_data(in), &used, &out);
		buf_take(in, used);
		if (r != H1_MORE)
			break;
		n = stream_pull(&f->conn->stream, in);
		if (n == 0)
			return STEP_WAIT;
		if (n < 0)
			break;
	}
	fetch_release(f, r == H1_DONE);
	f->state = f->next;
	return STEP_MORE;
}

static void fetch_run(struct task *task)
{
	struct fetch *f = container_of(task, struct fetch, task);
	enum step s = STEP_WAIT;

	do {
		switch (f->state) {
		case FETCH_AUTH: s = fetch_auth(f); break;
		case FETCH_CONN: s = fetch_connect(f); break;
		case FETCH_SEND: s = fetch_send(f); break;
		case FETCH_HEAD: s = fetch_head(f); break;
		case FETCH_DRAIN: s = fetch_drain(f); break;
		case FETCH_BODY: loop_wake(f->proxy->loop, f->o.owner); return;
		case FETCH_IDLE:
		case FETCH_DONE:
		case FETCH_FAILED: return;
		}
	} while (s == STEP_MORE);
}

static void fetch_timeout(struct timer *t)
{
	struct fetch *f = container_of(t, struct fetch, timer);

	if (f->state == FETCH_DRAIN) {
		fetch_release(f, false);
		f->state = f->next;
		loop_wake(f->proxy->loop, &f->task);
		return;
	}
	f->timed_out = true;
	fetch_fail(f, -ETIMEDOUT);
}

/* ---- the body ---- */

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
	int n = stream_pull(&f->conn->stream, into);

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
		n = stream_pull(&f->conn->stream, in);
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
		if (!f->o.place)
			stat_add(&f->proxy->stats, STAT_BYTES_UP, n);
		loop_timer_clear(f->proxy->loop, &f->timer);
		return n;
	}
	if (n == 0) {
		if (!timer_armed(&f->timer))
			fetch_arm(f, f->o.mirror->conf->idle_timeout_ms);
		return 0;
	}
	/* Only a clean end of the stream ends a body that has no other end. */
	if (n == ERR_EOF && f->body.kind == BODY_UNTIL_CLOSE)
		f->over = true;
	else if (n == ERR_EOF && f->body.kind == BODY_LENGTH && f->body.left > 0)
		n = ERR_SHORT;
	else if (n == ERR_EOF && f->body.kind == BODY_CHUNKED && f->conn->stream.err)
		n = ERR_SHORT;
	if (n == ERR_EOF)
		fetch_body_done(f);
	else
		fetch_fail(f, n);
	return n;
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

/* Seconds from Retry-After (a number or a date), 0 if none. */
static unsigned retry_after_s(const struct fetch *f)
{
	struct slice value = msg_field(&f->msg, "Retry-After");
	char text[64];
	struct tm tm = { 0 };
	time_t at;
	uint64_t n;

	if (http_parse_uint(value, &n))
		return n > 86400 ? 86400 : (unsigned)n;
	if (!value.ptr || value.len >= sizeof(text))
		return 0;
	memcpy(text, value.ptr, value.len);
	text[value.len] = '\0';
	if (!strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm))
		return 0;
	at = timegm(&tm) - time(NULL);
	return at <= 0 ? 0 : at > 86400 ? 86400 : (unsigned)at;
}

bool fetch_refusal(struct fetch *f, struct buf *body, struct blob_failure *why)
{
	struct slice text;

	if (fetch_pull_all(f, body, ERROR_BODY_MAX) == 0)
		return false;
	text = oci_error_message(&f->arena, buf_data(body));
	*why = (struct blob_failure){ .status = f->msg.status, .retry_after_s = retry_after_s(f) };
	snprintf(why->message, sizeof(why->message), "%.*s", SLICE_FMT(text));
	return true;
}

void fetch_close(struct fetch *f)
{
	if (f->state == FETCH_IDLE)
		return;
	loop_timer_clear(f->proxy->loop, &f->timer);
	loop_unwake(f->proxy->loop, &f->task);
	fetch_drop_token(f, false);
	if (f->conn)
		upconn_put(f->conn, false);
	f->conn = NULL;
	arena_fini(&f->arena);
	f->state = FETCH_IDLE;
}
