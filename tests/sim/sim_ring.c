/* SPDX-License-Identifier: GPL-3.0-or-later */
/* io/ring.h without io_uring: see sim.h.  One ring at a time. */
#include "io/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

enum { OPS = 4096, CQES = 8192, IDLE_ROUNDS = 3 };

struct sim sim;

struct sim_op {
	struct io_uring_sqe sqe;
	bool used;
	bool begun; /* a connect was started */
};

static struct {
	struct sim_op ops[OPS];
	unsigned ops_top; /* none in use from here on */
	struct io_uring_cqe cqes[CQES];
	unsigned head, tail;
	unsigned short free_bufs[1 << 15];
	unsigned free_bufs_count;
	uint64_t random;
} k;

void sim_begin(uint64_t seed, enum sim_fault fault, unsigned fail_at, unsigned fail_more)
{
	memset(&k, 0, sizeof(k));
	k.random = seed * 0x9e3779b97f4a7c15 + 1;
	sim = (struct sim){
		.seed = seed, .fault = fault, .fail_at = fail_at, .fail_more = fail_more
	};
	sim.clock_ms = sim.begun_ms = 1000 * 1000;
}

unsigned sim_random(unsigned n)
{
	k.random ^= k.random << 13;
	k.random ^= k.random >> 7;
	k.random ^= k.random << 17;
	return (unsigned)(k.random >> 20) % n;
}

bool sim_hit(enum sim_fault kind, const char *what)
{
	if (!sim.armed || kind != sim.fault)
		return false;
	sim.count++;
	if (sim.fail_at == 0 || sim.count < sim.fail_at || sim.count > sim.fail_at + sim.fail_more)
		return false;
	if (!sim.failed_what)
		sim.failed_what = what;
	sim.failed++;
	return true;
}

bool sim_disk_is_stuck(const char *what)
{
	if (sim.stuck_ms == 0 && sim_hit(SIM_STUCK, what))
		sim.stuck_ms = sim.clock_ms + SIM_STUCK_MS;
	return sim.clock_ms < sim.stuck_ms;
}

/* ---- io/ring.h ---- */

int ring_init(struct ring *r, const struct loop_opts *opts, const char **why)
{
	(void)why;
	*r = (struct ring){ .rx_bufs = opts->rx_bufs, .rx_buf_bytes = opts->rx_buf_bytes };
	r->uring.cq.khead = &k.head;
	r->uring.cq.ktail = &k.tail;
	r->uring.cq.cqes = k.cqes;
	r->uring.cq.ring_mask = CQES - 1;
	r->uring.cq.ring_entries = CQES;
	r->rx_mem = malloc((size_t)r->rx_bufs * r->rx_buf_bytes + 1);
	for (unsigned i = 0; i < r->rx_bufs; i++)
		k.free_bufs[k.free_bufs_count++] = (unsigned short)i;
	return r->rx_mem ? 0 : -ENOMEM;
}

void ring_fini(struct ring *r)
{
	free(r->rx_mem);
	*r = (struct ring){ 0 };
}

void ring_own(struct ring *r)
{
	r->enabled = true;
}

void ring_disown(struct ring *r)
{
	(void)r;
}

struct io_uring_sqe *ring_sqe(struct ring *r)
{
	(void)r;
	for (unsigned i = 0; i < OPS; i++) {
		if (k.ops[i].used)
			continue;
		k.ops[i] = (struct sim_op){ .used = true };
		if (i >= k.ops_top)
			k.ops_top = i + 1;
		return &k.ops[i].sqe;
	}
	unreachable("the simulated ring is full");
}

char *ring_rx_data(const struct ring *r, uint32_t cqe_flags)
{
	unsigned id = cqe_flags >> IORING_CQE_BUFFER_SHIFT;

	assert(cqe_flags & IORING_CQE_F_BUFFER);
	assert(id < r->rx_bufs);
	return r->rx_mem + (size_t)id * r->rx_buf_bytes;
}

void ring_rx_recycle(struct ring *r, uint32_t cqe_flags)
{
	unsigned short id = (unsigned short)(cqe_flags >> IORING_CQE_BUFFER_SHIFT);

	memset(ring_rx_data(r, cqe_flags), 0xdb,
	       r->rx_buf_bytes); /* who still reads it is caught */
	k.free_bufs[k.free_bufs_count++] = id;
}

/* ---- operations ---- */

static void post(struct sim_op *o, int res, uint32_t flags)
{
	assert(k.tail - k.head < CQES);
	k.cqes[k.tail & (CQES - 1)] =
		(struct io_uring_cqe){ .user_data = o->sqe.user_data, .res = res, .flags = flags };
	k.tail++;
	if (!(flags & IORING_CQE_F_MORE))
		o->used = false;
}

static size_t shorter(size_t len)
{
	return len > 1 && sim_random(4) == 0 ? 1 + sim_random((unsigned)len) : len;
}

static int result(long n)
{
	return n < 0 ? -errno : (int)n;
}

static int fd_or_fault(int fd, const char *what, int err)
{
	if (fd < 0 || !sim_hit(SIM_IO, what))
		return fd;
	close(fd);
	return err;
}

static int end_as(int res, const char *what, int err)
{
	return res >= 0 && sim_hit(SIM_IO, what) ? err : res;
}

static void *mem_of(const struct sim_op *o)
{
	return (void *)(uintptr_t)o->sqe.addr; /* the kernel's word for a pointer */
}

static int do_connect(struct sim_op *o)
{
	struct pollfd p = { .fd = o->sqe.fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0;

	if (!o->begun) {
		int flags = fcntl(o->sqe.fd, F_GETFL);

		o->begun = true;
		if (fcntl(o->sqe.fd, F_SETFL, flags | O_NONBLOCK) < 0)
			return -errno;
		if (connect(o->sqe.fd, mem_of(o), (socklen_t)o->sqe.off) == 0)
			return end_as(0, "connect", -ECONNREFUSED);
		return errno == EINPROGRESS ? -EAGAIN : -errno;
	}
	if (poll(&p, 1, 0) < 1)
		return -EAGAIN;
	if (getsockopt(o->sqe.fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	return end_as(-err, "connect", -ETIMEDOUT);
}

static bool do_recv(struct ring *r, struct sim_op *o)
{
	bool pooled = o->sqe.flags & IOSQE_BUFFER_SELECT;
	uint32_t flags = 0;
	void *mem = mem_of(o);
	int res;

	if (pooled && k.free_bufs_count == 0) {
		post(o, -ENOBUFS, 0);
		return true;
	}
	if (pooled) {
		flags = IORING_CQE_F_BUFFER | (uint32_t)k.free_bufs[k.free_bufs_count - 1]
						      << IORING_CQE_BUFFER_SHIFT;
		mem = ring_rx_data(r, flags);
	}
	res = result(recv(o->sqe.fd, mem, shorter(o->sqe.len), MSG_DONTWAIT));
	if (res == -EAGAIN)
		return false;
	res = end_as(res, "recv", -ECONNRESET);
	if (pooled && res > 0)
		k.free_bufs_count--;
	post(o, res, res > 0 ? flags : 0);
	return true;
}

static bool do_accept(struct sim_op *o)
{
	int fd = accept4(o->sqe.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 && errno == EAGAIN)
		return false;
	fd = fd < 0 ? -errno : fd_or_fault(fd, "accept", -EMFILE);
	post(o, fd, fd >= 0 ? IORING_CQE_F_MORE : 0);
	return true;
}

static bool do_poll(struct sim_op *o)
{
	struct pollfd p = { .fd = o->sqe.fd, .events = (short)o->sqe.poll32_events };

	if (poll(&p, 1, 0) < 1)
		return false;
	post(o, p.revents, 0);
	return true;
}

static void do_cancel(struct sim_op *o)
{
	for (unsigned i = 0; i < k.ops_top; i++) {
		struct sim_op *v = &k.ops[i];

		if (v != o && v->used && v->sqe.opcode != IORING_OP_ASYNC_CANCEL &&
		    v->sqe.user_data == o->sqe.addr)
			post(v, -ECANCELED, 0);
	}
	post(o, 0, 0);
}

/* False: it has to wait. */
static bool op_try(struct ring *r, struct sim_op *o)
{
	const struct io_uring_sqe *q = &o->sqe;
	int res;

	switch (q->opcode) {
	case IORING_OP_ACCEPT: return do_accept(o);
	case IORING_OP_RECV: return do_recv(r, o);
	case IORING_OP_POLL_ADD: return do_poll(o);
	case IORING_OP_ASYNC_CANCEL: do_cancel(o); return true;
	case IORING_OP_CONNECT: res = do_connect(o); break;
	case IORING_OP_SEND:
		res = result(send(q->fd, mem_of(o), shorter(q->len), MSG_DONTWAIT | MSG_NOSIGNAL));
		if (res != -EAGAIN)
			res = end_as(res, "send", -EPIPE);
		break;
	case IORING_OP_READ:
		if (sim_disk_is_stuck("read"))
			return false;
		res = end_as(result(pread(q->fd, mem_of(o), shorter(q->len), (off_t)q->off)),
			     "read", -EIO);
		break;
	case IORING_OP_WRITE:
		if (sim_disk_is_stuck("write"))
			return false;
		res = end_as(result(pwrite(q->fd, mem_of(o), shorter(q->len), (off_t)q->off)),
			     "write", -ENOSPC);
		break;
	case IORING_OP_OPENAT:
		if (sim_disk_is_stuck("openat"))
			return false;
		/* A fault of it is counted where it is wrapped. */
		res = result(openat(q->fd, mem_of(o), (int)q->open_flags, q->len));
		break;
	case IORING_OP_CLOSE: res = end_as(result(close(q->fd)), "close", -EIO); break;
	default: unreachable("an operation that the simulated ring does not know");
	}
	if (res == -EAGAIN)
		return false;
	post(o, res, 0);
	return true;
}

/* In an order of its own; some are late. */
static bool ops_run(struct ring *r, bool all)
{
	unsigned top = k.ops_top, first = top ? sim_random(top) : 0;
	bool moved = false;

	for (unsigned i = 0; i < top; i++) {
		struct sim_op *o = &k.ops[(first + i) % top];

		if (o->used && k.tail - k.head < CQES / 2 && (all || sim_random(4) > 0))
			moved |= op_try(r, o);
	}
	return moved;
}

/* Loopback is quick, but not always: before a long jump of the clock it gets a little longer. */
static void ops_wait(bool longer)
{
	struct pollfd p[64];
	nfds_t n = 0;

	for (unsigned i = 0; i < k.ops_top && n < 64; i++) {
		const struct io_uring_sqe *q = &k.ops[i].sqe;

		if (!k.ops[i].used)
			continue;
		p[n++] =
			(struct pollfd){ .fd = q->fd,
					 .events = q->opcode == IORING_OP_SEND ? POLLOUT : POLLIN };
	}
	(void)poll(p, n, longer ? 10 : 1);
}

/* Once it is found wedged, the worker is asked to stop; if it does not, there is no way on. */
static bool over(void)
{
	if (sim.wedged && ++sim.turns_wedged > SIM_END_TURNS_MAX) {
		printf("# does not end: \"%s\" SIM_SEED=%llu SIM_FAIL=%u SIM_MORE=%u (%s)\n",
		       sim.name, (unsigned long long)sim.seed, sim.fail_at, sim.fail_more,
		       sim.failed_what ? sim.failed_what : "nothing failed");
		abort();
	}
	if (++sim.turns > SIM_TURNS_MAX || sim.clock_ms - sim.begun_ms > SIM_CLOCK_MAX_MS)
		sim.wedged = true;
	return sim.wedged;
}

/* The worker waits: helpers and peers have their turn; when nothing moves at all, time passes. */
void ring_submit(struct ring *r, uint64_t wait_ms)
{
	unsigned idle = 0;

	for (;;) {
		bool moved = ops_run(r, idle > 0);

		moved |= sim_random(3) > 0 && sim_jobs_run();
		moved |= sim.step && sim.step(sim.arg);
		if (over())
			sim.clock_ms += 1000;
		if (sim.wedged || k.head != k.tail || wait_ms == 0)
			break;
		if (moved) {
			idle = 0;
			continue;
		}
		if (sim_jobs_run())
			continue;
		if (++idle > IDLE_ROUNDS) {
			sim.clock_ms += wait_ms < 60 * 1000 ? wait_ms : 60 * 1000;
			return;
		}
		ops_wait(wait_ms > 1000);
	}
	sim.clock_ms += sim_random(50) == 0;
}
