/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/passage.h"

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "net/ppv2.h"

bool passage_is_for(struct stream *s)
{
	const struct client *c = container_of(s, struct client, stream);

	return config_passthrough(c->proxy->config, s->sni) >= 0;
}

bool passage_begin(struct client *c)
{
	struct proxy *p = c->proxy;
	int i = config_passthrough(p->config, c->stream.sni);
	struct passage *g;
	struct uri to;

	stat_inc(&p->stats, STAT_PASSAGES);
	/* A reload may have come between. */
	if (i < 0 || p->passages_count == PASSAGES_MAX)
		return false;
	g = calloc(1, sizeof(*g));
	if (!g)
		return false;
	g->client = c;
	g->conf = &p->config->passes[i];
	g->mirror = &p->mirrors[p->config->mirrors_count + (unsigned)i];
	g->begun_ms = g->moved_ms = proxy_now(p);
	to = (struct uri){ .host = slice_of(g->conf->upstream.host),
			   .port = g->conf->upstream.port };
	g->up = upconn_get(p, g->mirror, &to, true, 0, &c->task);
	if (!g->up) {
		free(g);
		return false;
	}
	upconn_use_raw(g->up);
	p->passages_count++;
	stat_inc(&p->stats, STAT_PASSAGES_NOW);
	c->pass = g;
	loop_timer_set(p->loop, &c->timer, proxy_now(p) + g->conf->idle_timeout_ms);
	return true;
}

static void passage_stop(struct passage *g, const char *end)
{
	if (!g->end)
		g->end = end;
	g->state = PASSAGE_OVER;
}

/* ---- its beginning ---- */

static bool passage_dial(struct passage *g)
{
	int err = g->up->err;

	if (err) {
		stat_inc(&g->client->proxy->stats, STAT_PASSAGES_FAILED);
		g->status = err == -ETIMEDOUT || err == ERR_DNS_TIMEOUT ? 504 : 502;
		log_limited(LOG_WARN, "passthrough=%s upstream=%s failed: %s", g->conf->name,
			    g->conf->upstream.text, err_text(err));
		passage_stop(g, "upstream");
		return true;
	}
	if (g->up->state != UP_READY)
		return false;
	g->status = 200;
	g->state = PASSAGE_FIRST;
	return true;
}

/*
 * What a stream has read already goes on by the other one, behind what is in the slab; both are the
 * streams' business until then.  Bytes, or negative: broken.
 */
static int pass_read(struct stream *from, struct stream *to, struct buf *slab)
{
	while (stream_pending(from) && buf_room(slab) > 0) {
		int n = stream_pull(from, slab);

		if (n <= 0)
			return n < 0 ? n : -EIO;
	}
	return buf_len(slab) ? stream_send(to, buf_data(slab), false) : 0;
}

/* The slab holds more than a client's stream reads (NET_SMALL_BYTES). */
static void passage_first(struct passage *g)
{
	struct client *c = g->client;
	struct net *net = &c->proxy->net;
	struct addr local = { .len = sizeof(local.in6) };
	struct buf slab;
	int n;

	buf_init(&slab, net->plain, NET_PLAIN_BYTES);
	if (g->conf->proxy_protocol == CONF_PROXY_V2) {
		if (getsockname(c->stream.fd, &local.sa, &local.len) < 0)
			local = c->stream.peer;
		slab.tail = ppv2_make(&c->stream.peer, &local, slab.mem);
	}
	n = pass_read(&c->stream, g->up->stream, &slab);
	if (n < 0) {
		passage_stop(g, "upstream");
		return;
	}
	assert((size_t)n == buf_len(&slab) && !stream_pending(&c->stream));
	g->first[0] = (uint64_t)n;
	splice_init(&g->splice, net, &c->task, c->stream.fd, g->up->stream->fd);
	g->state = PASSAGE_FLOW;
}

/* ---- its course ---- */

static uint64_t passage_bytes(const struct passage *g, int way)
{
	return g->first[way] + g->splice.ways[way].bytes;
}

static void passage_count(struct passage *g)
{
	struct stats *st = &g->client->proxy->stats;
	uint64_t up = passage_bytes(g, 0), down = passage_bytes(g, 1);

	if (up != g->counted[0] || down != g->counted[1])
		g->moved_ms = proxy_now(g->client->proxy);
	stat_add(st, STAT_PASSED_UP, (int64_t)(up - g->counted[0]));
	stat_add(st, STAT_PASSED_DOWN, (int64_t)(down - g->counted[1]));
	g->counted[0] = up;
	g->counted[1] = down;
}

/* Behind an outgoing proxy's answer some of the server's bytes may have been read. */
static void passage_early(struct passage *g)
{
	struct client *c = g->client;

	while (stream_pending(g->up->stream) && stream_writable(&c->stream)) {
		struct buf slab;
		int n;

		buf_init(&slab, c->proxy->net.plain, NET_PLAIN_BYTES);
		n = pass_read(g->up->stream, &c->stream, &slab);
		if (n <= 0)
			return;
		g->first[1] += (uint64_t)n;
	}
}

/* False: a send of ours is not through yet. */
static bool passage_may_flow(struct passage *g)
{
	struct stream *down = &g->client->stream, *up = g->up->stream;

	passage_early(g);
	if (down->err || up->err)
		passage_stop(g, down->err ? "client_gone" : "upstream");
	return g->state == PASSAGE_FLOW && stream_writable(down) && stream_writable(up) &&
	       !stream_pending(up);
}

static bool passage_flow(struct passage *g)
{
	enum splice_state s;

	if (!passage_may_flow(g))
		return g->state == PASSAGE_OVER;
	s = splice_run(&g->splice);
	passage_count(g);
	switch (s) {
	case SPLICE_MORE: loop_wake(g->client->proxy->loop, &g->client->task); return false;
	case SPLICE_WAIT: return false;
	case SPLICE_OVER: passage_stop(g, NULL); return true;
	/* Often the last of all: who has said FIN may close, and then reset what still comes. */
	case SPLICE_BROKEN:
		passage_stop(g,
			     g->splice.err_fd == g->client->stream.fd ? "client_gone" : "upstream");
		return true;
	}
	unreachable("state of a splice");
}

bool passage_run(struct passage *g)
{
	for (;;) {
		switch (g->state) {
		case PASSAGE_DIAL:
			if (!passage_dial(g))
				return false;
			break;
		case PASSAGE_FIRST: passage_first(g); break;
		case PASSAGE_FLOW:
			if (!passage_flow(g))
				return false;
			break;
		case PASSAGE_OVER: return true;
		}
	}
}

bool passage_rearm(struct passage *g)
{
	struct proxy *p = g->client->proxy;
	/* Dialling has limits of its own: of the name, of a slot, of the connection. */
	uint64_t due_ms = g->state == PASSAGE_DIAL ? proxy_now(p) + g->conf->idle_timeout_ms
						   : g->moved_ms + g->conf->idle_timeout_ms;

	if (due_ms <= proxy_now(p))
		return false;
	loop_timer_set(p->loop, &g->client->timer, due_ms);
	return true;
}

/* ---- its end ---- */

void passage_cut(struct passage *g, const char *why)
{
	passage_stop(g, g->state == PASSAGE_OVER ? NULL : why);
	splice_end(&g->splice);
}

static void passage_log(const struct passage *g)
{
	struct proxy *p = g->client->proxy;
	struct access_line line = {
		.client = &g->client->stream.peer,
		.host = slice_of(g->client->stream.sni),
		.mirror = slice_of(g->conf->name),
		.method = SLICE("CONNECT"),
		.target = slice_of(g->conf->upstream.text),
		.major = 1,
		.minor = 1,
		.status = g->status ? g->status : 499,
		.bytes = passage_bytes(g, 1),
		.bytes_up = passage_bytes(g, 0),
		.ms = proxy_now(p) - g->begun_ms,
		.cache = "pass",
		.upstream = slice_of(g->conf->upstream.text),
		.end = g->end ? g->end : "ok",
		.tls = "-",
	};

	access_line(&p->access, &line);
}

bool passage_close(struct passage *g)
{
	struct client *c = g->client;
	struct proxy *p = c->proxy;

	splice_end(&g->splice);
	if (g->splice.inflight > 0)
		return false;
	passage_log(g);
	upconn_put(g->up, false);
	p->passages_count--;
	stat_add(&p->stats, STAT_PASSAGES_NOW, -1);
	c->pass = NULL;
	free(g);
	return true;
}
