/* SPDX-License-Identifier: GPL-3.0-or-later */
/* HTTP/2 towards a client: bytes between its stream and the codec; its requests are calls. */
#include "proxy/client_private.h"

#include <errno.h>

#include "base/err.h"
#include "base/log.h"
#include "proxy/call.h"

enum {
	/* Bytes taken in one go before other connections get their turn. */
	READ_TURN_BYTES = 256 * 1024,
};

const struct slice client_h2_preface = { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24 };

enum client_step client_h2_begin(struct client *c)
{
	c->h2 = h2_new(&call_ops, c);
	if (!c->h2)
		return client_kill(c, false, NULL);
	stat_inc(&c->proxy->stats, STAT_H2_CONNECTIONS);
	c->state = CLIENT_H2;
	c->wait = CLIENT_WAITS_IDLE; /* the timer of its first head runs */
	return STEP_MORE;
}

/* New calls run at once: what is in the cache is answered in this turn. */
static void run_new(struct client *c)
{
	struct list *it;

	while ((it = list_pop(&c->calls_new)) != NULL) {
		list_push(&c->calls, it);
		call_run(container_of(it, struct call, node));
	}
}

int client_h2_take(struct client *c, struct slice in)
{
	int err = h2_feed(c->h2, in, proxy_now(c->proxy));

	run_new(c);
	return err;
}

/* Into the worker's slab: the codec keeps what it needs.  0, or why there will be no more. */
static int read_all(struct client *c)
{
	size_t taken = 0;

	while (!h2_is_full(c->h2)) {
		struct buf in;
		int n, err;

		if (taken >= READ_TURN_BYTES) {
			loop_wake(c->proxy->loop, &c->task);
			return 0;
		}
		buf_init(&in, c->proxy->net.plain, NET_PLAIN_BYTES);
		n = stream_pull(&c->stream, &in);
		if (n <= 0)
			return n;
		taken += (size_t)n;
		err = client_h2_take(c, buf_data(&in));
		explicit_bzero(in.mem, (size_t)n); /* there may have been credentials in it */
		if (err) {
			c->broken = true;
			return err;
		}
	}
	return 0;
}

static void enter_wait(struct client *c, enum client_waits what)
{
	const struct conf_server *s = &c->proxy->config->server;

	if (what == c->wait)
		return;
	c->wait = what;
	switch (what) {
	case CLIENT_WAITS_ROOM: client_arm(c, s->send_timeout_ms); break;
	case CLIENT_WAITS_HEAD: client_arm(c, s->header_timeout_ms); break;
	case CLIENT_WAITS_IDLE: client_arm(c, s->idle_timeout_ms); break;
	case CLIENT_WAITS_NONE: loop_timer_clear(c->proxy->loop, &c->timer); break;
	}
}

/* What is waited for has its limit; for upstream and the disk, that is elsewhere. */
static void wait(struct client *c)
{
	enter_wait(c, !stream_writable(&c->stream) ? CLIENT_WAITS_ROOM
		      : h2_in_head(c->h2)          ? CLIENT_WAITS_HEAD
		      : c->calls_count == 0        ? CLIENT_WAITS_IDLE
						   : CLIENT_WAITS_NONE);
}

/* What one send takes of the codec's output: bytes, 0: there is none; else what broke. */
static int send_some(struct client *c)
{
	int n = h2_make(c->h2, c->proxy->net.plain, NET_PLAIN_BYTES);

	if (n <= 0)
		return n;
	return stream_send(&c->stream, (struct slice){ c->proxy->net.plain, (size_t)n }, false);
}

/* 0, or what broke. */
static int send_all(struct client *c)
{
	size_t sent = 0;
	int n;

	while (stream_writable(&c->stream)) {
		if (sent >= CLIENT_TURN_BYTES) {
			loop_wake(c->proxy->loop, &c->task);
			return 0;
		}
		if (!client_may_send(c))
			return 0;
		n = send_some(c);
		if (n <= 0)
			return n;
		client_sent(c, (size_t)n);
		sent += (size_t)n;
		c->sent_ms = proxy_now(c->proxy);
		if (c->wait == CLIENT_WAITS_ROOM)
			enter_wait(c, CLIENT_WAITS_NONE);
	}
	return 0;
}

static cold enum client_step calmed(struct client *c)
{
	char peer[ADDR_TEXT_MAX];

	addr_format_ip(&c->stream.peer, peer);
	log_limited(LOG_INFO, "client peer=%s http2 closed: %s", peer, h2_calmed(c->h2));
	stat_inc(&c->proxy->stats, STAT_H2_CALMED);
	return client_kill(c, true, "flood");
}

enum client_step client_h2_run(struct client *c)
{
	int err = c->stream.err;
	bool full;

	if (!err)
		err = read_all(c);
	if (err)
		return client_kill(c, c->calls_count == 0, "client_gone");
	if (c->proxy->lingering && !c->warned) {
		c->warned = true;
		h2_warn(c->h2);
	}
	if (c->proxy->draining && !c->proxy->lingering && !c->away) {
		c->away = true;
		h2_goaway(c->h2, false);
	}
	full = h2_is_full(c->h2);
	err = send_all(c);
	if (full && !h2_is_full(c->h2)) /* it was not read to its end */
		loop_wake(c->proxy->loop, &c->task);
	if (err || c->broken || c->stream.err)
		return client_kill(c, false, c->stream.err ? "client_gone" : "broken");
	if (h2_is_over(c->h2))
		return h2_calmed(c->h2) ? calmed(c) : client_kill(c, true, "client_gone");
	wait(c);
	return STEP_WAIT;
}

/* ---- the end ---- */

/* Its last word, if that goes without waiting. */
static void say_bye(struct client *c)
{
	h2_goaway(c->h2, true);
	if (stream_writable(&c->stream))
		(void)send_some(c);
}

void client_h2_end(struct client *c, bool graceful, const char *why)
{
	struct list *fresh;

	while ((fresh = list_pop(&c->calls_new)) != NULL)
		list_push(&c->calls, fresh);
	list_for_each_safe(it, &c->calls)
		call_cut(container_of(it, struct call, node), why);
	if (graceful && !c->broken && !h2_is_over(c->h2))
		say_bye(c);
	h2_free(c->h2);
	c->h2 = NULL;
}

enum client_step client_h2_finish(struct client *c)
{
	if (c->calls_count > 0)
		return STEP_WAIT;
	c->state = CLIENT_CLOSING;
	return STEP_MORE;
}
