/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The connection of a client, from accept to close. */
#include "proxy/client_private.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/crowd.h"
#include "proxy/forwarded.h"
#include "proxy/passage.h"
#include "proxy/visit.h"

static void client_run(struct task *task);
static void client_timeout(struct timer *t);
static void client_paced(struct timer *t);

void client_arm(struct client *c, uint64_t ms)
{
	loop_timer_set(c->proxy->loop, &c->timer, proxy_now(c->proxy) + ms);
}

/* By our own address: the peer's says less where a socket takes all addresses. */
static bool client_is_on_loopback(const struct client *c)
{
	struct addr own = { .len = sizeof(own.in6) };

	return getsockname(c->stream.fd, &own.sa, &own.len) == 0 && addr_is_loopback(&own);
}

struct xfer_request client_asks(struct client *c, const struct msg *m)
{
	return (struct xfer_request){
		.msg = m,
		.kind = c->kind,
		.on_loopback = c->kind == LISTEN_ADMIN && client_is_on_loopback(c),
		.sni = c->kind == LISTEN_HTTPS ? c->stream.sni : NULL,
		.cert = c->stream.common,
		.seat = c->kind == LISTEN_ADMIN ? NULL : &c->seat,
		.client = &c->stream.peer,
	};
}

bool client_may_send(struct client *c)
{
	unsigned ms = seat_wait_ms(&c->seat, proxy_now(c->proxy));

	if (ms)
		loop_timer_set(c->proxy->loop, &c->pace_timer, proxy_now(c->proxy) + ms);
	return ms == 0;
}

static void client_paced(struct timer *t)
{
	struct client *c = container_of(t, struct client, pace_timer);

	loop_wake(c->proxy->loop, &c->task);
}

void client_sent(struct client *c, size_t n)
{
	seat_sent(&c->seat, proxy_now(c->proxy), n);
}

/* A balancer's connections are its clients'. */
static bool client_counts(const struct proxy *p, const struct addr *peer, enum listener_kind kind)
{
	return kind != LISTEN_ADMIN && p->shared->crowd &&
	       !forwarded_trusts(&p->config->server.trusted, peer);
}

/* ---- beginning and end ---- */

static cold void client_crowded(struct proxy *p, const struct addr *peer)
{
	char text[ADDR_TEXT_MAX];

	addr_format_ip(peer, text);
	stat_inc(&p->stats, STAT_CONNECTIONS_LIMITED);
	log_limited(LOG_WARN, "client peer=%s refused: more than [limits] allows", text);
}

void client_accept(struct proxy *p, int fd, const struct addr *peer, enum listener_kind kind)
{
	struct client *c = p->clients_count < p->clients_max ? pool_get(&p->client_pool) : NULL;

	if (kind != LISTEN_ADMIN)
		stat_inc(&p->stats, STAT_CONNECTIONS);
	if (!c) {
		stat_inc(&p->stats, STAT_CONNECTIONS_REFUSED);
		log_limited(LOG_WARN,
			    "clients %u are connected to this worker: no more (conns_max)",
			    p->clients_count);
		close(fd);
		return;
	}
	memset(c, 0, sizeof(*c));
	c->proxy = p;
	c->kind = kind;
	c->counted = client_counts(p, peer, kind);
	if (c->counted && !crowd_enter(p->shared->crowd, peer, &p->config->limits,
				       kind == LISTEN_HTTPS, proxy_now(p))) {
		client_crowded(p, peer);
		pool_put(&p->client_pool, c);
		close(fd);
		return;
	}
	c->seat.fd = fd;
	list_init(&c->node);
	list_init(&c->calls);
	list_init(&c->calls_new);
	list_push(&p->clients, &c->node);
	p->clients_count++;
	if (kind != LISTEN_ADMIN)
		stat_inc(&p->stats, STAT_CONNECTIONS_NOW);
	task_init(&c->task, client_run);
	timer_init(&c->timer, client_timeout);
	timer_init(&c->pace_timer, client_paced);
	stream_init(&c->stream, &p->net, &c->task);
	if (kind == LISTEN_HTTPS && p->config->passes_count > 0)
		c->stream.divert = passage_is_for;
	stream_accept(&c->stream, fd, peer,
		      kind == LISTEN_HTTPS ? p->generation->setup->tls : NULL);
	client_arm(c, p->config->server.handshake_timeout_ms);
	loop_wake(p->loop, &c->task);
}

static void client_free(struct client *c)
{
	struct proxy *p = c->proxy;

	assert(!c->xfer && !c->h2 && !c->pass && c->calls_count == 0);
	loop_timer_clear(p->loop, &c->timer);
	loop_timer_clear(p->loop, &c->pace_timer);
	loop_unwake(p->loop, &c->task);
	client_h1_wipe(c);
	seat_leave(&c->seat);
	free(c->stream.common);
	if (c->counted)
		crowd_leave(p->shared->crowd, &c->stream.peer, proxy_now(p));
	if (c->in.mem)
		pool_put(&p->head_pool, c->in.mem);
	list_remove(&c->node);
	p->clients_count--;
	if (c->kind != LISTEN_ADMIN)
		stat_add(&p->stats, STAT_CONNECTIONS_NOW, -1);
	pool_put(&p->client_pool, c);
	proxy_ended(p);
}

enum client_step client_kill(struct client *c, bool graceful, const char *why)
{
	loop_timer_clear(c->proxy->loop, &c->timer);
	if (c->xfer && !c->end)
		c->end = why;
	c->keep = false;
	if (c->h2)
		client_h2_end(c, graceful, why);
	if (c->pass)
		passage_cut(c->pass, why);
	if (c->xfer && c->xfer->visit)
		visit_cut(c->xfer->visit);
	if (c->stream.state != STREAM_CLOSED && c->stream.state != STREAM_CLOSING)
		stream_close(&c->stream, graceful);
	c->state = c->xfer || c->pass || c->calls_count ? CLIENT_FINISH : CLIENT_CLOSING;
	return STEP_MORE;
}

static void client_timeout(struct timer *t)
{
	struct client *c = container_of(t, struct client, timer);
	bool idle = c->state == CLIENT_IDLE || (c->h2 && c->wait == CLIENT_WAITS_IDLE);

	if (c->state == CLIENT_CLOSING || c->state == CLIENT_FINISH)
		return;
	if (c->state == CLIENT_PASS && passage_rearm(c->pass))
		return;
	/* A head that does not come to its end is told so; silence between requests just ends. */
	(void)client_kill(c, idle, "client_timeout");
	loop_wake(c->proxy->loop, &c->task);
}

/* ---- a passthrough ---- */

static enum client_step client_pass_begin(struct client *c)
{
	if (!passage_begin(c)) {
		log_limited(LOG_WARN,
			    "passthrough sni=%s refused: no more connections, or it has gone",
			    LOG_Q(slice_of(c->stream.sni)));
		return client_kill(c, false, NULL);
	}
	c->state = CLIENT_PASS;
	return STEP_MORE;
}

static enum client_step client_pass(struct client *c)
{
	if (!passage_run(c->pass))
		return STEP_WAIT;
	return client_kill(c, !c->pass->end, NULL);
}

static enum client_step client_pass_finish(struct client *c)
{
	if (!passage_close(c->pass))
		return STEP_WAIT;
	c->state = CLIENT_CLOSING;
	return STEP_MORE;
}

static enum client_step client_opening(struct client *c)
{
	if (c->stream.err || c->stream.state == STREAM_CLOSED)
		return client_kill(c, false, NULL);
	if (!stream_is_open(&c->stream))
		return STEP_WAIT;
	if (c->stream.diverted)
		return client_pass_begin(c);
	c->state = CLIENT_IDLE;
	client_arm(c, c->proxy->config->server.header_timeout_ms);
	return c->stream.h2 ? client_h2_begin(c) : STEP_MORE;
}

static void client_run(struct task *task)
{
	struct client *c = container_of(task, struct client, task);
	enum client_step s = STEP_MORE;

	while (s == STEP_MORE) {
		switch (c->state) {
		case CLIENT_OPENING: s = client_opening(c); break;
		case CLIENT_IDLE:
		case CLIENT_HEAD: s = client_h1_read(c); break;
		case CLIENT_XFER: s = client_h1_xfer(c); break;
		case CLIENT_SEND: s = client_h1_send(c); break;
		case CLIENT_TUNNEL: s = client_h1_tunnel(c); break;
		case CLIENT_H2: s = client_h2_run(c); break;
		case CLIENT_PASS: s = client_pass(c); break;
		case CLIENT_FINISH:
			s = c->pass   ? client_pass_finish(c)
			    : c->xfer ? client_h1_finish(c)
				      : client_h2_finish(c);
			break;
		case CLIENT_CLOSING:
			if (stream_is_closed(&c->stream))
				client_free(c);
			return;
		}
	}
}

void clients_drain(struct proxy *p)
{
	list_for_each_safe(it, &p->clients) {
		struct client *c = container_of(it, struct client, node);

		if (c->state == CLIENT_IDLE && !p->lingering)
			(void)client_kill(c, true, NULL);
		if (c->state == CLIENT_CLOSING || c->state == CLIENT_H2)
			loop_wake(p->loop, &c->task);
	}
}

void clients_kill(struct proxy *p)
{
	list_for_each_safe(it, &p->clients) {
		struct client *c = container_of(it, struct client, node);

		if (c->state == CLIENT_FINISH || c->state == CLIENT_CLOSING)
			continue;
		(void)client_kill(c, false, "shutdown");
		loop_wake(p->loop, &c->task);
	}
}
