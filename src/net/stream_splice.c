/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>

#include "base/err.h"
#include "net/stream_private.h"

enum {
	/* Less than this at once: the source is most likely dry, which a poll sees for nothing. */
	DRY_BYTES = 64 * 1024,
};

static bool is_later(int err)
{
	return err == EAGAIN || err == EINTR;
}

static int wait_in(struct stream *from, struct spill *p)
{
	p->dry = false;
	spill_end(from->net, p);
	stream_rx_arm_poll(from);
	return 0;
}

/* 1: there is something in the pipe; else as stream_splice(). */
static int take_in(struct stream *from, struct spill *p, uint64_t max)
{
	size_t most = max < PIPE_BYTES ? (size_t)max : (size_t)PIPE_BYTES;
	ssize_t n;

	if (p->dry)
		return wait_in(from, p);
	if (!pipe_is(&p->pipe) && !pipes_get(&from->net->pipes, &p->pipe))
		return -EAGAIN;
	n = splice(from->fd, NULL, p->pipe.fds[1], NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n > 0) {
		p->held = (size_t)n;
		p->dry = n < DRY_BYTES;
		from->rx_bytes += (uint64_t)n;
		return 1;
	}
	if (n < 0 && is_later(errno))
		return wait_in(from, p);
	if (n < 0) {
		stream_fail(from, -errno);
		return from->err;
	}
	from->rx_eof = true;
	return ERR_EOF;
}

static int give_out(struct stream *to, struct spill *p)
{
	ssize_t n = splice(p->pipe.fds[0], NULL, to->fd, NULL, p->held,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n > 0) {
		assert((size_t)n <= p->held);
		p->held -= (size_t)n;
		to->tx_bytes += (uint64_t)n;
		return (int)n;
	}
	if (n < 0 && is_later(errno)) {
		stream_tx_wait(to);
		return 0;
	}
	stream_tx_fail(to, n < 0 ? -errno : -EPIPE);
	return to->err ? to->err : to->tx_err;
}

int stream_splice(struct stream *from, struct stream *to, struct spill *p, uint64_t max)
{
	assert(max > 0);
	if (from->err || to->err || to->tx_err)
		return from->err ? from->err : to->err ? to->err : to->tx_err;
	if (from->tls || to->tls || from->state != STREAM_OPEN)
		return -EAGAIN;
	if (!stream_writable(to))
		return 0;
	if (p->held == 0) {
		int r;

		if (from->raw.mem || from->rx_eof || (op_busy(&from->rx_op) && !from->rx_polls))
			return -EAGAIN;
		if (op_busy(&from->rx_op))
			return 0;
		r = take_in(from, p, max);
		if (r <= 0)
			return r;
	}
	return give_out(to, p);
}

void spill_end(struct net *net, struct spill *p)
{
	pipes_put(&net->pipes, &p->pipe, p->held == 0);
	p->held = 0;
}
