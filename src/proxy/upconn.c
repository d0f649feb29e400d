/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/upconn.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/err.h"
#include "base/log.h"

static void upconn_run(struct task *task);
static void upconn_timeout(struct timer *t);
static void upconn_stagger(struct timer *t);

static bool upconn_is_idle(const struct upconn *u, const struct uppool *g, const struct mirror *m)
{
	/* Bytes or an end may wait for its task already: then it is as good as closed. */
	return u->pool == g && u->mirror == m && stream_is_open(u->stream) && !u->stream->rx_eof &&
	       !stream_pending(u->stream);
}

/* <member>: of that one only; 0: of any that is not out.  <source>: from there; 0: from any. */
static struct upconn *upconn_find_idle(struct proxy *p, struct uppool *g, const struct mirror *m,
				       uint32_t member, unsigned source)
{
	list_for_each(it, &p->upconns_idle) {
		struct upconn *u = container_of(it, struct upconn, node);
		const struct member *of = balance_find(&g->balance, u->member);

		if (!upconn_is_idle(u, g, m) || (member && u->member != member) ||
		    (source && u->source != source))
			continue;
		if (member || !of || !member_is_out(of, proxy_now(p)))
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

static struct upconn *upconn_new(struct proxy *p, struct mirror *m, const struct uri *to,
				 struct uppool *g)
{
	struct upconn *u = pool_get(&p->upconn_pool);

	if (!u)
		return NULL;
	memset(u, 0, sizeof(*u));
	u->proxy = p;
	u->mirror = m;
	u->https = to->https;
	u->port = to->port;
	u->pool = g;
	memcpy(u->host, to->host.ptr, to->host.len); /* the pool's has the same room */
	list_init(&u->node);
	list_init(&u->wait.node);
	u->wait.task = &u->task;
	task_init(&u->task, upconn_run);
	timer_init(&u->timer, upconn_timeout);
	timer_init(&u->stagger, upconn_stagger);
	for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
		stream_init(&u->attempts[i].stream, &p->net, &u->task);
	if (!upconn_borrow_buf(u)) {
		pool_put(&p->upconn_pool, u);
		return NULL;
	}
	p->upconns_count++;
	return u;
}

/* The oldest idle connection (of that pool, or of all) makes room when a bound is reached. */
static bool upconn_drop_oldest(struct proxy *p, const struct uppool *g)
{
	for (struct list *it = p->upconns_idle.prev; it != &p->upconns_idle; it = it->prev) {
		struct upconn *u = container_of(it, struct upconn, node);

		if (!g || u->pool == g) {
			upconn_put(u, false);
			return true;
		}
	}
	return false;
}

static void upconn_reuse(struct upconn *u, struct task *user)
{
	list_remove(&u->node);
	u->proxy->upconns_idle_count--;
	u->pool->idle--;
	loop_timer_clear(u->proxy->loop, &u->timer);
	uppool_begin(u->pool, u->member);
	u->asked_ms = proxy_now(u->proxy);
	u->user = user;
	u->state = UP_READY;
	u->kept = true;
}

uint64_t upconn_connect_ms(const struct upconn *u)
{
	const struct conf_pool *c = u->pool->conf;

	return c && c->connect_timeout_ms ? c->connect_timeout_ms
					  : u->mirror->conf->connect_timeout_ms;
}

uint64_t upconn_first_byte_ms(const struct upconn *u)
{
	const struct conf_pool *c = u->pool->conf;

	return c && c->first_byte_timeout_ms ? c->first_byte_timeout_ms
					     : u->mirror->conf->first_byte_timeout_ms;
}

uint64_t upconn_idle_ms(const struct upconn *u)
{
	const struct conf_pool *c = u->pool->conf;

	return c && c->idle_timeout_ms ? c->idle_timeout_ms : u->mirror->conf->stall_ms;
}

/* Takes over the reference on <g>. */
static struct upconn *upconn_make(struct proxy *p, struct mirror *m, const struct uri *to,
				  struct uppool *g, uint32_t first, struct task *user)
{
	struct upconn *u;

	if (p->upconns_count >= UPCONNS_MAX)
		(void)upconn_drop_oldest(p, NULL);
	u = upconn_new(p, m, to, g);
	if (!u) {
		uppool_put(g);
		return NULL;
	}
	stat_inc(&p->stats, STAT_UP_CONNECTIONS);
	u->user = user;
	u->member = first;
	u->state = UP_RESOLVING;
	loop_timer_set(p->loop, &u->timer, proxy_now(p) + upconn_connect_ms(u));
	loop_wake(p->loop, &u->task);
	return u;
}

struct upconn *upconn_get_member(struct proxy *p, struct mirror *m, const struct uri *to,
				 uint32_t member, struct task *user)
{
	struct uppool *g = uppool_get(p, m, to);
	struct upconn *u = g ? upconn_make(p, m, to, g, member, user) : NULL;

	if (u)
		u->only = true;
	return u;
}

struct upconn *upconn_get(struct proxy *p, struct mirror *m, const struct uri *to, bool fresh,
			  unsigned source, struct task *user)
{
	struct uppool *g = uppool_get(p, m, to);
	struct upconn *u = NULL;
	uint32_t first = 0;

	if (!g)
		return NULL;
	/* Servers have their shares by requests; of a host's addresses any that is open will do. */
	if (g->servers && g->balance.count > 0)
		first = uppool_pick(g);
	if (!fresh)
		u = upconn_find_idle(p, g, m, first, source);
	if (u && upconn_borrow_buf(u)) {
		uppool_put(g); /* it has its own reference */
		upconn_reuse(u, user);
		return u;
	}
	u = upconn_make(p, m, to, g, first, user);
	if (u)
		u->source = source;
	return u;
}

void upconn_use_raw(struct upconn *u)
{
	upconn_return_buf(u);
}

struct upconn *upconn_better(struct upconn *u)
{
	struct upconn *idle = NULL;

	if (u->state == UP_QUEUED && !u->wait.granted && !u->err)
		idle = upconn_find_idle(u->proxy, u->pool, u->mirror, 0, u->source);
	if (!idle || !upconn_borrow_buf(idle))
		return u;
	upconn_reuse(idle, u->user);
	upconn_put(u, false);
	return idle;
}

static void upconn_fail(struct upconn *u, int err)
{
	assert(err < 0);
	if (!u->err)
		u->err = err;
	loop_timer_clear(u->proxy->loop, &u->timer);
	loop_timer_clear(u->proxy->loop, &u->stagger);
	if (u->user)
		loop_wake(u->proxy->loop, u->user);
}

/* ---- attempts ---- */

static bool attempt_free(const struct attempt *a)
{
	return a->member == 0 && stream_is_closed(&a->stream);
}

/* It is no connection any more, or not to be one. */
static void attempt_drop(struct upconn *u, struct attempt *a)
{
	if (a->member)
		uppool_end(u->pool, a->member);
	a->member = 0;
	if (!stream_is_closed(&a->stream))
		stream_close(&a->stream, stream_is_open(&a->stream));
}

/* Our own shortage, or the proxy's word on one target, says nothing of a member. */
bool upconn_is_ours(int err)
{
	return err == ERR_BUSY || err == ERR_DNS || err == ERR_DNS_TIMEOUT ||
	       err == ERR_ADDR_PRIVATE || err == -EMFILE || err == -ENFILE || err == -ENOMEM ||
	       err == -ENOBUFS || err == -EADDRNOTAVAIL || err == -EINVAL || err == ERR_LIMIT ||
	       err == ERR_VIA;
}

static void attempt_failed(struct upconn *u, struct attempt *a)
{
	bool tls = a->stream.tls && a->stream.err <= ERR_TLS_RECORD &&
		   a->stream.err >= ERR_TLS_TRUNCATED;

	if (!upconn_is_ours(a->stream.err))
		uppool_report(u->pool, a->member, tls ? UPCONN_TLS : UPCONN_CONNECT);
	/* A refused certificate is what the operator has to know of. */
	if (u->err_last != ERR_TLS_CERT)
		u->err_last = a->stream.err;
	attempt_drop(u, a);
}

static bool upconn_via(const struct upconn *u)
{
	return u->pool->conf && u->pool->conf->via.text;
}

/* May this address be dialled? */
static bool upconn_may(const struct upconn *u, const struct member *m)
{
	const struct conf_mirror *c = u->mirror->conf;
	char text[ADDR_TEXT_MAX];

	if (c->private || !addr_is_private(&m->addr) || upconn_via(u) ||
	    (m->named && config_is_upstream(c, slice_of(u->host))))
		return true;
	addr_format(&m->addr, text);
	log_limited(LOG_WARN,
		    "upstream mirror=%s host=%s address=%s refused: private address "
		    "(private = yes in the mirror's section allows it)",
		    c->name, u->host, text);
	return false;
}

/* What a [pool] says goes before what [server] does. */
static void pool_tuning(const struct conf_pool *c, struct tuning *t)
{
	if (c->congestion)
		t->congestion = c->congestion;
	if (c->sndbuf_bytes)
		t->sndbuf_bytes = (unsigned)c->sndbuf_bytes;
	t->rcvbuf_bytes = (unsigned)c->rcvbuf_bytes;
}

static void attempt_begin(struct upconn *u, struct attempt *a, const struct member *m)
{
	const struct conf_pool *c = u->pool->conf;
	struct addr to = m->addr;
	bool bound;

	stream_init(&a->stream, &u->proxy->net, &u->task);
	a->dial = (struct stream_dial){ .warned = &u->pool->warned };
	if (!uppool_bind(u->pool, to.sa.sa_family, u->source, &a->from, &bound)) {
		u->err_last = -EADDRNOTAVAIL;
		return;
	}
	if (bound)
		a->dial.bind = &a->from;
	a->dial.tuning = u->proxy->shared->tuning;
	a->dial.tuning.fastopen = 0; /* of listening sockets */
	if (c)
		pool_tuning(c, &a->dial.tuning);
	if (upconn_via(u))
		a->dial.via = (struct via_target){
			.kind = c->via.kind == CONF_VIA_HTTP ? VIA_HTTP : VIA_SOCKS5,
			.user = c->via.user,
			.password = c->via.password,
			.host = u->host,
			.port = u->port,
		};
	a->member = m->id;
	a->begun_ms = proxy_now(u->proxy);
	uppool_begin(u->pool, m->id);
	stream_connect(&a->stream, &to, u->https ? u->mirror->tls : NULL, u->host, &a->dial);
}

/* False: nobody is left to dial, or no room for now. */
static bool upconn_dial_next(struct upconn *u)
{
	struct attempt *a = NULL;

	for (unsigned i = 0; i < ATTEMPTS_MAX && !a; i++)
		if (attempt_free(&u->attempts[i]))
			a = &u->attempts[i];
	while (a && u->order_next < u->order_count) {
		const struct member *m = balance_find(&u->pool->balance, u->order[u->order_next++]);

		if (!m)
			continue;
		if (!upconn_may(u, m)) {
			if (!u->err_last)
				u->err_last = ERR_ADDR_PRIVATE;
			continue;
		}
		attempt_begin(u, a, m);
		if (!a->member)
			continue;
		loop_timer_set(u->proxy->loop, &u->stagger, proxy_now(u->proxy) + STAGGER_MS);
		return true;
	}
	return false;
}

static bool upconn_is_dialling(const struct upconn *u)
{
	for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
		if (!attempt_free(&u->attempts[i]))
			return true;
	return false;
}

/* Time for one more, unless one has got through to its peer: that is given more time. */
static void upconn_stagger(struct timer *t)
{
	struct upconn *u = container_of(t, struct upconn, stagger);
	uint64_t now = proxy_now(u->proxy);

	if (u->state != UP_CONNECTING || u->err)
		return;
	for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
		const struct attempt *a = &u->attempts[i];

		if (a->member && !a->stream.err && a->stream.state > STREAM_CONNECTING &&
		    now - a->begun_ms < TLS_STALL_MS) {
			loop_timer_set(u->proxy->loop, t, a->begun_ms + TLS_STALL_MS);
			return;
		}
	}
	(void)upconn_dial_next(u);
}

static bool attempt_stalled(const struct attempt *a, const struct attempt *won)
{
	uint64_t given = a->stream.state == STREAM_CONNECTING ? STAGGER_MS : TLS_STALL_MS;

	return !stream_is_open(&a->stream) && a->begun_ms + given <= won->begun_ms;
}

static void upconn_won(struct upconn *u, struct attempt *won)
{
	u->stream = &won->stream;
	u->member = won->member;
	u->connect_ms = proxy_now(u->proxy) - won->begun_ms;
	u->asked_ms = proxy_now(u->proxy);
	u->state = UP_READY;
	loop_timer_clear(u->proxy->loop, &u->timer);
	loop_timer_clear(u->proxy->loop, &u->stagger);
	for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
		struct attempt *a = &u->attempts[i];

		if (a == won)
			continue;
		/* It was given all the winner's time and more, and nobody is there. */
		if (a->member && attempt_stalled(a, won))
			uppool_report(u->pool, a->member,
				      a->stream.state == STREAM_CONNECTING ? UPCONN_CONNECT
									   : UPCONN_TLS);
		attempt_drop(u, a);
	}
	loop_wake(u->proxy->loop, u->user);
}

static void upconn_connecting(struct upconn *u)
{
	for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
		struct attempt *a = &u->attempts[i];
		bool was = a->member != 0;

		if (was && stream_is_open(&a->stream)) {
			upconn_won(u, a);
			return;
		}
		if (was && a->stream.err) {
			attempt_failed(u, a);
			u->dial_due = true;
		}
	}
	if (u->dial_due && upconn_dial_next(u))
		u->dial_due = false;
	if (!upconn_is_dialling(u) && u->order_next == u->order_count)
		upconn_fail(u, u->err_last ? u->err_last : ERR_DNS);
}

/* A literal that no outgoing proxy may be asked for; names are its own business. */
static bool upconn_target_ok(const struct upconn *u)
{
	struct addr a = { .len = sizeof(a.in6) };

	if (!upconn_via(u) || u->mirror->conf->private)
		return true;
	if (inet_pton(AF_INET, u->host, &a.in.sin_addr) == 1)
		a.in.sin_family = AF_INET;
	else if (inet_pton(AF_INET6, u->host, &a.in6.sin6_addr) == 1)
		a.in6.sin6_family = AF_INET6;
	else /* "127.1" and the like, which resolvers take for addresses */
		return u->host[strcspn(u->host, "ghijklmnopqrstuvwxyz_-")] != '\0' &&
		       strcmp(u->host, "localhost") != 0;
	return !addr_is_private(&a);
}

/* A slot is there: whom to dial, in which order. */
static void upconn_begin(struct upconn *u)
{
	struct uppool *g = u->pool;
	uint32_t first = u->member && balance_find(&g->balance, u->member) ? u->member : 0;

	if (first == 0 && !u->only)
		first = uppool_pick(g);
	u->slot = true;
	u->state = UP_CONNECTING;
	u->member = 0;
	loop_timer_set(u->proxy->loop, &u->timer, proxy_now(u->proxy) + upconn_connect_ms(u));
	if (!upconn_target_ok(u)) {
		upconn_fail(u, ERR_ADDR_PRIVATE);
		return;
	}
	if (first) {
		u->order[0] = first;
		u->order_count = 1 + (u->only ? 0 : uppool_others(g, first, u->order + 1));
	}
	u->dial_due = true;
	upconn_connecting(u);
}

static void upconn_resolving(struct upconn *u)
{
	struct uppool *g = u->pool;

	if (!uppool_resolve(g, &u->wait))
		return;
	if (g->balance.count == 0) {
		upconn_fail(u, g->err ? g->err : ERR_DNS);
		return;
	}
	if (u->spare && uppool_is_tight(g)) {
		upconn_fail(u, ERR_LIMIT);
		return;
	}
	if (uppool_slot(g, &u->wait)) {
		upconn_begin(u);
		return;
	}
	u->state = UP_QUEUED;
	loop_timer_set(u->proxy->loop, &u->timer, proxy_now(u->proxy) + g->conf->queue_timeout_ms);
	/* An idle connection to another member has a slot that it does not need. */
	(void)upconn_drop_oldest(u->proxy, g);
}

static void upconn_timeout(struct timer *t)
{
	struct upconn *u = container_of(t, struct upconn, timer);
	int err = -ETIMEDOUT;

	switch (u->state) {
	case UP_IDLE: upconn_put(u, false); return;
	case UP_READY:
	case UP_CLOSING: return;
	case UP_RESOLVING: err = ERR_DNS_TIMEOUT; break;
	case UP_QUEUED:
		log_limited(LOG_WARN, "pool host=%s max_conns: none became free in time",
			    u->pool->host);
		err = ERR_BUSY;
		break;
	case UP_CONNECTING:
		for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
			struct attempt *a = &u->attempts[i];

			if (a->member && !a->stream.err)
				uppool_report(u->pool, a->member,
					      a->stream.state == STREAM_CONNECTING ? UPCONN_CONNECT
										   : UPCONN_TLS);
		}
		break;
	}
	upconn_fail(u, err);
}

static bool upconn_all_closed(const struct upconn *u)
{
	for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
		if (!stream_is_closed(&u->attempts[i].stream))
			return false;
	return true;
}

static void upconn_free(struct upconn *u)
{
	struct proxy *p = u->proxy;

	list_remove(&u->node);
	loop_timer_clear(p->loop, &u->timer);
	loop_timer_clear(p->loop, &u->stagger);
	loop_unwake(p->loop, &u->task);
	if (u->slot)
		uppool_slot_back(u->pool);
	uppool_put(u->pool);
	p->upconns_count--;
	pool_put(&p->upconn_pool, u);
	proxy_ended(p);
}

static void upconn_idle(struct upconn *u)
{
	struct buf scratch;

	buf_init(&scratch, u->proxy->net.plain, NET_PLAIN_BYTES);
	if (u->stream->err || u->stream->rx_eof || stream_pending(u->stream)) {
		upconn_put(u, false);
		return;
	}
	/* Arms the receive by which the end is noticed; bytes that nobody asked for end it too. */
	if (stream_pull(u->stream, &scratch) != 0)
		upconn_put(u, false);
}

static void upconn_run(struct task *task)
{
	struct upconn *u = container_of(task, struct upconn, task);

	switch (u->state) {
	case UP_RESOLVING:
		if (!u->err)
			upconn_resolving(u);
		return;
	case UP_QUEUED:
		if (u->wait.granted && !u->err) {
			u->wait.granted = false;
			upconn_begin(u);
		}
		return;
	case UP_CONNECTING:
		if (!u->err)
			upconn_connecting(u);
		return;
	case UP_READY: loop_wake(u->proxy->loop, u->user); return;
	case UP_IDLE: upconn_idle(u); return;
	case UP_CLOSING:
		if (upconn_all_closed(u))
			upconn_free(u);
		return;
	}
}

static void upconn_keep(struct upconn *u)
{
	const struct conf_pool *c = u->pool->conf;
	struct proxy *p = u->proxy;

	u->state = UP_IDLE;
	list_push_front(&p->upconns_idle, &u->node);
	p->upconns_idle_count++;
	u->pool->idle++;
	loop_timer_set(p->loop, &u->timer,
		       proxy_now(p) + (c ? c->keepalive_timeout_ms : UPCONN_IDLE_MS));
	loop_wake(p->loop, &u->task);
	if (c && u->pool->idle > c->keepalive)
		(void)upconn_drop_oldest(p, u->pool);
	if (p->upconns_idle_count > UPCONNS_IDLE_MAX)
		(void)upconn_drop_oldest(p, NULL);
	if (!list_empty(&u->pool->for_slot)) {
		struct upconn *next =
			container_of(u->pool->for_slot.next, struct upconn, wait.node);

		if (next->user) /* it may take this one: see upconn_better() */
			loop_wake(p->loop, next->user);
	}
}

/* It waits for nothing any more. */
static void upconn_unwait(struct upconn *u)
{
	list_remove(&u->wait.node);
	if (u->wait.granted)
		u->slot = true; /* given back with the rest */
	u->wait.granted = false;
}

void upconn_put(struct upconn *u, bool reusable)
{
	struct proxy *p = u->proxy;

	assert(u->state != UP_CLOSING);
	if (u->state == UP_IDLE) {
		list_remove(&u->node);
		p->upconns_idle_count--;
		u->pool->idle--;
	} else if (u->state == UP_READY) {
		uppool_end(u->pool, u->member);
	}
	u->user = NULL;
	loop_timer_clear(p->loop, &u->timer);
	loop_timer_clear(p->loop, &u->stagger);
	reusable = reusable && u->state == UP_READY && stream_is_open(u->stream) &&
		   buf_len(&u->in) == 0 && !p->draining;
	upconn_return_buf(u);
	if (reusable) {
		upconn_keep(u);
		return;
	}
	upconn_unwait(u);
	for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
		struct attempt *a = &u->attempts[i];

		if (&a->stream == u->stream)
			a->member = 0; /* its use was ended above */
		attempt_drop(u, a);
	}
	u->state = UP_CLOSING;
	list_push(&p->upconns_closing, &u->node);
	loop_wake(p->loop, &u->task);
}

void upconn_report(struct upconn *u, enum upconn_outcome what)
{
	uint64_t ms = u->connect_ms + proxy_now(u->proxy) - u->asked_ms;

	if (u->state != UP_READY)
		return;
	if (what == UPCONN_OK)
		uppool_latency(u->pool, u->member, ms);
	uppool_report(u->pool, u->member, what);
}

bool upconn_blame(struct proxy *p, struct mirror *m, const struct uri *to, uint32_t member)
{
	struct uppool *g = uppool_get(p, m, to);
	bool other;

	if (!g)
		return false;
	uppool_report(g, member, UPCONN_BAD);
	other = uppool_has_other(g, member);
	uppool_put(g);
	return other;
}

void upconn_close_idle(struct proxy *p)
{
	while (upconn_drop_oldest(p, NULL))
		continue;
}
