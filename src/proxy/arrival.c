/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/arrival.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/ppin.h"
#include "proxy/client.h"

struct arrival {
	struct proxy *proxy;
	struct list node; /* in proxy.arrivals */
	struct op op;
	unsigned inflight;
	struct timer timer;
	int fd;
	int seen; /* bytes of a header whose end is missing */
	enum listener_kind kind;
	struct addr peer;
};

static void arrival_free(struct arrival *a)
{
	struct proxy *p = a->proxy;

	loop_timer_clear(p->loop, &a->timer);
	list_remove(&a->node);
	p->arrivals_count--;
	free(a);
	proxy_ended(p);
}

static void arrival_drop(struct arrival *a)
{
	close(a->fd);
	arrival_free(a);
}

/* The kernel wakes us for so many bytes, no fewer: what is there already is no news. */
static void want(int fd, int bytes)
{
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

static void arrival_is(struct arrival *a, const struct addr *client)
{
	int fd = a->fd;
	enum listener_kind kind = a->kind;
	struct addr who = *client;
	struct proxy *p = a->proxy;

	want(fd, 1);
	arrival_free(a);
	client_accept(p, fd, &who, kind);
}

static cold void arrival_bad(struct arrival *a)
{
	char text[ADDR_TEXT_MAX];

	addr_format_ip(&a->peer, text);
	log_limited(LOG_WARN, "client peer=%s refused: its PROXY header cannot be read", text);
	arrival_drop(a);
}

static void arrival_look(struct arrival *a)
{
	struct addr client = a->peer;
	char in[PPIN_MAX];
	ssize_t n = recv(a->fd, in, sizeof(in), MSG_PEEK | MSG_DONTWAIT);
	size_t used = 0;

	if (n <= 0) {
		arrival_drop(a);
		return;
	}
	switch (ppin_parse((struct slice){ in, (size_t)n }, &used, &client)) {
	case PPIN_NONE: arrival_is(a, &client); return;
	case PPIN_BAD: arrival_bad(a); return;
	case PPIN_DONE:
		if (recv(a->fd, in, used, MSG_DONTWAIT) == (ssize_t)used)
			arrival_is(a, &client);
		else
			arrival_drop(a);
		return;
	case PPIN_MORE:
		if (n == a->seen) { /* it was woken for its end */
			arrival_drop(a);
			return;
		}
		a->seen = (int)n;
		want(a->fd, (int)n + 1);
		loop_poll(a->proxy->loop, &a->op, a->fd, POLLIN);
		return;
	}
}

static void arrival_done(struct op *op, int res)
{
	struct arrival *a = container_of(op, struct arrival, op);

	if (res < 0 || !timer_armed(&a->timer))
		arrival_drop(a);
	else
		arrival_look(a);
}

/* Also without one: its time is over, or all end. */
static void arrival_end(struct arrival *a)
{
	loop_timer_clear(a->proxy->loop, &a->timer);
	loop_cancel(a->proxy->loop, &a->op);
}

static void arrival_timeout(struct timer *t)
{
	arrival_end(container_of(t, struct arrival, timer));
}

void arrival_start(struct proxy *p, int fd, const struct addr *peer, enum listener_kind kind)
{
	struct arrival *a = p->arrivals_count < p->clients_max ? calloc(1, sizeof(*a)) : NULL;

	if (!a) {
		stat_inc(&p->stats, STAT_CONNECTIONS_REFUSED);
		close(fd);
		return;
	}
	a->proxy = p;
	a->fd = fd;
	a->kind = kind;
	a->peer = *peer;
	list_init(&a->node);
	list_push(&p->arrivals, &a->node);
	p->arrivals_count++;
	timer_init(&a->timer, arrival_timeout);
	op_init(&a->op, &a->inflight, arrival_done);
	loop_timer_set(p->loop, &a->timer, proxy_now(p) + p->config->server.handshake_timeout_ms);
	loop_poll(p->loop, &a->op, fd, POLLIN);
}

void arrivals_end(struct proxy *p)
{
	list_for_each_safe(it, &p->arrivals)
		arrival_end(container_of(it, struct arrival, node));
}
