/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/call.h"

#include <errno.h>

#include "base/err.h"
#include "proxy/client_private.h"
#include "proxy/login.h"
#include "proxy/reply.h"
#include "proxy/visit.h"

static void call_woken(struct task *task);
static void call_timeout(struct timer *t);

static void call_arm(struct call *k)
{
	struct proxy *p = k->client->proxy;

	loop_timer_set(p->loop, &k->timer, proxy_now(p) + p->config->server.send_timeout_ms);
}

/* ---- beginning ---- */

static struct call *call_new(struct client *c, int32_t id)
{
	struct call *k = pool_get(&c->proxy->call_pool);

	if (!k)
		return NULL;
	k->client = c;
	k->id = id;
	k->state = CALL_XFER;
	k->body_done = k->logged = false;
	k->end = NULL;
	list_init(&k->node);
	list_push(&c->calls_new, &k->node);
	c->calls_count++;
	task_init(&k->task, call_woken);
	timer_init(&k->timer, call_timeout);
	return k;
}

/* Is known to nobody when it comes; goes on, and is paid for, when upstream takes it. */
static void call_data_site(struct call *k, struct slice piece, bool end)
{
	if (k->state == CALL_OVER || !k->xfer.visit)
		return;
	if (!visit_queue(k->xfer.visit, piece, end))
		visit_fail(k->xfer.visit, -ENOMEM);
	loop_wake(k->client->proxy->loop, &k->task);
}

/* A form, or a site's; no other body is wanted. */
static void call_data(void *stream, struct slice piece, bool end)
{
	struct call *k = stream;
	struct loop *l = k->client->proxy->loop;

	if (k->xfer.site) {
		call_data_site(k, piece, end);
		return;
	}

	if (k->state != CALL_XFER || k->xfer.state != XFER_FORM)
		return;
	login_form(&k->xfer, piece, end);
	if (k->xfer.state == XFER_FORM)
		return;
	loop_timer_clear(l, &k->timer);
	loop_wake(l, &k->task);
}

static void *call_request(void *owner, int32_t id, const struct msg *m)
{
	struct client *c = owner;
	struct call *k = call_new(c, id);
	struct xfer_request r = client_asks(c, m);

	if (!k)
		return NULL;
	xfer_start(&k->xfer, c->proxy, &k->task, &r);
	/* Before its body comes: is it wanted? */
	if (m->method == METHOD_POST && !k->xfer.site && !xfer_run(&k->xfer) &&
	    k->xfer.state == XFER_FORM) {
		loop_timer_set(c->proxy->loop, &k->timer,
			       proxy_now(c->proxy) + c->proxy->config->server.header_timeout_ms);
		if (m->body == BODY_NONE)
			call_data(k, SLICE_NONE, true);
	}
	return k;
}

static void *call_refuse(void *owner, int32_t id, const struct h1_error *e)
{
	struct client *c = owner;
	struct call *k = call_new(c, id);

	stat_inc(&c->proxy->stats, STAT_REQUESTS_BAD);
	if (!k)
		return NULL;
	xfer_start_error(&k->xfer, c->proxy, &k->task, c->kind, e->status, e->why);
	k->xfer.major = 2;
	return k;
}

/* ---- the answer ---- */

static void call_answer(struct call *k)
{
	struct field fields[countof(((struct reply_head *)0)->fields)];
	struct client *c = k->client;
	struct reply_head head;
	bool body = reply_has_body(&k->xfer);

	reply_count(&k->xfer);
	reply_head(&k->xfer, &head);
	for (unsigned i = 0; i < head.count; i++)
		fields[i] = (struct field){ slice_of(head.fields[i].name),
					    slice_of(head.fields[i].value) };
	k->state = CALL_SEND;
	k->body_done = !body;
	call_arm(k);
	if (h2_answer(c->h2, k->id, k->xfer.status, fields, head.count, body) < 0)
		c->broken = true;
}

_Static_assert((int)H2_RUN_FRAMES <= (int)BODY_PLACES_MAX, "a run is read at once");

static int call_body(void *stream, const struct iovec *to, unsigned count, bool *end)
{
	struct call *k = stream;
	struct body *b = &k->xfer.body;
	int n;

	if (k->state != CALL_SEND) /* the connection ends */
		return H2_WAIT;
	n = body_readv(b, to, count);
	if (n > 0 || n == BODY_END) {
		*end = k->body_done = n == BODY_END || body_is_over(b);
		call_arm(k);
		return n > 0 ? n : 0;
	}
	/* Upstream or the disk is waited for, not the client. */
	loop_timer_clear(k->client->proxy->loop, &k->timer);
	if (n == BODY_WAIT)
		return H2_WAIT;
	k->end = reply_broken(&k->xfer);
	k->client->broken = true;
	return H2_BROKEN;
}

static void call_timeout(struct timer *t)
{
	struct call *k = container_of(t, struct call, timer);
	struct client *c = k->client;
	uint64_t since_ms = proxy_now(c->proxy) - c->sent_ms;

	if (k->state == CALL_OVER)
		return;
	if (k->state == CALL_SEND && !h2_is_blocked(c->h2, k->id) &&
	    since_ms < c->proxy->config->server.send_timeout_ms) {
		call_arm(k);
		return;
	}
	k->end = "client_timeout";
	h2_reset(c->h2, k->id);
	loop_wake(c->proxy->loop, &c->task);
}

/* ---- end ---- */

void call_cut(struct call *k, const char *why)
{
	struct proxy *p = k->client->proxy;

	if (k->state == CALL_OVER)
		return;
	if (!k->end && !(k->state == CALL_SEND && k->body_done))
		k->end = why;
	k->state = CALL_OVER;
	loop_timer_clear(p->loop, &k->timer);
	loop_wake(p->loop, &k->task);
}

static void call_ended(void *stream)
{
	call_cut(stream, "client_gone");
}

const struct h2_ops call_ops = {
	.request = call_request,
	.refuse = call_refuse,
	.body = call_body,
	.data = call_data,
	.ended = call_ended,
};

static void call_finish(struct call *k)
{
	struct client *c = k->client;

	if (!k->logged)
		reply_log(&k->xfer, &c->stream,
			  k->end          ? k->end
			  : c->stream.err ? "client_gone"
					  : NULL);
	k->logged = true;
	if (!xfer_close(&k->xfer))
		return;
	loop_timer_clear(c->proxy->loop, &k->timer);
	loop_unwake(c->proxy->loop, &k->task);
	list_remove(&k->node);
	c->calls_count--;
	pool_put(&c->proxy->call_pool, k);
}

/* What of the request's body has come goes on, also behind the answer's head. */
static void call_upload(struct call *k)
{
	struct visit *v = k->xfer.visit;
	struct h2 *h = k->client->h2;

	if (!v || k->state == CALL_OVER)
		return;
	if (visit_may_go_on(v))
		h2_go_on(h, k->id);
	h2_used(h, k->id, visit_flush(v));
}

void call_run(struct call *k)
{
	call_upload(k);
	switch (k->state) {
	case CALL_XFER:
		if (xfer_run(&k->xfer))
			call_answer(k);
		break;
	case CALL_SEND:
		/* Its body may have more; from here on the client is waited for. */
		if (!timer_armed(&k->timer))
			call_arm(k);
		h2_resume(k->client->h2, k->id);
		break;
	case CALL_OVER: call_finish(k); break;
	}
}

static void call_woken(struct task *task)
{
	struct call *k = container_of(task, struct call, task);
	struct client *c = k->client;

	call_run(k);
	loop_wake(c->proxy->loop, &c->task);
}
