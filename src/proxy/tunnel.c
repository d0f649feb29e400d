/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/tunnel.h"

#include "base/err.h"

enum {
	/* Bytes of one way in one go before other connections get their turn. */
	TURN_BYTES = 1024 * 1024,
};

void tunnel_init(struct tunnel *t, struct net *net, struct task *owner, struct tunnel_way up,
		 struct tunnel_way down)
{
	*t = (struct tunnel){ .net = net, .owner = owner, .ways = { up, down } };
}

uint64_t tunnel_bytes(const struct tunnel *t, int way)
{
	return t->ways[way].bytes + t->splice.ways[way].bytes;
}

/* What was read before goes first.  > 0: bytes; 0: there is none; else what broke. */
static int way_first(struct tunnel_way *w)
{
	int n;

	if (buf_len(w->first) == 0)
		return 0;
	n = stream_send(w->to, buf_data(w->first), false);
	if (n > 0)
		buf_take(w->first, (size_t)n);
	return n;
}

static int way_copy(struct tunnel *t, struct tunnel_way *w)
{
	struct buf slab;
	int n, sent;

	buf_init(&slab, t->net->plain, NET_PLAIN_BYTES);
	n = stream_pull(w->from, &slab);
	if (n <= 0)
		return n;
	sent = stream_send(w->to, buf_data(&slab), false);
	assert(sent < 0 || sent == n);
	return sent;
}

/* 1: its turn is over, there is more; 0: it waits, or has ended; else what broke. */
static int way_run(struct tunnel *t, struct tunnel_way *w)
{
	size_t moved = 0;

	while (!w->over) {
		int n;

		if (w->to->err)
			return w->to->err;
		if (!stream_writable(w->to))
			return 0;
		if (moved >= TURN_BYTES)
			return 1;
		n = way_first(w);
		if (n == 0)
			n = way_copy(t, w);
		if (n == ERR_EOF) {
			stream_shut(w->to);
			w->over = true;
		} else if (n <= 0) {
			return n;
		} else {
			w->bytes += (uint64_t)n;
			moved += (size_t)n;
		}
	}
	return 0;
}

/*
 * Before anything is received by the streams themselves.  False: what was read before is still on
 * its way.
 */
static bool tunnel_begin(struct tunnel *t)
{
	struct tunnel_way *up = &t->ways[0], *down = &t->ways[1];

	if (up->from->tls || up->to->tls || up->from->err || up->to->err) {
		t->begun = true;
		return true;
	}
	for (int i = 0; i < 2; i++) {
		struct tunnel_way *w = &t->ways[i];
		int n = stream_writable(w->to) ? way_first(w) : 0;

		if (n > 0)
			w->bytes += (uint64_t)n;
	}
	if (!stream_writable(up->to) || !stream_writable(down->to))
		return up->to->err || down->to->err;
	t->begun = true;
	if (buf_len(up->first) > 0 || buf_len(down->first) > 0 || !stream_is_bare(up->from) ||
	    !stream_is_bare(down->from))
		return true;
	splice_init(&t->splice, t->net, t->owner, up->from->fd, up->to->fd);
	t->spliced = true;
	return true;
}

static enum tunnel_state tunnel_splice(struct tunnel *t)
{
	switch (splice_run(&t->splice)) {
	case SPLICE_MORE: loop_wake(t->net->loop, t->owner); return TUNNEL_WAIT;
	case SPLICE_WAIT: return TUNNEL_WAIT;
	case SPLICE_OVER: return TUNNEL_OVER;
	case SPLICE_BROKEN:
		t->down_broke = t->splice.err_fd == t->ways[0].from->fd;
		return TUNNEL_BROKEN;
	}
	unreachable("state of a splice");
}

enum tunnel_state tunnel_run(struct tunnel *t)
{
	bool more = false;

	if (!t->begun && !tunnel_begin(t))
		return TUNNEL_WAIT;
	if (t->spliced)
		return tunnel_splice(t);
	for (int i = 0; i < 2; i++) {
		int n = way_run(t, &t->ways[i]);

		if (n < 0) {
			t->down_broke = t->ways[0].from->err != 0;
			return TUNNEL_BROKEN;
		}
		more |= n > 0;
	}
	if (t->ways[0].over && t->ways[1].over)
		return TUNNEL_OVER;
	if (more)
		loop_wake(t->net->loop, t->owner);
	return TUNNEL_WAIT;
}

bool tunnel_end(struct tunnel *t)
{
	splice_end(&t->splice);
	return t->splice.inflight == 0;
}
