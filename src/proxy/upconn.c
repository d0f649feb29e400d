/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/upconn.h"

#include <errno.h>

#include "base/err.h"
#include "base/log.h"

static void upconn_run(struct task *task);
static void upconn_timeout(struct timer *t);
static void upconn_resolved(struct resolve *q, int err);

static bool upconn_is(const struct upconn *u, const struct mirror *m, const struct uri *to)
{
	return u->mirror == m && u->https == to->https && u->port == to->port &&
	       slice_eq(slice_of(u->host), to->host);
}

static struct upconn *upconn_find_idle(struct proxy *p, struct mirror *m, const struct uri *to)
{
	list_for_each(it, &p->upconns_idle) {
		struct upconn *u = container_of(it, struct upconn, node);

		/* Bytes or an end may wait for its task already: then it is as good as closed. */
		if (upconn_is(u, m, to) && stream_is_open(&u->stream) && !u->stream.rx_eof &&
		    !stream_pending(&u->stream))
			return u;
	}
	return NULL;
}

static bool upconn_borrow_buf(struct upconn *u)
{
	char *mem = pool_get(&u->proxy->head_pool);

	if (!mem)
		return false;
	buf_init(&u->in, mem, HEAD_BUF_BYTES);
	return true;
}

static void upconn_return_buf(struct upconn *u)
{
	if (u->in.mem)
		pool_put(&u->proxy->head_pool, u->in.mem);
	buf_init(&u->in, NULL, 0);
}

static struct upconn *upconn_new(struct proxy *p, struct mirror *m, const struct uri *to)
{
	struct upconn *u;

	if (to->host.len >= sizeof(u->host))
		return NULL;
	u = pool_get(&p->upconn_pool);
	if (!u)
		return NULL;
	memset(u, 0, sizeof(*u));
	u->proxy = p;
	u->mirror = m;
	u->https = to->https;
	u->port = to->port;
	memcpy(u->host, to->host.ptr, to->host.len);
	list_init(&u->node);
	task_init(&u->task, upconn_run);
	timer_init(&u->timer, upconn_timeout);
	stream_init(&u->stream, &p->net, &u->task);
	if (!upconn_borrow_buf(u)) {
		pool_put(&p->upconn_pool, u);
		return NULL;
	}
	p->upconns_count++;
	return u;
}

/* The oldest idle connection makes room when the bound is reached. */
static void upconn_drop_oldest(struct proxy *p)
{
	struct upconn *u;

	if (list_empty(&p->upconns_idle))
		return;
	u = container_of(p->upconns_idle.prev, struct upconn, node);
	upconn_put(u, false);
}

struct upconn *upconn_get(struct proxy *p, struct mirror *m, const struct uri *to, bool fresh,
			  struct task *user)
{
	struct upconn *u = fresh ? NULL : upconn_find_idle(p, m, to);

	if (u && upconn_borrow_buf(u)) {
		list_remove(&u->node);
		p->upconns_idle_count--;
		loop_timer_clear(p->loop, &u->timer);
		u->user = user;
		u->state = UP_READY;
		u->kept = true;
		return u;
	}
	if (p->upconns_count >= UPCONNS_MAX)
		upconn_drop_oldest(p);
	u = upconn_new(p, m, to);
	if (!u)
		return NULL;
	stat_inc(&p->stats, STAT_UP_CONNECTIONS);
	u->user = user;
	u->state = UP_RESOLVING;
	u->dns_busy = true;
	u->dns.done = upconn_resolved;
	loop_timer_set(p->loop, &u->timer, proxy_now(p) + m->conf->connect_timeout_ms);
	resolve_start(p->resolver, &u->dns, u->host, u->port);
	return u;
}

static void upconn_fail(struct upconn *u, int err)
{
	assert(err < 0);
	if (!u->err)
		u->err = err;
	loop_timer_clear(u->proxy->loop, &u->timer);
	if (u->user)
		loop_wake(u->proxy->loop, u->user);
}

static void upconn_resolved(struct resolve *q, int err)
{
	struct upconn *u = container_of(q, struct upconn, dns);

	u->dns_busy = false;
	if (err)
		upconn_fail(u, err);
	else
		loop_wake(u->proxy->loop, &u->task);
}

static void upconn_timeout(struct timer *t)
{
	struct upconn *u = container_of(t, struct upconn, timer);

	if (u->state == UP_IDLE)
		upconn_put(u, false);
	else if (u->state != UP_CLOSING)
		upconn_fail(u, u->stream.err ? u->stream.err : -ETIMEDOUT);
}

/* Dials the next address that may be dialled. */
static void upconn_dial(struct upconn *u)
{
	int err = u->stream_used ? u->stream.err : 0;

	while (u->addr_next < u->dns.count) {
		const struct addr *to = &u->dns.addrs[u->addr_next++];
		char text[ADDR_TEXT_MAX];

		if (!u->mirror->conf->private && addr_is_private(to)) {
			addr_format(to, text);
			log_limited(
				LOG_WARN,
				"upstream mirror=%s host=%s address=%s refused: private address "
				"(private = yes in the mirror's section allows it)",
				u->mirror->conf->name, u->host, text);
			err = ERR_ADDR_PRIVATE;
			continue;
		}
		stream_init(&u->stream, &u->proxy->net, &u->task);
		u->stream.rx_big = true;
		u->stream_used = true;
		u->state = UP_CONNECTING;
		stream_connect(&u->stream, to, u->https ? u->mirror->tls : NULL, u->host);
		return;
	}
	upconn_fail(u, err ? err : ERR_DNS);
}

/* A connect that failed: wait until the stream is closed, then the next address. */
static void upconn_connecting(struct upconn *u)
{
	if (stream_is_open(&u->stream)) {
		u->state = UP_READY;
		loop_timer_clear(u->proxy->loop, &u->timer);
		loop_wake(u->proxy->loop, u->user);
		return;
	}
	if (!u->stream.err)
		return;
	/* A certificate that is refused stays so on every address: say it at once. */
	if (u->stream.err == ERR_TLS_CERT)
		upconn_fail(u, ERR_TLS_CERT);
	else if (u->stream.state == STREAM_CLOSED)
		upconn_dial(u);
	else if (u->stream.state != STREAM_CLOSING)
		stream_close(&u->stream, false);
}

static void upconn_free(struct upconn *u)
{
	struct proxy *p = u->proxy;

	list_remove(&u->node);
	loop_timer_clear(p->loop, &u->timer);
	loop_unwake(p->loop, &u->task);
	p->upconns_count--;
	pool_put(&p->upconn_pool, u);
	proxy_ended(p);
}

static void upconn_idle(struct upconn *u)
{
	struct buf scratch;

	buf_init(&scratch, u->proxy->net.plain, NET_PLAIN_BYTES);
	if (u->stream.err || u->stream.rx_eof || stream_pending(&u->stream)) {
		upconn_put(u, false);
		return;
	}
	/* Arms the receive by which the end is noticed; bytes that nobody asked for end it too. */
	if (stream_pull(&u->stream, &scratch) != 0)
		upconn_put(u, false);
}

static void upconn_run(struct task *task)
{
	struct upconn *u = container_of(task, struct upconn, task);

	switch (u->state) {
	case UP_RESOLVING:
		if (!u->dns_busy && !u->err)
			upconn_dial(u);
		return;
	case UP_CONNECTING:
		if (!u->err)
			upconn_connecting(u);
		return;
	case UP_READY: loop_wake(u->proxy->loop, u->user); return;
	case UP_IDLE: upconn_idle(u); return;
	case UP_CLOSING:
		if (stream_is_closed(&u->stream))
			upconn_free(u);
		return;
	}
}

static void upconn_keep(struct upconn *u)
{
	struct proxy *p = u->proxy;

	u->state = UP_IDLE;
	list_push_front(&p->upconns_idle, &u->node);
	p->upconns_idle_count++;
	loop_timer_set(p->loop, &u->timer, proxy_now(p) + UPCONN_IDLE_MS);
	loop_wake(p->loop, &u->task);
	if (p->upconns_idle_count > UPCONNS_IDLE_MAX)
		upconn_drop_oldest(p);
}

void upconn_put(struct upconn *u, bool reusable)
{
	struct proxy *p = u->proxy;

	assert(u->state != UP_CLOSING);
	if (u->state == UP_IDLE) {
		list_remove(&u->node);
		p->upconns_idle_count--;
	}
	u->user = NULL;
	loop_timer_clear(p->loop, &u->timer);
	reusable = reusable && u->state == UP_READY && stream_is_open(&u->stream) &&
		   buf_len(&u->in) == 0 && !p->draining;
	upconn_return_buf(u);
	if (reusable) {
		upconn_keep(u);
		return;
	}
	if (u->dns_busy)
		resolve_cancel(&u->dns);
	u->dns_busy = false;
	u->state = UP_CLOSING;
	list_push(&p->upconns_closing, &u->node);
	if (u->stream_used && !stream_is_closed(&u->stream))
		stream_close(&u->stream, stream_is_open(&u->stream));
	loop_wake(p->loop, &u->task);
}

void upconn_close_idle(struct proxy *p)
{
	while (!list_empty(&p->upconns_idle))
		upconn_drop_oldest(p);
}
