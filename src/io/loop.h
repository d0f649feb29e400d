/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One thread's event loop on one io_uring.  The only code that knows liburing is in io/.
 *
 * A turn: reap a bounded batch of completions, run their callbacks, run mail, timers and tasks,
 * submit once and wait.  Callbacks never run inside a submit, and never inside each other.
 *
 * Invariants
 *  1. An op is in flight from the call that starts it until its done() is called; while it is, it
 *     and the memory it names belong to the kernel.  `*inflight` of its owner counts such ops; the
 *     loop alone counts it up and down (down before done() is called).
 *  2. done() records the result and wakes its owner's task; it decides nothing.
 *  3. A task is queued at most once; it runs after the completions of the turn in which it was
 *     woken; one that wakes itself, a turn later.
 *  4. Except loop_post(), everything here is called by the loop's own thread only; before
 *     loop_run(), by the thread that called loop_new(), and then for at most loop_opts.entries
 *     operations.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/timer.h"

struct loop;

/* One kernel operation; lives inside its owner, which may not be freed while it is in flight. */
struct op {
	void (*done)(struct op *op, int res); /* res as cqe->res: >= 0 or -errno */
	unsigned *inflight;                   /* the owner's counter */
	bool busy;                            /* in flight */

	/* Private: what was asked, kept because the kernel may want to be asked again. */
	bool polling;   /* the poll before a retry is what is in flight */
	bool cancelled; /* no retry any more */
	uint8_t kind;
	int fd;
	uint32_t arg; /* events, open flags, address length */
	int mode;
	union {
		void *mem;
		const void *cmem;
	};
	uint32_t len;
	uint32_t got; /* sent so far */
	uint64_t off;
	uint32_t cqe_flags; /* of the completion that done() is called for */
};

/* A step function to be run later in this turn; lives inside its owner. */
struct task {
	struct task *next;
	void (*run)(struct task *task);
	bool queued;
	uint32_t round; /* private: of the loop when it was woken */
};

/* A message to a loop from any thread; lives inside its owner until it is delivered. */
struct mail {
	struct mail *next;
	void (*deliver)(struct mail *mail); /* runs on the receiving loop */
};

struct loop_opts {
	unsigned entries; /* submission queue; completions get four times that */
	unsigned rx_bufs; /* provided receive buffers, a power of two; 0: no loop_recv_pooled() */
	unsigned rx_buf_bytes;
};

/* 0 or -errno; *why then names what refused (sysctl, seccomp, kernel) and how to mend it. */
int loop_new(struct loop **out, const struct loop_opts *opts, const char **why) must_check;
/* On any thread, after loop_run() has returned.  No operation or loop_post() may be under way. */
void loop_free(struct loop *l);

/* Runs turns until loop_stop(); on the thread that is to own the loop, the same each time. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Operations of all owners in flight.  0 is what loop_free() wants. */
unsigned loop_inflight(const struct loop *l);

/* Monotonic milliseconds, read once a turn.  Never 0. */
uint64_t loop_now_ms(const struct loop *l);

void op_init(struct op *op, unsigned *inflight, void (*done)(struct op *op, int res));
static inline bool op_busy(const struct op *op)
{
	return op->busy;
}

static inline void task_init(struct task *t, void (*run)(struct task *task))
{
	*t = (struct task){ .run = run };
}
void loop_wake(struct loop *l, struct task *t);
/* Takes a task off the queue, for an owner that is being freed. */
void loop_unwake(struct loop *l, struct task *t);

/* Arms or re-arms; see base/timer.h. */
void loop_timer_set(struct loop *l, struct timer *t, uint64_t due_ms);
void loop_timer_clear(struct loop *l, struct timer *t);

/* From any thread.  <m> must stay valid until it is delivered; it is delivered once. */
void loop_post(struct loop *l, struct mail *m);

/*
 * Operations.  All take an idle op.  Buffers are borrowed until done().  -EAGAIN from the kernel on
 * a socket is handled here (poll and retry), -EINTR too; done() sees neither (but a connect may
 * end with -EAGAIN: that is final).
 */
void loop_accept(struct loop *l, struct op *op, int listen_fd); /* multishot: done(fd) many times */
void loop_connect(struct loop *l, struct op *op, int fd, const struct sockaddr *sa, socklen_t len);
void loop_recv(struct loop *l, struct op *op, int fd, void *mem, size_t len);
/*
 * Receives into one of the loop's own buffers.  done(op, n) must take the bytes during the call by
 * loop_rx_data(); the buffer is the loop's again when done() returns.  n == 0: end of stream.
 */
void loop_recv_pooled(struct loop *l, struct op *op, int fd);
const char *loop_rx_data(struct loop *l, const struct op *op);
size_t loop_rx_buf_bytes(const struct loop *l);
/* Sends all of it (MSG_WAITALL|MSG_NOSIGNAL); done(op, n): n < len only with an error to follow. */
void loop_send(struct loop *l, struct op *op, int fd, const void *mem, size_t len);
void loop_poll(struct loop *l, struct op *op, int fd, short events); /* done(op, revents) */
/* Of a file, on a thread of the kernel: for what is not in memory. */
void loop_read(struct loop *l, struct op *op, int fd, void *mem, size_t len, uint64_t off);
void loop_write(struct loop *l, struct op *op, int fd, const void *mem, size_t len, uint64_t off);
void loop_openat(struct loop *l, struct op *op, int dir_fd, const char *path, int flags, int mode);
void loop_close(struct loop *l, struct op *op, int fd);
/* Asks the kernel to end <victim>: its done() comes with -ECANCELED or its own result. */
void loop_cancel(struct loop *l, struct op *victim);
/* A multishot op whose done() was just called goes on by itself iff this is true. */
static inline bool op_more(const struct op *op)
{
	return op->busy;
}
