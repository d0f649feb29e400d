/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

enum {
	PAGE_BYTES = 4096,
	/* A wait ends after this long at the latest: one call serves with and without a timer. */
	WAIT_MAX_MS = 60 * 1000,
	/*
	 * Threads of io-wq per ring, where reads of files, buffered writes and openat run.  By
	 * default a thread per fill on a slow disk.
	 */
	IOWQ_WORKERS = 8,
};

/* The first character of the sysctl, or '0' where the kernel (before 6.6) does not have it. */
static cold char io_uring_disabled(void)
{
	int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
	char c = '0';

	if (fd < 0)
		return c;
	if (read(fd, &c, 1) != 1)
		c = '0';
	close(fd);
	return c;
}

/* EPERM has three causes. */
static cold const char *refused_why(void)
{
	switch (io_uring_disabled()) {
	case '1':
		return "kernel.io_uring_disabled is 1, so io_uring is for members of "
		       "kernel.io_uring_group only: set that to this user's group, or run "
		       "'sysctl -w kernel.io_uring_disabled=0'";
	case '2':
		return "kernel.io_uring_disabled is 2, so nobody may use io_uring: run 'sysctl -w "
		       "kernel.io_uring_disabled=0' and keep it in /etc/sysctl.d/";
	}
	return "io_uring is refused though kernel.io_uring_disabled is not set, so a seccomp "
	       "filter does it, as Docker and containerd install by default: allow "
	       "io_uring_setup, io_uring_enter and io_uring_register in the container's profile";
}

static cold const char *setup_why(int err)
{
	switch (err) {
	case -EPERM: return refused_why();
	case -ENOSYS:
		return "this kernel has no io_uring, or a sandbox hides it: Sluice needs Linux 6.1 "
		       "or newer with CONFIG_IO_URING, outside of gVisor";
	case -EINVAL: return "this kernel's io_uring is too old: Sluice needs Linux 6.1 or newer";
	case -ENOMEM:
		return "no memory for io_uring: raise the locked-memory limit (ulimit -l, "
		       "LimitMEMLOCK= of the unit) or the memory limit of the container";
	case -EMFILE:
	case -ENFILE:
		return "no file descriptor left for io_uring: raise the limit of open files "
		       "(ulimit -n, LimitNOFILE= of the unit)";
	}
	return err_text(err);
}

static int rx_init(struct ring *r, const struct loop_opts *opts)
{
	struct io_uring_buf_reg reg = { .ring_entries = opts->rx_bufs, .bgid = RING_RX_GROUP };
	size_t ring_bytes = opts->rx_bufs * sizeof(struct io_uring_buf);
	int err;

	assert((opts->rx_bufs & (opts->rx_bufs - 1)) == 0);
	assert(opts->rx_bufs <= 1 << 15);
	assert(opts->rx_buf_bytes > 0);
	ring_bytes = (ring_bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
	r->rx_ring = aligned_alloc(PAGE_BYTES, ring_bytes);
	r->rx_mem = aligned_alloc(PAGE_BYTES,
				  ((size_t)opts->rx_bufs * opts->rx_buf_bytes + PAGE_BYTES - 1) &
					  ~(size_t)(PAGE_BYTES - 1));
	if (!r->rx_ring || !r->rx_mem)
		return -ENOMEM;
	memset(r->rx_ring, 0, ring_bytes);
	reg.ring_addr = (uintptr_t)r->rx_ring;
	err = io_uring_register_buf_ring(&r->uring, &reg, 0);
	if (err < 0)
		return err;
	r->rx_bufs = opts->rx_bufs;
	r->rx_buf_bytes = opts->rx_buf_bytes;
	for (unsigned i = 0; i < r->rx_bufs; i++)
		io_uring_buf_ring_add(r->rx_ring, r->rx_mem + (size_t)i * r->rx_buf_bytes,
				      r->rx_buf_bytes, (unsigned short)i,
				      io_uring_buf_ring_mask(r->rx_bufs), (int)i);
	io_uring_buf_ring_advance(r->rx_ring, (int)r->rx_bufs);
	return 0;
}

int ring_init(struct ring *r, const struct loop_opts *opts, const char **why)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
			 IORING_SETUP_R_DISABLED,
		.cq_entries = opts->entries * 4,
	};
	unsigned workers[2] = { IOWQ_WORKERS, IOWQ_WORKERS };
	int err;

	assert(opts->entries > 0 && opts->entries <= 1 << 14);
	*r = (struct ring){ .uring.ring_fd = -1 };
	err = io_uring_queue_init_params(opts->entries, &r->uring, &params);
	if (err < 0) {
		r->uring.ring_fd = -1;
		*why = setup_why(err);
		return err;
	}
	err = io_uring_register_iowq_max_workers(&r->uring, workers);
	if (err >= 0 && opts->rx_bufs > 0)
		err = rx_init(r, opts);
	if (err < 0)
		*why = setup_why(err);
	return err < 0 ? err : 0;
}

void ring_fini(struct ring *r)
{
	if (r->uring.ring_fd >= 0)
		io_uring_queue_exit(&r->uring);
	free(r->rx_ring);
	free(r->rx_mem);
	*r = (struct ring){ .uring.ring_fd = -1 };
}

void ring_own(struct ring *r)
{
	if (!r->enabled) {
		/* liburing 2.3 declares io_uring_enable_rings() but does not export it. */
		long err = syscall(SYS_io_uring_register, r->uring.ring_fd,
				   IORING_REGISTER_ENABLE_RINGS, NULL, 0);

		assert(err == 0);
		r->enabled = true;
	}
	/* Saves the look-up of the descriptor on each enter; where it fails, nothing is lost. */
	(void)io_uring_register_ring_fd(&r->uring);
}

void ring_disown(struct ring *r)
{
	(void)io_uring_unregister_ring_fd(&r->uring);
}

struct io_uring_sqe *ring_sqe(struct ring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

	if (!sqe) {
		assert(r->enabled);
		(void)io_uring_submit(&r->uring);
		sqe = io_uring_get_sqe(&r->uring);
	}
	assert(sqe != NULL);
	return sqe;
}

void ring_submit(struct ring *r, uint64_t wait_ms)
{
	uint64_t ms = wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS;
	struct __kernel_timespec ts = {
		.tv_sec = (int64_t)(ms / 1000),
		.tv_nsec = (int64_t)(ms % 1000) * 1000000,
	};
	struct io_uring_cqe *cqe;
	int err;

	assert(r->enabled);
	if (ms == 0)
		err = io_uring_submit_and_get_events(&r->uring);
	else
		err = io_uring_submit_and_wait_timeout(&r->uring, &cqe, 1, &ts, NULL);
	if (err >= 0)
		return;
	switch (err) {
	case -ETIME:
	case -EINTR:
	case -EAGAIN: /* the kernel is short of memory: what it did not take stays queued */
	case -EBUSY: /* completions overflow: the next turn takes them out */ return;
	}
	unreachable("io_uring_enter failed");
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
	io_uring_buf_ring_add(r->rx_ring, ring_rx_data(r, cqe_flags), r->rx_buf_bytes,
			      (unsigned short)(cqe_flags >> IORING_CQE_BUFFER_SHIFT),
			      io_uring_buf_ring_mask(r->rx_bufs), 0);
	io_uring_buf_ring_advance(r->rx_ring, 1);
}
