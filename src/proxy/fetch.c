/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/fetch.h"

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/version.h"
#include "proxy/fetch_private.h"
#include "proxy/oci.h"

enum {
	/* A body that is not wanted is waited for so long, for the connection's sake ... */
	DRAIN_MS = 500,
	/* ... and an error's words for the client's. */
	WORDS_MS = 2000,
};

static void fetch_run(struct task *task);
static void fetch_timeout(struct timer *t);

void fetch_arm(struct fetch *f, uint64_t ms)
{
	loop_timer_set(f->proxy->loop, &f->timer, proxy_now(f->proxy) + ms);
}

/* What this failure says of the member that is asked. */
static void fetch_report(struct fetch *f, int err)
{
	switch (err) {
	case ERR_AUTH:
	case ERR_REDIRECT:
	case ERR_LIMIT:
	case ERR_KILLED:
	case -ENOMEM: return;
	case ERR_HTTP: upconn_report(f->conn, UPCONN_5XX); return;
	default: upconn_report(f->conn, UPCONN_TIMEOUT); return;
	}
}

bool fetch_blame(struct fetch *f)
{
	return f->state != FETCH_IDLE && f->member &&
	       upconn_blame(f->proxy, f->o.mirror, &f->at, f->member);
}

void fetch_fail(struct fetch *f, int err)
{
	struct blob_failure why = { .err = err };
	bool has_head = f->state == FETCH_BODY;

	assert(err < 0);
	stat_inc(&f->proxy->stats, STAT_UP_ERRORS);
	log_debug("fetch mirror=%s upstream=%s target=%s state=%d err=\"%s\"",
		  f->o.mirror->conf->name, f->up->conf->host, LOG_Q(slice_of(f->o.target)),
		  f->state, err_text(err));
	loop_timer_clear(f->proxy->loop, &f->timer);
	if (f->conn) {
		fetch_report(f, err);
		upconn_put(f->conn, false);
	}
	f->conn = NULL;
	if (!has_head) {
		fetch_refused(f, &why);
		return;
	}
	f->err = err;
	f->state = FETCH_FAILED;
	loop_wake(f->proxy->loop, f->o.owner);
}

bool fetch_by_digest(struct fetch_opts *o, struct arena *a, struct slice repo, bool blob,
		     const struct digest *d)
{
	char digest[DIGEST_TEXT_MAX];

	digest_format(d, digest);
	o->target = arena_printf(a, "/v2/%.*s/%s/%s", SLICE_FMT(repo), blob ? "blobs" : "manifests",
				 digest);
	o->scope = oci_pull_scope(a, repo);
	o->accept = blob ? NULL : oci_accept_manifests;
	return o->target && o->scope;
}

void fetch_start(struct fetch *f, struct proxy *p, const struct fetch_opts *o)
{
	assert(o->first < o->mirror->ups_count);
	memset(f, 0, sizeof(*f));
	f->proxy = p;
	f->o = *o;
	task_init(&f->task, fetch_run);
	timer_init(&f->timer, fetch_timeout);
	list_init(&f->token_node);
	fetch_ask(f, &o->mirror->ups[o->first]);
}

/* ---- asking ---- */

/* A whole field, or ""; NULL: no memory. */
static const char *fetch_range(struct fetch *f)
{
	const struct fetch_opts *o = &f->o;

	if (f->probing)
		return "";
	if (o->first_byte)
		return "Range: bytes=0-0\r\n";
	if (o->to > 0)
		return arena_printf(&f->arena, "Range: bytes=%llu-%llu\r\n",
				    (unsigned long long)o->from, (unsigned long long)o->to);
	if (o->from > 0)
		return arena_printf(&f->arena, "Range: bytes=%llu-\r\n",
				    (unsigned long long)o->from);
	return "";
}

static bool fetch_make_request(struct fetch *f)
{
	struct slice target = f->probing ? SLICE("/v2/") : f->at.target;
	const char *auth = fetch_authorization(f);
	const char *authority = uri_authority(&f->arena, &f->at);
	const char *range = fetch_range(f);
	const char *form = "";

	if (f->o.form.ptr)
		form = arena_printf(&f->arena,
				    "Content-Type: application/x-www-form-urlencoded\r\n"
				    "Content-Length: %zu\r\n",
				    f->o.form.len);
	if (!authority || !range || !form)
		return false;
	f->request = arena_printf(
		&f->arena,
		"%s %.*s HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice/%s\r\n%s%s%s%s%s%s%s%s"
		"Accept-Encoding: identity\r\n\r\n%.*s",
		f->o.form.ptr              ? "POST"
		: f->o.head && !f->probing ? "HEAD"
					   : "GET",
		SLICE_FMT(target), authority, version_text(), range, f->o.accept ? "Accept: " : "",
		f->o.accept ? f->o.accept : "", f->o.accept ? "\r\n" : "",
		auth ? "Authorization: " : "", auth ? auth : "", auth ? "\r\n" : "", form,
		SLICE_FMT(f->o.form));
	if (!f->request)
		return false;
	f->request_len = strlen(f->request);
	f->request_sent = 0;
	return true;
}

/* An account that is an address of ours counts at upstream itself, and where its tokens are. */
static unsigned fetch_source(const struct fetch *f)
{
	if (f->o.place)
		return f->o.source;
	return f->auth_allowed && f->account >= 0 ? upstream_who(f->up, (unsigned)f->account).source
						  : 0;
}

static enum step fetch_connect(struct fetch *f)
{
	if (!f->conn) {
		f->conn = upconn_get(f->proxy, f->o.mirror, &f->at, f->fresh, fetch_source(f),
				     &f->task);
		if (!f->conn) {
			fetch_fail(f, ERR_LIMIT);
			return STEP_WAIT;
		}
		f->conn->spare = f->o.spare;
	}
	f->conn = upconn_better(f->conn);
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
	fetch_arm(f, upconn_first_byte_ms(f->conn));
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
		int n = stream_send(f->conn->stream, rest, false);

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

	if (++f->redirects > REDIRECTS_MAX || !where.ptr || f->o.form.ptr)
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

/* What comes after this head: another request, the owner, or another upstream. */
static enum step fetch_judge(struct fetch *f)
{
	int status = f->msg.status;

	f->member = f->conn->member;
	upconn_report(f->conn, status >= 500 ? UPCONN_5XX : UPCONN_OK);
	fetch_count(f);
	if (f->doubted && fetch_undoubt(f))
		return fetch_follow(f, FETCH_AUTH);
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
		/* Nothing to learn at /v2/: the 401 before it stands, unless nobody could say. */
		if (status != 429 && status < 500)
			f->msg.status = 401;
		return fetch_follow(f, FETCH_REFUSED);
	}
	if (fetch_is_refusal(status))
		return fetch_follow(f, FETCH_REFUSED);
	upread_init(&f->read, &f->msg);
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
		n = stream_pull(f->conn->stream, in);
		if (n < 0)
			return fetch_broken(f, n);
		if (n == 0)
			return STEP_WAIT;
	}
}

/* ---- from one request to the next ---- */

void fetch_release(struct fetch *f, bool complete)
{
	upconn_put(f->conn, complete && upread_is_clean(&f->read));
	f->conn = NULL;
}

/*
 * A small body is read to its end, so that the connection can be kept; a large one costs more than
 * a new connection.  Of a refusal the body is wanted, for its words.
 */
static enum step fetch_follow(struct fetch *f, enum fetch_state next)
{
	bool wanted = next == FETCH_REFUSED;
	bool small, some;

	upread_init(&f->read, &f->msg);
	small = f->read.body.kind == BODY_NONE ||
		(f->read.body.kind == BODY_LENGTH && f->msg.body_bytes <= FETCH_DRAIN_MAX);
	some = f->read.body.kind == BODY_LENGTH ? f->read.body.left > 0 : wanted && !small;
	f->fresh = false;
	f->drained = 0;
	if (some && (wanted || (small && f->msg.keep_alive))) {
		f->next = next;
		f->state = FETCH_DRAIN;
		fetch_arm(f, wanted ? WORDS_MS : DRAIN_MS);
		return STEP_MORE;
	}
	fetch_release(f, small);
	f->state = next;
	return STEP_MORE;
}

static enum step fetch_drain(struct fetch *f)
{
	struct buf *in = &f->conn->in;
	enum h1_result r = H1_MORE;
	struct slice out;
	size_t used;
	int n;

	for (;;) {
		while (r == H1_MORE && f->drained < FETCH_DRAIN_MAX) {
			r = h1_body_next(&f->read.body, buf_data(in), &used, &out);
			if (f->next == FETCH_REFUSED)
				fetch_keep_words(f, out);
			f->drained += out.len;
			buf_take(in, used);
			if (used == 0)
				break;
		}
		if (r != H1_MORE || f->drained >= FETCH_DRAIN_MAX)
			break;
		buf_compact(in);
		n = stream_pull(f->conn->stream, in);
		if (n == 0)
			return STEP_WAIT;
		if (n < 0)
			break;
	}
	loop_timer_clear(f->proxy->loop, &f->timer);
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
		case FETCH_REFUSED: s = fetch_said_no(f); break;
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

void fetch_close(struct fetch *f)
{
	if (f->state == FETCH_IDLE)
		return;
	loop_timer_clear(f->proxy->loop, &f->timer);
	loop_unwake(f->proxy->loop, &f->task);
	fetch_drop_token(f, false);
	free(f->refusal);
	f->refusal = NULL;
	if (f->conn)
		upconn_put(f->conn, false);
	f->conn = NULL;
	if (f->request)
		explicit_bzero(f->request, f->request_len);
	arena_fini(&f->arena);
	f->state = FETCH_IDLE;
}
