/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "cache/hot.h"
#include "proxy/arrival.h"
#include "proxy/call.h"
#include "proxy/client.h"
#include "proxy/forwarded.h"
#include "proxy/gate.h"
#include "proxy/poolcheck.h"
#include "proxy/pull.h"
#include "proxy/tagcheck.h"
#include "proxy/tell.h"
#include "proxy/token.h"
#include "proxy/upconn.h"

/* Free blocks kept by a pool: bursts are served without malloc, an idle worker keeps little. */
enum { KEPT_SMALL = 64, KEPT_LARGE = 16, END_POLL_MS = 20, LINGER_MAX_MS = 5000 };

static void proxy_accepted(struct listener *ls, int fd, const struct addr *peer)
{
	struct proxy *p = container_of(ls, struct proxy_listener, ls)->proxy;

	if (ls->kind != LISTEN_ADMIN && forwarded_trusts(&p->config->server.trusted, peer))
		arrival_start(p, fd, peer, (enum listener_kind)ls->kind);
	else
		client_accept(p, fd, peer, (enum listener_kind)ls->kind);
}

static void proxy_reload_deliver(struct mail *m);
static void proxy_drain_deliver(struct mail *m);
static void proxy_drain_over(struct timer *t);
static void proxy_linger_over(struct timer *t);
static void proxy_end_poll(struct timer *t);
static void proxy_end(struct task *task);

/*
 * Heads being read: a client has one while a request arrives, an upstream connection while it is
 * used.  The bound is the sum of both, so a get never fails for want of a block.
 */
static void proxy_pools(struct proxy *p)
{
	unsigned clients = p->clients_max;

	pool_init(&p->client_pool, "client", sizeof(struct client), clients, KEPT_SMALL);
	pool_init(&p->xfer_pool, "xfer", sizeof(struct xfer), clients, KEPT_SMALL);
	/* Requests by HTTP/2: as many as by HTTP/1.1, whoever has them; one more is refused. */
	pool_init(&p->call_pool, "call", sizeof(struct call), clients, KEPT_SMALL);
	pool_init(&p->upconn_pool, "upconn", sizeof(struct upconn), UPCONNS_MAX, KEPT_LARGE);
	pool_init(&p->head_pool, "head", HEAD_BUF_BYTES, clients + UPCONNS_MAX, KEPT_LARGE);
	pool_init(&p->cold_pool, "cold", IO_CHUNK, 2 * clients, KEPT_LARGE);
}

static bool listeners_new(struct list *out, struct proxy *p, const struct proxy_listen *listen,
			  unsigned count)
{
	list_init(out);
	for (unsigned i = 0; i < count; i++) {
		struct proxy_listener *l = listen[i].fd < 0 ? NULL : calloc(1, sizeof(*l));

		if (listen[i].fd < 0)
			continue;
		if (!l)
			return false;
		l->proxy = p;
		l->ls.fd = listen[i].fd;
		l->ls.kind = listen[i].kind;
		list_init(&l->node);
		list_push(out, &l->node);
	}
	return true;
}

static void listeners_free(struct list *all)
{
	while (!list_empty(all)) {
		struct list *node = list_pop(all);

		free(container_of(node, struct proxy_listener, node));
	}
}

static void listener_start(struct proxy *p, struct proxy_listener *l)
{
	listen_start(&l->ls, p->loop, l->ls.fd, l->ls.kind, proxy_accepted);
}

static int proxy_resolver(struct proxy *p)
{
	const struct conf_resolver *c = &p->config->resolver;
	struct resolve_opts o = {
		.servers = c->nameservers.v,
		.servers_count = c->nameservers.count,
		.family = c->family == CONF_FAMILY_V4   ? FAMILY_V4
			  : c->family == CONF_FAMILY_V6 ? FAMILY_V6
							: FAMILY_ANY,
		.timeout_ms = 5000,
		.stats = &p->stats,
	};

	return resolver_new(&p->resolver, p->loop, &o);
}

int proxy_init(struct proxy *p, struct shared *shared, const struct proxy_listen *listen,
	       unsigned listen_count, const char **why)
{
	struct loop_opts lo = { .entries = 1024, .rx_bufs = 256, .rx_buf_bytes = 4096 };
	struct generation *first;
	int err;

	memset(p, 0, sizeof(*p));
	p->shared = shared;
	pthread_mutex_init(&p->uppools_lock, NULL);
	list_init(&p->generations_old);
	list_init(&p->listeners);
	list_init(&p->listeners_next);
	*why = "no memory for a worker";
	first = generation_new(shared->setup);
	if (!first)
		return -ENOMEM;
	generation_enter(p, first);
	p->cache = shared->cache;
	p->clients_max = (unsigned)(p->config->server.conns_max / shared->workers) + 1;
	list_init(&p->clients);
	list_init(&p->arrivals);
	list_init(&p->xfers);
	list_init(&p->upconns_idle);
	list_init(&p->upconns_closing);
	list_init(&p->checks);
	list_init(&p->pulls);
	list_init(&p->tagchecks);
	list_init(&p->tokens);
	p->drain_mail.deliver = proxy_drain_deliver;
	p->reload_mail.deliver = proxy_reload_deliver;
	task_init(&p->end_task, proxy_end);
	timer_init(&p->drain_timer, proxy_drain_over);
	timer_init(&p->linger_timer, proxy_linger_over);
	timer_init(&p->end_timer, proxy_end_poll);
	tell_init(p);
	proxy_pools(p);
	p->hot = hot_new();
	mill_init(&p->mill);
	err = loop_new(&p->loop, &lo, why);
	if (err)
		return err;
	*why = "the worker's buffers, resolver or log could not be made";
	err = net_init(&p->net, p->loop, &p->stats, p->clients_max + UPCONNS_MAX * ATTEMPTS_MAX);
	p->net.ktls = &shared->ktls;
	if (!err)
		err = proxy_resolver(p);
	if (!err)
		err = listeners_new(&p->listeners, p, listen, listen_count) ? 0 : -ENOMEM;
	if (!err)
		err = board_init(&p->board);
	if (!err)
		err = access_init(&p->access, p->loop, &p->stats, shared->access_fd,
				  p->config->server.access_format);
	return err;
}

void proxy_start(struct proxy *p)
{
	poolchecks_start(p);
	list_for_each_safe(it, &p->listeners)
		listener_start(p, container_of(it, struct proxy_listener, node));
}

/* ---- reloading ---- */

/* The one that accepts from it, or NULL. */
static struct proxy_listener *listener_find(struct proxy *p, int fd)
{
	list_for_each_safe(it, &p->listeners) {
		struct proxy_listener *l = container_of(it, struct proxy_listener, node);

		if (l->ls.fd == fd && !l->ls.stopping)
			return l;
	}
	return NULL;
}

static void listeners_enter(struct proxy *p)
{
	while (!list_empty(&p->listeners_next)) {
		struct list *node = list_pop(&p->listeners_next);
		struct proxy_listener *l = container_of(node, struct proxy_listener, node);
		struct proxy_listener *old = listener_find(p, l->ls.fd);

		if (old) {
			old->stays = true;
			free(l);
			continue;
		}
		list_push(&p->listeners, node);
		l->stays = true;
		listener_start(p, l);
	}
	list_for_each_safe(it, &p->listeners) {
		struct proxy_listener *l = container_of(it, struct proxy_listener, node);

		if (!l->stays)
			listen_retire(&l->ls);
		l->stays = false;
		if (listen_stopped(&l->ls)) {
			list_remove(&l->node);
			free(l);
		}
	}
}

static void proxy_reload_deliver(struct mail *m)
{
	struct proxy *p = container_of(m, struct proxy, reload_mail);
	struct generation *g = p->generation_next;

	p->generation_next = NULL;
	generation_enter(p, g);
	listeners_enter(p);
	__atomic_store_n(&p->reloading, false, __ATOMIC_RELEASE);
}

static void generations_drop(struct proxy *proxies, unsigned count)
{
	while (count-- > 0) {
		if (proxies[count].generation_next)
			generation_free(proxies[count].generation_next);
		proxies[count].generation_next = NULL;
		listeners_free(&proxies[count].listeners_next);
	}
}

bool proxies_reload(struct proxy *proxies, unsigned count, struct setup *s,
		    const struct proxy_listen *listens, unsigned listens_each)
{
	for (unsigned i = 0; i < count; i++)
		if (__atomic_load_n(&proxies[i].reloading, __ATOMIC_ACQUIRE))
			return false;
	for (unsigned i = 0; i < count; i++) {
		struct proxy *p = &proxies[i];
		const struct proxy_listen *mine = listens + (size_t)i * listens_each;

		p->generation_next = generation_new(s);
		if (!p->generation_next ||
		    !listeners_new(&p->listeners_next, p, mine, listens_each)) {
			generations_drop(proxies, i + 1);
			return false;
		}
	}
	for (unsigned i = 0; i < count; i++) {
		__atomic_store_n(&proxies[i].reloading, true, __ATOMIC_RELAXED);
		loop_post(proxies[i].loop, &proxies[i].reload_mail);
	}
	return true;
}

/* ---- draining ---- */

void proxy_drain(struct proxy *p)
{
	loop_post(p->loop, &p->drain_mail);
}

/* Who is idle is closed without a word then; most ask before. */
static uint64_t linger_ms(const struct proxy *p)
{
	uint64_t half = p->config->server.drain_timeout_ms / 2;

	return half < LINGER_MAX_MS ? half : LINGER_MAX_MS;
}

static void proxy_linger_over(struct timer *t)
{
	struct proxy *p = container_of(t, struct proxy, linger_timer);

	p->lingering = false;
	arrivals_end(p);
	clients_drain(p);
}

static void proxy_drain_deliver(struct mail *m)
{
	struct proxy *p = container_of(m, struct proxy, drain_mail);

	p->draining = true;
	p->lingering = __atomic_load_n(&p->shared->handed_over, __ATOMIC_RELAXED);
	poolchecks_stop(p);
	list_for_each_safe(it, &p->listeners)
		listen_stop(&container_of(it, struct proxy_listener, node)->ls);
	if (p->lingering)
		loop_timer_set(p->loop, &p->linger_timer, proxy_now(p) + linger_ms(p));
	if (!p->lingering)
		arrivals_end(p);
	clients_drain(p);
	tagchecks_drop_refreshes(p);
	upconn_close_idle(p);
	loop_timer_set(p->loop, &p->drain_timer, proxy_now(p) + p->config->server.drain_timeout_ms);
	loop_timer_set(p->loop, &p->end_timer, proxy_now(p) + 1);
}

static void proxy_drain_over(struct timer *t)
{
	struct proxy *p = container_of(t, struct proxy, drain_timer);

	log_warn("drain clients=%u fills=%u cut off: drain_timeout is over", p->clients_count,
		 p->pulls_count);
	p->killed = true;
	clients_kill(p);
	pulls_kill(p);
	upconn_close_idle(p);
}

void proxy_ended(struct proxy *p)
{
	if (p->draining)
		loop_wake(p->loop, &p->end_task);
}

static bool proxy_is_over(struct proxy *p)
{
	list_for_each_safe(it, &p->listeners)
		if (!listen_stopped(&container_of(it, struct proxy_listener, node)->ls))
			return false;
	if (p->clients_count || p->pulls_count || p->tagchecks_count || p->diskreads_count ||
	    p->passwords_count || p->arrivals_count)
		return false;
	tokens_clear(p, NULL);
	upconn_close_idle(p);
	return p->tokens_count == 0 && p->upconns_count == 0;
}

/* Clients first, then what they used, then the resolver, then the loop itself. */
static void proxy_end(struct task *task)
{
	struct proxy *p = container_of(task, struct proxy, end_task);

	if (!proxy_is_over(p) || !tell_rest(p))
		return;
	if (!p->resolver_gone) {
		p->resolver_gone = true;
		loop_timer_clear(p->loop, &p->drain_timer);
		loop_timer_clear(p->loop, &p->linger_timer);
		resolver_free(p->resolver);
		p->resolver = NULL;
	}
	if (loop_inflight(p->loop) == 0)
		loop_stop(p->loop);
}

/* The last operations of listeners and of the resolver wake nobody here. */
static void proxy_end_poll(struct timer *t)
{
	struct proxy *p = container_of(t, struct proxy, end_timer);

	loop_wake(p->loop, &p->end_task);
	loop_timer_set(p->loop, t, proxy_now(p) + END_POLL_MS);
}

void proxy_fini(struct proxy *p)
{
	access_fini(&p->access);
	gate_free(p->gate);
	hot_free(p->hot);
	generations_fini(p);
	meters_fini(&p->meters);
	board_fini(&p->board);
	listeners_free(&p->listeners);
	listeners_free(&p->listeners_next);
	pool_fini(&p->client_pool);
	pool_fini(&p->xfer_pool);
	pool_fini(&p->call_pool);
	pool_fini(&p->upconn_pool);
	pool_fini(&p->head_pool);
	pool_fini(&p->cold_pool);
	net_fini(&p->net);
	loop_free(p->loop);
}

const char *proxy_date(struct proxy *p)
{
	int64_t now_s = time(NULL);

	if (now_s != p->date_s || !p->date[0])
		http_format_date(now_s, p->date);
	p->date_s = now_s;
	return p->date;
}
