/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Operations: what is asked of the kernel is kept in the op, so that it can be asked again after
 * -EAGAIN (a poll first), -EINTR, a short send, or a receive that found no buffer free.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "io/loop_private.h"

enum op_kind {
	OP_ACCEPT,
	OP_CONNECT,
	OP_RECV,
	OP_RECV_POOLED,
	OP_SEND,
	OP_POLL,
	OP_READ,
	OP_WRITE,
	OP_OPENAT,
	OP_CLOSE,
};

void op_init(struct op *op, unsigned *inflight, void (*done)(struct op *op, int res))
{
	*op = (struct op){ .done = done, .inflight = inflight };
}

static void op_prep(const struct op *op, struct io_uring_sqe *sqe)
{
	if (op->polling) {
		io_uring_prep_poll_add(sqe, op->fd, op->kind == OP_SEND ? POLLOUT : POLLIN);
		return;
	}
	switch ((enum op_kind)op->kind) {
	case OP_ACCEPT:
		io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL,
					       SOCK_NONBLOCK | SOCK_CLOEXEC);
		return;
	case OP_CONNECT: io_uring_prep_connect(sqe, op->fd, op->cmem, op->arg); return;
	case OP_RECV: io_uring_prep_recv(sqe, op->fd, op->mem, op->len, 0); return;
	case OP_RECV_POOLED:
		io_uring_prep_recv(sqe, op->fd, NULL, op->len, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = RING_RX_GROUP;
		return;
	case OP_SEND:
		io_uring_prep_send(sqe, op->fd, (const char *)op->cmem + op->got, op->len - op->got,
				   MSG_WAITALL | MSG_NOSIGNAL);
		return;
	case OP_POLL: io_uring_prep_poll_add(sqe, op->fd, op->arg); return;
	case OP_READ:
		io_uring_prep_read(sqe, op->fd, op->mem, op->len, op->off);
		/*
		 * Else the kernel begins reading ahead on this thread, which is held if the disk is
		 * stuck: when its queue is full, or where the file's extents must be read.
		 */
		sqe->flags |= IOSQE_ASYNC;
		return;
	case OP_WRITE: io_uring_prep_write(sqe, op->fd, op->cmem, op->len, op->off); return;
	case OP_OPENAT:
		io_uring_prep_openat(sqe, op->fd, op->cmem, (int)op->arg, (mode_t)op->mode);
		return;
	case OP_CLOSE: io_uring_prep_close(sqe, op->fd); return;
	}
	unreachable("op kind");
}

static void op_submit(struct loop *l, struct op *op)
{
	struct io_uring_sqe *sqe = ring_sqe(&l->ring);

	op_prep(op, sqe);
	io_uring_sqe_set_data(sqe, op);
}

static void op_start(struct loop *l, struct op *op, enum op_kind kind, int fd, size_t len)
{
	assert(!op->busy);
	assert(op->done != NULL);
	assert(len <= INT_MAX);
	op->busy = true;
	op->polling = false;
	op->cancelled = false;
	op->kind = kind;
	op->fd = fd;
	op->len = (uint32_t)len;
	op->got = 0;
	op->cqe_flags = 0;
	++*op->inflight;
	l->inflight++;
	op_submit(l, op);
}

static bool op_may_poll(const struct op *op)
{
	return op->kind == OP_ACCEPT || op->kind == OP_RECV || op->kind == OP_RECV_POOLED ||
	       op->kind == OP_SEND;
}

/* Must the kernel be asked again after <res>?  If not, *res is what done() is to see. */
static bool op_goes_on(struct op *op, int *res)
{
	bool again;

	if (op->polling) {
		op->polling = false;
		again = *res >= 0;
	} else if (op->kind == OP_SEND && *res > 0) {
		op->got += (uint32_t)*res;
		assert(op->got <= op->len);
		again = op->got < op->len;
	} else if (*res == -EAGAIN && op_may_poll(op)) {
		op->polling = true;
		again = true;
	} else {
		again = *res == -EINTR || (*res == -ENOBUFS && op->kind == OP_RECV_POOLED);
	}
	if (again && !op->cancelled)
		return true;
	if (again)
		*res = -ECANCELED;
	if (op->got > 0)
		*res = (int)op->got;
	return false;
}

void op_complete(struct loop *l, const struct ready *r)
{
	struct op *op = r->op;
	int res = r->res;

	assert(op->busy);
	op->cqe_flags = r->flags;
	if (!(r->flags & IORING_CQE_F_MORE)) {
		if (op_goes_on(op, &res)) {
			op_submit(l, op);
			return;
		}
		assert(*op->inflight > 0);
		assert(l->inflight > 0);
		op->busy = false;
		--*op->inflight;
		l->inflight--;
	}
	op->done(op, res);
	/* The op may be gone by now; the buffer is ours. */
	if (r->flags & IORING_CQE_F_BUFFER)
		ring_rx_recycle(&l->ring, r->flags);
}

void loop_cancel(struct loop *l, struct op *victim)
{
	struct io_uring_sqe *sqe;

	if (!victim->busy || victim->cancelled)
		return;
	victim->cancelled = true;
	sqe = ring_sqe(&l->ring);
	io_uring_prep_cancel(sqe, victim, 0);
	io_uring_sqe_set_data(sqe, NULL);
}

void loop_accept(struct loop *l, struct op *op, int listen_fd)
{
	op_start(l, op, OP_ACCEPT, listen_fd, 0);
}

void loop_connect(struct loop *l, struct op *op, int fd, const struct sockaddr *sa, socklen_t len)
{
	op->cmem = sa;
	op->arg = len;
	op_start(l, op, OP_CONNECT, fd, 0);
}

void loop_recv(struct loop *l, struct op *op, int fd, void *mem, size_t len)
{
	assert(len > 0);
	op->mem = mem;
	op_start(l, op, OP_RECV, fd, len);
}

void loop_recv_pooled(struct loop *l, struct op *op, int fd)
{
	assert(l->ring.rx_bufs > 0);
	op_start(l, op, OP_RECV_POOLED, fd, l->ring.rx_buf_bytes);
}

const char *loop_rx_data(struct loop *l, const struct op *op)
{
	assert(op->kind == OP_RECV_POOLED);
	return ring_rx_data(&l->ring, op->cqe_flags);
}

size_t loop_rx_buf_bytes(const struct loop *l)
{
	return l->ring.rx_buf_bytes;
}

void loop_send(struct loop *l, struct op *op, int fd, const void *mem, size_t len)
{
	assert(len > 0);
	op->cmem = mem;
	op_start(l, op, OP_SEND, fd, len);
}

void loop_poll(struct loop *l, struct op *op, int fd, short events)
{
	op->arg = (uint16_t)events;
	op_start(l, op, OP_POLL, fd, 0);
}

void loop_read(struct loop *l, struct op *op, int fd, void *mem, size_t len, uint64_t off)
{
	op->mem = mem;
	op->off = off;
	op_start(l, op, OP_READ, fd, len);
}

void loop_write(struct loop *l, struct op *op, int fd, const void *mem, size_t len, uint64_t off)
{
	op->cmem = mem;
	op->off = off;
	op_start(l, op, OP_WRITE, fd, len);
}

void loop_openat(struct loop *l, struct op *op, int dir_fd, const char *path, int flags, int mode)
{
	op->cmem = path;
	op->arg = (uint32_t)flags;
	op->mode = mode;
	op_start(l, op, OP_OPENAT, dir_fd, 0);
}

void loop_close(struct loop *l, struct op *op, int fd)
{
	op_start(l, op, OP_CLOSE, fd, 0);
}
