/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

enum {
	/* Bytes of one way in one go before other connections get their turn. */
	TURN_BYTES = 1024 * 1024,
	/* Less than this at once: the source is most likely dry, which a poll sees for nothing. */
	DRY_BYTES = 64 * 1024,
};

static void polled(struct op *op, int res);

static void way_init(struct splice *s, struct splice_way *w, int from, int to)
{
	w->both = s;
	w->from = from;
	w->to = to;
	op_init(&w->in_op, &s->inflight, polled);
	op_init(&w->out_op, &s->inflight, polled);
}

void splice_init(struct splice *s, struct net *net, struct task *owner, int a, int b)
{
	*s = (struct splice){ .net = net, .owner = owner };
	way_init(s, &s->ways[0], a, b);
	way_init(s, &s->ways[1], b, a);
}

/* What it was is found out by the next try. */
static void polled(struct op *op, int res)
{
	struct splice *s = container_of(op->inflight, struct splice, inflight);

	(void)res;
	loop_wake(s->net->loop, s->owner);
}

static bool is_later(int err)
{
	return err == EAGAIN || err == EINTR;
}

static void way_break(struct splice_way *w, int fd, int err)
{
	if (w->both->err)
		return;
	w->both->err = -err;
	w->both->err_fd = fd;
}

static void way_wait_in(struct splice_way *w)
{
	w->dry = false;
	pipes_put(&w->both->net->pipes, &w->pipe, true);
	loop_poll(w->both->net->loop, &w->in_op, w->from, POLLIN);
}

static void way_wait_out(struct splice_way *w)
{
	loop_poll(w->both->net->loop, &w->out_op, w->to, POLLOUT);
}

/* Bytes moved on; 0: not now (a poll is in flight) or never. */
static size_t way_out(struct splice_way *w)
{
	ssize_t n = splice(w->pipe.fds[0], NULL, w->to, NULL, w->held,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n > 0) {
		assert((size_t)n <= w->held);
		w->held -= (size_t)n;
		w->bytes += (uint64_t)n;
		return (size_t)n;
	}
	if (n < 0 && is_later(errno))
		way_wait_out(w);
	else
		way_break(w, w->to, n < 0 ? errno : EPIPE);
	return 0;
}

/* The source had no bytes: later, an end, or a fault. */
static void way_in_none(struct splice_way *w, ssize_t n)
{
	if (n == 0)
		w->eof = true;
	else if (is_later(errno))
		way_wait_in(w);
	else
		way_break(w, w->from, errno);
}

/* What fits is seen before it is taken, so that nothing has to be kept. */
static size_t way_copy(struct splice_way *w)
{
	char *slab = w->both->net->plain;
	ssize_t n = recv(w->from, slab, NET_PLAIN_BYTES, MSG_PEEK | MSG_DONTWAIT);
	ssize_t sent;

	if (n <= 0) {
		way_in_none(w, n);
		return 0;
	}
	sent = send(w->to, slab, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent <= 0) {
		if (sent < 0 && is_later(errno))
			way_wait_out(w);
		else
			way_break(w, w->to, sent < 0 ? errno : EPIPE);
		return 0;
	}
	if (recv(w->from, slab, (size_t)sent, MSG_DONTWAIT) != sent)
		way_break(w, w->from, EIO);
	w->bytes += (uint64_t)sent;
	return (size_t)sent;
}

/* Bytes moved on already, as above. */
static size_t way_in(struct splice_way *w)
{
	ssize_t n;

	if (w->dry) {
		way_wait_in(w);
		return 0;
	}
	if (!pipe_is(&w->pipe) && !pipes_get(&w->both->net->pipes, &w->pipe))
		return way_copy(w);
	n = splice(w->from, NULL, w->pipe.fds[1], NULL, PIPE_BYTES,
		   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n <= 0) {
		way_in_none(w, n);
		return 0;
	}
	w->held = (size_t)n;
	w->dry = n < DRY_BYTES;
	return 0;
}

static bool way_is_waiting(const struct splice_way *w)
{
	return op_busy(&w->in_op) || op_busy(&w->out_op);
}

/* True: its turn is over, and it could go on. */
static bool way_run(struct splice_way *w)
{
	size_t moved = 0;

	while (!w->over && !w->both->err && !way_is_waiting(w)) {
		if (moved >= TURN_BYTES)
			return true;
		if (w->held > 0) {
			moved += way_out(w);
		} else if (!w->eof) {
			moved += way_in(w);
		} else {
			pipes_put(&w->both->net->pipes, &w->pipe, true);
			w->over = true;
			if (shutdown(w->to, SHUT_WR) < 0 && errno != ENOTCONN)
				way_break(w, w->to, errno);
		}
	}
	return false;
}

enum splice_state splice_run(struct splice *s)
{
	bool more;

	assert(!s->ended);
	more = way_run(&s->ways[0]);
	more |= way_run(&s->ways[1]);
	if (s->err)
		return SPLICE_BROKEN;
	if (s->ways[0].over && s->ways[1].over)
		return SPLICE_OVER;
	return more ? SPLICE_MORE : SPLICE_WAIT;
}

static void way_end(struct splice_way *w)
{
	struct loop *l = w->both->net->loop;

	pipes_put(&w->both->net->pipes, &w->pipe, w->held == 0);
	w->held = 0;
	if (op_busy(&w->in_op))
		loop_cancel(l, &w->in_op);
	if (op_busy(&w->out_op))
		loop_cancel(l, &w->out_op);
}

void splice_end(struct splice *s)
{
	if (!s->net || s->ended)
		return;
	s->ended = true;
	way_end(&s->ways[0]);
	way_end(&s->ways[1]);
}
