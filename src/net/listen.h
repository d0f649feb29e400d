/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Listening sockets: opened by the main thread (SO_REUSEPORT, one per worker), accepted from by a
 * loop.
 */
#pragma once

#include "io/loop.h"
#include "net/addr.h"
#include "net/tuning.h"

struct listener {
	struct op accept_op;
	struct loop *loop;
	int fd;
	unsigned inflight;
	bool stopping;
	int kind;            /* the owner's word for what it serves */
	struct timer retry;  /* after EMFILE, ENFILE, ENOBUFS, ENOMEM */
	struct timer retire; /* after listen_retire() */
	void (*accepted)(struct listener *ls, int fd, const struct addr *peer);
};

/*
 * A bound, listening, non-blocking socket, or -errno.  What the kernel refuses of *t is told in the
 * log and taken out of it, so that the next socket does not say it again.
 */
int listen_open(const struct addr *at, struct tuning *t) must_check;
/* Takes fd.  accepted() takes the new socket (non-blocking, TCP_NODELAY set). */
void listen_start(struct listener *ls, struct loop *l, int fd, int kind,
		  void (*accepted)(struct listener *ls, int fd, const struct addr *peer));
/* Stops accepting and closes; drains what the kernel has already accepted first. */
void listen_stop(struct listener *ls);
/*
 * The address is no more: listen_stop(), but with no connection lost.  Closing a socket resets what
 * its queues hold, and shakes of hands end at any moment; so the kernel drops new SYNs first (who
 * sent them tries again, and is refused then), and what had begun is accepted for
 * LISTEN_RETIRE_MS.
 */
void listen_retire(struct listener *ls);
enum { LISTEN_RETIRE_MS = 1000 };
static inline bool listen_stopped(const struct listener *ls)
{
	return ls->stopping && ls->inflight == 0;
}
