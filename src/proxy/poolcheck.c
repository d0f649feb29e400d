/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/poolcheck.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/version.h"
#include "http/h1.h"
#include "proxy/uppool.h"
#include "proxy/upconn.h"

enum {
	PROBES_MAX = 4,
	CHECK_ARENA = 4 * 1024, /* a request */
	FIRST_MS = 1000,        /* of the first round, at most */
};

enum probe_state { PROBE_IDLE, PROBE_CONN, PROBE_SEND, PROBE_HEAD };
enum verdict { VERDICT_WELL, VERDICT_ILL, VERDICT_NONE };

/* One member that is asked. */
struct probe {
	struct poolcheck *check;
	struct task task;
	struct timer timer;
	enum probe_state state;
	struct upconn *conn;
	uint32_t member;
	size_t sent;
};

struct poolcheck {
	struct proxy *proxy;
	struct list node;
	struct mirror *mirror;
	struct uppool *pool; /* a reference */
	struct uri at;
	struct task task;
	struct timer timer; /* the next round */
	struct uppool_wait wait;
	struct arena arena;
	const char *request;
	uint64_t random;
	bool resolving;
	unsigned count; /* members of this round */
	unsigned next;
	uint32_t members[MEMBERS_MAX];
	struct probe probes[PROBES_MAX];
};

/* Uniform enough to keep workers and mirrors from asking all at once. */
static uint64_t below(struct poolcheck *c, uint64_t n)
{
	c->random = c->random * 6364136223846793005u + 1442695040888963407u;
	return (c->random >> 33) % n;
}

static uint64_t interval_ms(const struct poolcheck *c)
{
	return c->pool->conf->check_ms;
}

/* ---- one member ---- */

static void probe_end(struct probe *pr, enum verdict v)
{
	struct poolcheck *c = pr->check;
	struct stats *st = &c->proxy->stats;
	/* Until the next check has told, if there is one. */
	uint64_t out_ms = interval_ms(c) * 5 / 4 + upconn_connect_ms(pr->conn);

	loop_timer_clear(c->proxy->loop, &pr->timer);
	stat_inc(st, STAT_CHECKS);
	if (v == VERDICT_ILL)
		stat_inc(st, STAT_CHECKS_FAILED);
	if (v != VERDICT_NONE)
		uppool_checked(c->pool, pr->member, v == VERDICT_WELL, out_ms);
	upconn_put(pr->conn, false);
	pr->conn = NULL;
	pr->state = PROBE_IDLE;
	loop_wake(c->proxy->loop, &c->task);
}

static void probe_timeout(struct timer *t)
{
	probe_end(container_of(t, struct probe, timer), VERDICT_ILL);
}

static bool probe_connect(struct probe *pr)
{
	struct upconn *u = pr->conn;

	if (u->err) {
		probe_end(pr, upconn_is_ours(u->err) ? VERDICT_NONE : VERDICT_ILL);
		return false;
	}
	if (u->state != UP_READY)
		return false;
	loop_timer_set(u->proxy->loop, &pr->timer, proxy_now(u->proxy) + upconn_first_byte_ms(u));
	pr->state = PROBE_SEND;
	return true;
}

static bool probe_send(struct probe *pr)
{
	struct slice rest = slice_skip(slice_of(pr->check->request), pr->sent);
	int n = rest.len ? stream_send(pr->conn->stream, rest, false) : 0;

	if (n < 0) {
		probe_end(pr, VERDICT_ILL);
		return false;
	}
	pr->sent += (size_t)n;
	if (pr->sent == strlen(pr->check->request))
		pr->state = PROBE_HEAD;
	return n > 0 || pr->state == PROBE_HEAD;
}

static bool probe_head(struct probe *pr)
{
	struct buf *in = &pr->conn->in;
	struct h1_error e;
	struct msg m;
	size_t used;
	int n;

	switch (h1_parse_response(buf_data(in), false, &m, &used, &e)) {
	case H1_DONE:
		if (m.status < 200) {
			buf_take(in, used);
			return true;
		}
		probe_end(pr, m.status == 200 || m.status == 401 ? VERDICT_WELL : VERDICT_ILL);
		return false;
	case H1_BAD: probe_end(pr, VERDICT_ILL); return false;
	case H1_MORE: break;
	}
	buf_compact(in);
	n = stream_pull(pr->conn->stream, in);
	if (n < 0)
		probe_end(pr, VERDICT_ILL);
	return n > 0;
}

static void probe_run(struct task *task)
{
	struct probe *pr = container_of(task, struct probe, task);
	bool more = true;

	while (more) {
		switch (pr->state) {
		case PROBE_IDLE: return;
		case PROBE_CONN: more = probe_connect(pr); break;
		case PROBE_SEND: more = probe_send(pr); break;
		case PROBE_HEAD: more = probe_head(pr); break;
		}
	}
}

/* False: there are too many connections already. */
static bool probe_start(struct probe *pr, uint32_t member)
{
	struct poolcheck *c = pr->check;

	pr->conn = upconn_get_member(c->proxy, c->mirror, &c->at, member, &pr->task);
	if (!pr->conn)
		return false;
	pr->member = member;
	pr->sent = 0;
	pr->state = PROBE_CONN;
	return true;
}

/* ---- a round ---- */

static void check_begin(struct timer *t)
{
	struct poolcheck *c = container_of(t, struct poolcheck, timer);

	c->wait.asked = false;
	c->resolving = true;
	c->count = c->next = 0;
	loop_wake(c->proxy->loop, &c->task);
}

static void check_members(struct poolcheck *c)
{
	const struct balance *b = &c->pool->balance;

	c->resolving = false;
	for (unsigned i = 0; i < b->count; i++)
		c->members[i] = b->v[i].id;
	c->count = b->count;
}

static void check_run(struct task *task)
{
	struct poolcheck *c = container_of(task, struct poolcheck, task);
	unsigned busy = 0;

	if (timer_armed(&c->timer) || (c->resolving && !uppool_resolve(c->pool, &c->wait)))
		return;
	if (c->resolving)
		check_members(c);
	for (unsigned i = 0; i < PROBES_MAX; i++) {
		struct probe *pr = &c->probes[i];

		if (pr->state == PROBE_IDLE && c->next < c->count &&
		    !probe_start(pr, c->members[c->next++]))
			c->next = c->count; /* another time */
		busy += pr->state != PROBE_IDLE;
	}
	if (busy > 0)
		return;
	loop_timer_set(c->proxy->loop, &c->timer,
		       proxy_now(c->proxy) + interval_ms(c) * 9 / 10 +
			       below(c, interval_ms(c) / 5 + 1));
}

/* ---- all of them ---- */

static void check_free(struct poolcheck *c)
{
	struct loop *l = c->proxy->loop;

	for (unsigned i = 0; i < PROBES_MAX; i++) {
		struct probe *pr = &c->probes[i];

		loop_timer_clear(l, &pr->timer);
		loop_unwake(l, &pr->task);
		if (pr->conn)
			upconn_put(pr->conn, false);
	}
	loop_timer_clear(l, &c->timer);
	loop_unwake(l, &c->task);
	list_remove(&c->wait.node);
	list_remove(&c->node);
	uppool_put(c->pool);
	arena_fini(&c->arena);
	free(c);
}

static bool is_checked(const struct proxy *p, const struct uppool *g)
{
	list_for_each(it, &p->checks)
		if (container_of(it, struct poolcheck, node)->pool == g)
			return true;
	return false;
}

static bool check_request(struct poolcheck *c)
{
	const char *authority = uri_authority(&c->arena, &c->at);

	if (!authority)
		return false;
	c->request = arena_printf(&c->arena,
				  "GET /v2/ HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice/%s\r\n"
				  "Connection: close\r\n\r\n",
				  authority, version_text());
	return c->request != NULL;
}

/* Takes over the reference on <g>.  Without memory there is no check, as if there were no key. */
static void check_start(struct proxy *p, struct mirror *m, const struct uri *at, struct uppool *g)
{
	struct poolcheck *c = calloc(1, sizeof(*c));

	if (!c) {
		uppool_put(g);
		return;
	}
	c->proxy = p;
	c->mirror = m;
	c->pool = g;
	c->at = *at;
	c->random = (uint64_t)(uintptr_t)c ^ proxy_now(p);
	arena_init(&c->arena, CHECK_ARENA);
	list_init(&c->node);
	list_init(&c->wait.node);
	c->wait.task = &c->task;
	task_init(&c->task, check_run);
	timer_init(&c->timer, check_begin);
	for (unsigned i = 0; i < PROBES_MAX; i++) {
		c->probes[i].check = c;
		task_init(&c->probes[i].task, probe_run);
		timer_init(&c->probes[i].timer, probe_timeout);
	}
	list_push(&p->checks, &c->node);
	if (!check_request(c)) {
		check_free(c);
		return;
	}
	loop_timer_set(p->loop, &c->timer, proxy_now(p) + below(c, FIRST_MS));
}

static void upstream_check(struct proxy *p, struct mirror *m, const struct conf_upstream *up)
{
	struct uri at = { .https = up->https,
			  .host = slice_of(up->host),
			  .port = up->port,
			  .target = SLICE("/v2/") };
	bool servers;
	const struct conf_pool *conf = config_pool(p->config, m->conf, at.host, &servers);
	struct uppool *g;

	if (!conf || conf->check_ms == 0)
		return;
	g = uppool_get(p, m, &at);
	if (g && is_checked(p, g))
		uppool_put(g);
	else if (g)
		check_start(p, m, &at, g);
}

void poolchecks_start(struct proxy *p)
{
	if (p->draining)
		return;
	for (unsigned i = 0; i < p->generation->mirrors_count; i++) {
		struct mirror *m = &p->mirrors[i];

		for (unsigned u = 0; u < m->ups_count; u++)
			upstream_check(p, m, m->ups[u].conf);
	}
}

void poolchecks_stop(struct proxy *p)
{
	while (!list_empty(&p->checks))
		check_free(container_of(p->checks.next, struct poolcheck, node));
}
