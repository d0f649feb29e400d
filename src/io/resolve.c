/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * c-ares on the loop.
 *
 * c-ares calls back from inside its own calls: when a socket opens, changes or closes, and when a
 * name is answered.  These callbacks only record; resolver_run(), the task, then sets the polls and
 * the timer right and delivers what was answered.  So c-ares is never entered from its callbacks,
 * and no owner's done() is called from inside resolve_start().
 *
 * Invariants
 *  1. A name with waiting resolves is being asked, and its limit is armed.
 *  2. A resolve that is busy is on one list: waiting of its name, or answered.
 *  3. A socket slot that c-ares has closed (fd < 0) is free once its poll has ended.
 */
#include "io/resolve.h"

#include <ares.h>
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"

/* Newer c-ares has a cache of its own, without our bounds: off when its time is left at 0. */
#ifndef ARES_OPT_QUERY_CACHE
#define ARES_OPT_QUERY_CACHE 0
#endif

enum {
	NAMES_MAX =
		256, /* registries, their token servers and CDNs, and what hostile redirects add */
	SOCKS_MAX = 32, /* c-ares has one UDP and one TCP socket for each server */
	TTL_MIN_S = 5,  /* also for /etc/hosts, which gives 0 */
	TTL_MAX_S = 300,
	TTL_NEGATIVE_S = 5,
	/* While servers fail, a name's last answer goes on being used (RFC 8767): */
	STALE_MAX_S = 24 * 3600,
	STALE_RETRY_S = 5,    /* asked again, behind the answer */
	STALE_WAIT_MS = 1800, /* the first who finds them failing waits so long */
	TRIES = 2,
	SYSTEM_SERVERS = 2, /* what resolv.conf is taken to have */
	TRY_MIN_MS = 50,
	SERVERS_TEXT_MAX = 1024,
};

/* A socket of c-ares. */
struct sock {
	struct op op;
	struct resolver *resolver;
	int fd;     /* -1: c-ares has closed it, or has not opened it */
	short want; /* events that c-ares waits for */
	short armed;
	int polled; /* events that have come, not yet told c-ares; 0: none */
};

/* A name asked or answered. */
struct name {
	struct list node;    /* resolver.names, the last used first */
	struct list waiting; /* resolves */
	struct resolver *resolver;
	struct timer limit;
	bool asking; /* c-ares will call back with this name */
	bool stale;  /* servers fail: the answer is old, and used at once */
	int err;     /* the last answer: kept until expires_ms */
	uint64_t expires_ms;
	uint64_t stale_until_ms; /* 0: the last answer was none */
	unsigned count;
	struct addr addrs[RESOLVE_ADDRS_MAX];
	char host[sizeof(((struct resolve *)0)->host)];
};

struct resolver {
	struct loop *loop;
	struct stats *stats;
	ares_channel channel; /* NULL once closing */
	enum addr_family family;
	unsigned timeout_ms;
	struct list names;
	unsigned names_count;
	struct list answered; /* resolves whose done() is to be called */
	struct task task;
	struct timer retry; /* when c-ares wants to look after its tries */
	bool retry_due;
	unsigned inflight; /* polls */
	struct sock socks[SOCKS_MAX];
};

static void sock_polled(struct op *op, int res)
{
	struct sock *s = container_of(op, struct sock, op);

	/* A failed poll is told as an error on the socket, which c-ares then closes. */
	if (s->fd >= 0 && res != -ECANCELED)
		s->polled = res > 0 ? res : POLLERR;
	loop_wake(s->resolver->loop, &s->resolver->task);
}

static struct sock *sock_find(struct resolver *r, int fd)
{
	struct sock *unused = NULL;

	for (unsigned i = 0; i < SOCKS_MAX; i++) {
		struct sock *s = &r->socks[i];

		if (s->fd == fd)
			return s;
		if (s->fd < 0 && !op_busy(&s->op))
			unused = s;
	}
	return unused;
}

/* By c-ares: <fd> is open and waits for this, or (neither) is about to be closed. */
static void sock_changed(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct resolver *r = arg;
	struct sock *s = sock_find(r, fd);

	assert(fd >= 0);
	if (!s) {
		/* Its query will time out. */
		log_limited(LOG_WARN, "resolver sockets=%d error=\"too many\"", SOCKS_MAX);
		return;
	}
	s->polled = 0;
	s->want = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
	s->fd = s->want ? fd : -1;
	loop_wake(r->loop, &r->task);
}

static void socks_tell(struct resolver *r)
{
	for (unsigned i = 0; i < SOCKS_MAX && r->channel; i++) {
		struct sock *s = &r->socks[i];
		int events = s->polled;

		if (!events)
			continue;
		s->polled = 0;
		ares_process_fd(r->channel, events & ~POLLOUT ? s->fd : ARES_SOCKET_BAD,
				events & POLLOUT ? s->fd : ARES_SOCKET_BAD);
	}
}

static void socks_poll(struct resolver *r)
{
	for (unsigned i = 0; i < SOCKS_MAX; i++) {
		struct sock *s = &r->socks[i];

		if (op_busy(&s->op)) {
			if (s->fd < 0 || s->armed != s->want)
				loop_cancel(r->loop, &s->op);
		} else if (s->fd >= 0) {
			s->armed = s->want;
			loop_poll(r->loop, &s->op, s->fd, s->want);
		}
	}
}

static void retry_fired(struct timer *t)
{
	struct resolver *r = container_of(t, struct resolver, retry);

	r->retry_due = true;
	loop_wake(r->loop, &r->task);
}

static void retry_set(struct resolver *r)
{
	struct timeval tv;

	if (!ares_timeout(r->channel, NULL, &tv)) {
		loop_timer_clear(r->loop, &r->retry);
		return;
	}
	/* Rounded up: c-ares reads its own clock; an early timer would be set again at once. */
	loop_timer_set(r->loop, &r->retry,
		       loop_now_ms(r->loop) + (uint64_t)tv.tv_sec * 1000 +
			       (uint64_t)tv.tv_usec / 1000 + 1);
}

static void resolve_answer(struct resolve *q, int err)
{
	q->err = err;
	list_remove(&q->node);
	list_push(&q->resolver->answered, &q->node);
	loop_wake(q->resolver->loop, &q->resolver->task);
}

static void addr_set_port(struct addr *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET)
		a->in.sin_port = htons(port);
	else
		a->in6.sin6_port = htons(port);
}

static void resolve_answer_from(struct resolve *q, const struct name *n)
{
	q->count = n->count;
	for (unsigned i = 0; i < n->count; i++) {
		q->addrs[i] = n->addrs[i];
		addr_set_port(&q->addrs[i], q->port);
	}
	resolve_answer(q, n->err);
}

static void deliver(struct resolver *r)
{
	struct list batch;

	/* What is answered from inside a done() waits for the next turn. */
	list_init(&batch);
	while (!list_empty(&r->answered))
		list_push(&batch, list_pop(&r->answered));
	while (!list_empty(&batch)) {
		struct resolve *q = container_of(batch.next, struct resolve, node);

		list_remove(&q->node);
		assert(q->busy);
		q->busy = false;
		q->done(q, q->err);
	}
}

static void resolver_run(struct task *t)
{
	struct resolver *r = container_of(t, struct resolver, task);

	if (r->channel) {
		socks_tell(r);
		if (r->retry_due)
			ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
		r->retry_due = false;
		retry_set(r);
	}
	socks_poll(r);
	if (!r->channel && r->inflight == 0) {
		free(r);
		return;
	}
	deliver(r);
}

static int status_err(int status)
{
	switch (status) {
	case ARES_SUCCESS: return 0;
	case ARES_ETIMEOUT:
	case ARES_ECONNREFUSED: return ERR_DNS_TIMEOUT;
	}
	return ERR_DNS;
}

static unsigned name_take(struct name *n, const struct ares_addrinfo *info)
{
	int ttl = TTL_MAX_S;

	for (const struct ares_addrinfo_node *a = info->nodes; a; a = a->ai_next) {
		struct addr *to = &n->addrs[n->count];

		if (n->count == RESOLVE_ADDRS_MAX || (size_t)a->ai_addrlen > sizeof(to->in6))
			break;
		memcpy(&to->in6, a->ai_addr, a->ai_addrlen);
		to->len = a->ai_addrlen;
		n->count++;
		ttl = a->ai_ttl < ttl ? a->ai_ttl : ttl;
	}
	for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next)
		ttl = c->ttl < ttl ? c->ttl : ttl;
	return ttl < TTL_MIN_S ? TTL_MIN_S : (unsigned)ttl;
}

static void name_answer_waiting(struct name *n)
{
	loop_timer_clear(n->resolver->loop, &n->limit);
	while (!list_empty(&n->waiting))
		resolve_answer_from(container_of(n->waiting.next, struct resolve, node), n);
}

/* Is there an old answer, to be used when servers fail? */
static bool name_has_old(const struct name *n)
{
	return loop_now_ms(n->resolver->loop) < n->stale_until_ms;
}

static void name_use_old(struct name *n, int err)
{
	if (!n->stale)
		log_warn("resolver host=%s error=\"%s\" its last addresses are used", n->host,
			 err_text(err));
	n->stale = true;
	n->expires_ms = loop_now_ms(n->resolver->loop) + STALE_RETRY_S * 1000;
}

static void name_use_new(struct name *n, int err, const struct ares_addrinfo *info)
{
	uint64_t now = loop_now_ms(n->resolver->loop);
	unsigned ttl_s = TTL_NEGATIVE_S;

	if (n->stale)
		log_warn("resolver host=%s answered again", n->host);
	n->stale = false;
	n->count = 0;
	n->stale_until_ms = 0;
	if (info)
		ttl_s = name_take(n, info);
	n->err = err == 0 && n->count == 0 ? ERR_DNS : err;
	/* Silence is not kept: it costs its asker time enough. */
	n->expires_ms = n->err == ERR_DNS_TIMEOUT ? 0 : now + ttl_s * 1000;
	if (n->err == 0)
		n->stale_until_ms = n->expires_ms + STALE_MAX_S * 1000ull;
}

static void name_answered(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct name *n = arg;
	int err = status_err(status);
	/* "There is no such name" is an answer; what else goes wrong is the servers' fault. */
	bool said_no = status == ARES_ENOTFOUND || status == ARES_ENODATA;

	(void)timeouts;
	assert(n->asking);
	n->asking = false;
	if (err && !said_no && name_has_old(n))
		name_use_old(n, err);
	else
		name_use_new(n, err, info);
	ares_freeaddrinfo(info);
	name_answer_waiting(n);
}

/* c-ares goes on with the name until its tries are over; who comes meanwhile may still get it. */
static void name_limit_fired(struct timer *t)
{
	struct name *n = container_of(t, struct name, limit);

	if (name_has_old(n)) {
		name_use_old(n, ERR_DNS_TIMEOUT);
		name_answer_waiting(n);
	}
	while (!list_empty(&n->waiting))
		resolve_answer(container_of(n->waiting.next, struct resolve, node),
			       ERR_DNS_TIMEOUT);
}

/* May call name_answered(). */
static void name_ask(struct name *n)
{
	struct resolver *r = n->resolver;
	struct ares_addrinfo_hints hints = { .ai_socktype = SOCK_STREAM };

	switch (r->family) {
	case FAMILY_ANY: hints.ai_family = AF_UNSPEC; break;
	case FAMILY_V4: hints.ai_family = AF_INET; break;
	case FAMILY_V6: hints.ai_family = AF_INET6; break;
	}
	stat_inc(r->stats, STAT_DNS_QUERIES);
	n->asking = true;
	ares_getaddrinfo(r->channel, n->host, NULL, &hints, name_answered, n);
	loop_wake(r->loop, &r->task);
}

static void name_free(struct resolver *r, struct name *n)
{
	assert(!n->asking);
	assert(list_empty(&n->waiting));
	list_remove(&n->node);
	r->names_count--;
	free(n);
}

/* The place of the name that was not used for longest; false when all are being asked. */
static bool names_make_room(struct resolver *r)
{
	if (r->names_count < NAMES_MAX)
		return true;
	for (struct list *it = r->names.prev; it != &r->names; it = it->prev) {
		struct name *n = container_of(it, struct name, node);

		if (!n->asking) {
			name_free(r, n);
			return true;
		}
	}
	return false;
}

/* <host> in lower case.  NULL: too many names are being asked, or no memory. */
static struct name *names_get(struct resolver *r, const char *host)
{
	struct name *n;

	list_for_each(it, &r->names) {
		n = container_of(it, struct name, node);
		if (strcmp(n->host, host) == 0) {
			list_remove(&n->node);
			list_push_front(&r->names, &n->node);
			return n;
		}
	}
	if (!names_make_room(r))
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->resolver = r;
	list_init(&n->node);
	list_init(&n->waiting);
	timer_init(&n->limit, name_limit_fired);
	memcpy(n->host, host, strlen(host) + 1);
	list_push_front(&r->names, &n->node);
	r->names_count++;
	return n;
}

/* An address with or without brackets. */
static bool literal_parse(const char *host, struct addr *a)
{
	char text[INET6_ADDRSTRLEN];
	size_t len = strlen(host);
	bool bracketed = len > 2 && host[0] == '[' && host[len - 1] == ']';

	*a = (struct addr){ .len = sizeof(a->in) };
	if (!bracketed && inet_pton(AF_INET, host, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		return true;
	}
	if (bracketed) {
		host++;
		len -= 2;
	}
	if (len >= sizeof(text))
		return false;
	memcpy(text, host, len);
	text[len] = '\0';
	*a = (struct addr){ .len = sizeof(a->in6) };
	if (inet_pton(AF_INET6, text, &a->in6.sin6_addr) != 1)
		return false;
	a->in6.sin6_family = AF_INET6;
	return true;
}

static void resolve_literal(struct resolve *q)
{
	enum addr_family is = q->addrs[0].sa.sa_family == AF_INET ? FAMILY_V4 : FAMILY_V6;
	enum addr_family want = q->resolver->family;

	if (want != FAMILY_ANY && want != is) {
		resolve_answer(q, ERR_DNS);
		return;
	}
	addr_set_port(&q->addrs[0], q->port);
	q->count = 1;
	resolve_answer(q, 0);
}

static unsigned name_limit_ms(const struct name *n)
{
	unsigned ms = n->resolver->timeout_ms;

	return name_has_old(n) && ms > STALE_WAIT_MS ? STALE_WAIT_MS : ms;
}

static void resolve_name(struct resolve *q)
{
	struct resolver *r = q->resolver;
	char lower[sizeof(q->host)];
	struct name *n;
	size_t i;

	for (i = 0; q->host[i]; i++)
		lower[i] = (char)tolower((unsigned char)q->host[i]);
	lower[i] = '\0';
	n = names_get(r, lower);
	if (!n) {
		resolve_answer(q, ERR_DNS);
		return;
	}
	if (!n->asking && n->expires_ms <= loop_now_ms(r->loop))
		name_ask(n);
	if (!n->asking || (n->stale && name_has_old(n))) {
		resolve_answer_from(q, n);
		return;
	}
	if (list_empty(&n->waiting))
		loop_timer_set(r->loop, &n->limit, loop_now_ms(r->loop) + name_limit_ms(n));
	list_push(&n->waiting, &q->node);
}

void resolve_start(struct resolver *r, struct resolve *q, const char *host, uint16_t port)
{
	size_t len = strlen(host);

	assert(!q->busy);
	assert(q->done != NULL);
	assert(r->channel != NULL);
	q->resolver = r;
	q->busy = true;
	q->count = 0;
	q->port = port;
	list_init(&q->node);
	q->host[0] = '\0';
	if (len == 0 || len >= sizeof(q->host)) {
		resolve_answer(q, ERR_DNS);
		return;
	}
	memcpy(q->host, host, len + 1);
	if (literal_parse(q->host, &q->addrs[0]))
		resolve_literal(q);
	else
		resolve_name(q);
}

/* The name goes on being asked, for the cache. */
void resolve_cancel(struct resolve *q)
{
	if (!q->busy)
		return;
	q->busy = false;
	list_remove(&q->node);
}

/* The system's servers, when none are given. */
static int servers_set(struct resolver *r, const struct resolve_opts *opts)
{
	char text[SERVERS_TEXT_MAX];
	size_t len = 0;

	for (unsigned i = 0; i < opts->servers_count; i++) {
		int n = snprintf(text + len, sizeof(text) - len, "%s%s", i ? "," : "",
				 opts->servers[i]);

		if (n < 0 || (size_t)n >= sizeof(text) - len)
			return -EINVAL;
		len += (size_t)n;
	}
	if (len == 0)
		return 0;
	return ares_set_servers_ports_csv(r->channel, text) == ARES_SUCCESS ? 0 : -EINVAL;
}

/*
 * Each server is asked up to TRIES times, the second time for twice as long: 3 tries' worth each.
 * One more, so that c-ares gives up first, and a family that was answered is not lost with the
 * other.
 */
static int try_ms(const struct resolve_opts *opts)
{
	unsigned servers = opts->servers_count ? opts->servers_count : SYSTEM_SERVERS;
	unsigned ms = opts->timeout_ms / (3 * servers + 1);

	return (int)(ms > TRY_MIN_MS ? ms : TRY_MIN_MS);
}

static int channel_init(struct resolver *r, const struct resolve_opts *opts)
{
	char lookups[] = "fb"; /* /etc/hosts, then the servers */
	struct ares_options options = {
		.timeout = try_ms(opts),
		.tries = TRIES,
		.lookups = lookups,
		.sock_state_cb = sock_changed,
		.sock_state_cb_data = r,
	};

	switch (ares_init_options(&r->channel, &options,
				  ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
					  ARES_OPT_SOCK_STATE_CB | ARES_OPT_NOROTATE |
					  ARES_OPT_QUERY_CACHE)) {
	case ARES_SUCCESS: return servers_set(r, opts);
	case ARES_ENOMEM: return -ENOMEM;
	}
	return -EIO; /* resolv.conf cannot be read */
}

int resolver_new(struct resolver **out, struct loop *l, const struct resolve_opts *opts)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int err;

	assert(opts->timeout_ms > 0);
	*out = NULL;
	if (!r)
		return -ENOMEM;
	r->loop = l;
	r->stats = opts->stats;
	r->family = opts->family;
	r->timeout_ms = opts->timeout_ms;
	list_init(&r->names);
	list_init(&r->answered);
	task_init(&r->task, resolver_run);
	timer_init(&r->retry, retry_fired);
	for (unsigned i = 0; i < SOCKS_MAX; i++) {
		r->socks[i] = (struct sock){ .resolver = r, .fd = -1 };
		op_init(&r->socks[i].op, &r->inflight, sock_polled);
	}
	err = channel_init(r, opts);
	if (err < 0) {
		if (r->channel)
			ares_destroy(r->channel);
		free(r);
		return err;
	}
	*out = r;
	return 0;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	ares_destroy(r->channel); /* answers what is being asked, closes its sockets */
	r->channel = NULL;
	loop_timer_clear(r->loop, &r->retry);
	list_for_each(it, &r->answered)
		container_of(it, struct resolve, node)->err = ERR_DNS;
	deliver(r);
	assert(list_empty(&r->answered));
	while (!list_empty(&r->names))
		name_free(r, container_of(r->names.next, struct name, node));
	socks_poll(r);
	loop_unwake(r->loop, &r->task);
	if (r->inflight == 0)
		free(r);
}
