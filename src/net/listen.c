/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/listen.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

/*
 * The kernel bounds the backlog by net.core.somaxconn anyway.  Out of descriptors or memory,
 * accepting pauses: what comes meanwhile waits in the backlog.
 */
enum { BACKLOG = 4096, RETRY_MS = 100 };

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

/* The kernel's own default is as good for all but speed. */
static void tune(int fd, struct tuning *t)
{
	const char *key;
	int err;

	while ((key = tuning_set(fd, t, &err)))
		log_warn("server %s refused by the kernel: %s; its default is used", key,
			 err_text(err));
}

static int prepare(int fd, const struct addr *at, struct tuning *t)
{
	int err = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (err == 0)
		err = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (err == 0 && at->sa.sa_family == AF_INET6)
		err = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	/* Inherited by what is accepted. */
	if (err == 0)
		err = set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (err == 0)
		tune(fd, t);
	if (err == 0 && bind(fd, &at->sa, at->len) != 0)
		err = -errno;
	if (err == 0 && listen(fd, BACKLOG) != 0)
		err = -errno;
	return err;
}

int listen_open(const struct addr *at, struct tuning *t)
{
	int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = prepare(fd, at, t);
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

static void take(struct listener *ls, int fd)
{
	struct addr peer = { .len = sizeof(peer.in6) };

	if (getpeername(fd, &peer.sa, &peer.len) == 0) {
		ls->accepted(ls, fd, &peer);
		return;
	}
	close(fd); /* gone already */
}

static void arm(struct listener *ls)
{
	loop_accept(ls->loop, &ls->accept_op, ls->fd);
}

/* What the kernel had accepted for us when the socket was told to stop. */
static void finish(struct listener *ls)
{
	int fd;

	/*
	 * All, also where another process has the socket and goes on: the kernel wakes one who
	 * waits for each connection, and that may have been us.
	 */
	for (unsigned i = 0; i < BACKLOG; i++) {
		fd = accept4(ls->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			break;
		take(ls, fd);
	}
	close(ls->fd);
	ls->fd = -1;
}

static void accept_done(struct op *op, int res)
{
	struct listener *ls = container_of(op, struct listener, accept_op);

	if (res >= 0)
		take(ls, res);
	if (op_more(op))
		return;
	if (ls->stopping) {
		finish(ls);
		return;
	}
	if (res >= 0 || res == -ECONNABORTED) {
		arm(ls); /* the multishot ended by itself, or a connection died in the queue */
		return;
	}
	/* EMFILE, ENFILE, ENOBUFS, ENOMEM: not mended by asking again at once. */
	log_limited(LOG_WARN, "listen paused_ms=%d reason=\"%s\"", RETRY_MS, err_text(res));
	loop_timer_set(ls->loop, &ls->retry, loop_now_ms(ls->loop) + RETRY_MS);
}

static void retry_fired(struct timer *t)
{
	arm(container_of(t, struct listener, retry));
}

static void retire_fired(struct timer *t)
{
	listen_stop(container_of(t, struct listener, retire));
}

void listen_start(struct listener *ls, struct loop *l, int fd, int kind,
		  void (*accepted)(struct listener *ls, int fd, const struct addr *peer))
{
	*ls = (struct listener){ .loop = l, .fd = fd, .kind = kind, .accepted = accepted };
	op_init(&ls->accept_op, &ls->inflight, accept_done);
	timer_init(&ls->retry, retry_fired);
	timer_init(&ls->retire, retire_fired);
	arm(ls);
}

void listen_stop(struct listener *ls)
{
	if (ls->stopping)
		return;
	ls->stopping = true;
	loop_timer_clear(ls->loop, &ls->retry);
	loop_timer_clear(ls->loop, &ls->retire);
	if (op_busy(&ls->accept_op))
		loop_cancel(ls->loop, &ls->accept_op);
	else
		finish(ls);
}

void listen_retire(struct listener *ls)
{
	/* Of the TCP header, where a filter begins: a segment with SYN is dropped. */
	enum { FLAGS_AT = 13, SYN = 2 };
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
	};
	struct sock_fprog prog = { countof(code), code };

	if (ls->stopping)
		return;
	if (setsockopt(ls->fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0)
		log_warn("listen no filter: %s; a connection that is just made may be reset",
			 err_text(-errno));
	loop_timer_set(ls->loop, &ls->retire, loop_now_ms(ls->loop) + LISTEN_RETIRE_MS);
}
