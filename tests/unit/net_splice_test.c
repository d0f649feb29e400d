/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include "test.h"

enum { BYTES = 3 * 1024 * 1024, TICK_MS = 1, LIMIT_MS = 20000 };

/* Two TCP connections, spliced between; the test is at both far ends. */
struct rig {
	struct loop *loop;
	struct net net;
	struct stats stats;
	struct splice splice;
	struct task task;
	struct timer tick;
	uint64_t until_ms;
	int far[2], near[2];
	size_t sent[2], got[2];
	size_t take_max; /* each tick */
	bool fin_first;  /* [0] says FIN at once after its last byte */
	bool shut[2], eof[2], wrong;
	enum splice_state state;
};

static char pattern(int way, size_t at)
{
	return (char)(at * 31 + (at >> 13) * 7 + (size_t)way);
}

static bool tcp_pair(int out[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	out[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ok = bind(l, (struct sockaddr *)&a, len) == 0 && listen(l, 1) == 0 &&
	     getsockname(l, (struct sockaddr *)&a, &len) == 0 &&
	     connect(out[0], (struct sockaddr *)&a, len) == 0;
	out[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	close(l);
	return ok && out[1] >= 0 && fcntl(out[0], F_SETFL, O_NONBLOCK) == 0 &&
	       fcntl(out[1], F_SETFL, O_NONBLOCK) == 0;
}

static void run(struct task *task)
{
	struct rig *r = container_of(task, struct rig, task);

	if (r->splice.ended)
		return;
	r->state = splice_run(&r->splice);
	if (r->state == SPLICE_MORE)
		loop_wake(r->loop, &r->task);
	if (r->state == SPLICE_OVER || r->state == SPLICE_BROKEN)
		splice_end(&r->splice);
}

static void far_send(struct rig *r, int i)
{
	char mem[8192];
	size_t n = BYTES - r->sent[i] < sizeof(mem) ? BYTES - r->sent[i] : sizeof(mem);
	ssize_t sent;

	/* The second one speaks only when the first has ended. */
	if (i == 1 && r->fin_first && !r->eof[1])
		return;
	for (unsigned turns = 0; turns < 64 && n > 0; turns++) {
		for (size_t k = 0; k < n; k++)
			mem[k] = pattern(i, r->sent[i] + k);
		sent = send(r->far[i], mem, n, MSG_NOSIGNAL);
		if (sent <= 0)
			break;
		r->sent[i] += (size_t)sent;
		n = BYTES - r->sent[i] < sizeof(mem) ? BYTES - r->sent[i] : sizeof(mem);
	}
	if (r->sent[i] == BYTES && !r->shut[i]) {
		shutdown(r->far[i], SHUT_WR);
		r->shut[i] = true;
	}
}

static void far_take(struct rig *r, int i)
{
	char mem[8192];
	size_t taken = 0;
	ssize_t n;

	while (taken < r->take_max && (n = recv(r->far[i], mem, sizeof(mem), 0)) >= 0) {
		if (n == 0) {
			r->eof[i] = true;
			return;
		}
		for (ssize_t k = 0; k < n; k++)
			r->wrong |= mem[k] != pattern(!i, r->got[i] + (size_t)k);
		r->got[i] += (size_t)n;
		taken += (size_t)n;
	}
}

static void tick(struct timer *t)
{
	struct rig *r = container_of(t, struct rig, tick);

	for (int i = 0; i < 2; i++) {
		far_send(r, i);
		far_take(r, i);
	}
	if ((r->splice.ended && r->splice.inflight == 0 && r->eof[0] && r->eof[1]) ||
	    loop_now_ms(r->loop) > r->until_ms)
		loop_stop(r->loop);
	else
		loop_timer_set(r->loop, t, loop_now_ms(r->loop) + TICK_MS);
}

static bool rig_init(struct rig *r)
{
	const struct loop_opts lo = { .entries = 64, .rx_bufs = 16, .rx_buf_bytes = 4096 };
	const char *why;
	int a[2], b[2];

	memset(r, 0, sizeof(*r));
	r->take_max = SIZE_MAX;
	if (loop_new(&r->loop, &lo, &why) != 0 || net_init(&r->net, r->loop, &r->stats, 4) != 0 ||
	    !tcp_pair(a) || !tcp_pair(b))
		return false;
	r->far[0] = a[0];
	r->near[0] = a[1];
	r->near[1] = b[0];
	r->far[1] = b[1];
	task_init(&r->task, run);
	timer_init(&r->tick, tick);
	splice_init(&r->splice, &r->net, &r->task, r->near[0], r->near[1]);
	return true;
}

static void rig_run(struct rig *r)
{
	r->until_ms = loop_now_ms(r->loop) + LIMIT_MS;
	loop_wake(r->loop, &r->task);
	loop_timer_set(r->loop, &r->tick, loop_now_ms(r->loop) + TICK_MS);
	loop_run(r->loop);
	check(loop_now_ms(r->loop) <= r->until_ms);
}

static void rig_fini(struct rig *r)
{
	for (int i = 0; i < 2; i++) {
		close(r->far[i]);
		close(r->near[i]);
	}
	check_eq(loop_inflight(r->loop), 0);
	net_fini(&r->net);
	loop_free(r->loop);
}

static void check_whole(struct rig *r)
{
	check_eq(r->state, SPLICE_OVER);
	check(!r->wrong);
	for (int i = 0; i < 2; i++) {
		check(r->eof[i]);
		check_eq(r->got[i], BYTES);
		check_eq(r->splice.ways[i].bytes, BYTES);
	}
	check_eq(r->net.pipes.out, 0);
}

TEST(both_ways_are_whole)
{
	struct rig r;

	require(rig_init(&r));
	rig_run(&r);
	check_whole(&r);
	check(r.net.pipes.kept > 0);
	rig_fini(&r);
}

TEST(slow_readers_lose_nothing)
{
	struct rig r;

	require(rig_init(&r));
	r.take_max = 64 * 1024;
	rig_run(&r);
	check_whole(&r);
	rig_fini(&r);
}

TEST(a_fin_goes_on_alone)
{
	struct rig r;

	require(rig_init(&r));
	r.fin_first = true;
	rig_run(&r);
	check_whole(&r);
	rig_fini(&r);
}

TEST(without_pipes_bytes_are_copied)
{
	struct rig r;

	require(rig_init(&r));
	r.net.pipes.out = PIPES_MAX;
	r.take_max = 256 * 1024;
	rig_run(&r);
	r.net.pipes.out -= PIPES_MAX;
	check_whole(&r);
	check_eq(r.net.pipes.kept, 0);
	rig_fini(&r);
}

TEST(a_reset_breaks_it)
{
	const struct linger now = { .l_onoff = 1 };
	struct rig r;

	require(rig_init(&r));
	r.sent[0] = r.sent[1] = BYTES; /* nothing is to be sent */
	r.shut[0] = r.shut[1] = true;
	r.eof[0] = r.eof[1] = true;
	r.take_max = 0;
	require(setsockopt(r.far[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
	close(r.far[1]);
	r.far[1] = dup(r.far[0]);
	rig_run(&r);
	check_eq(r.state, SPLICE_BROKEN);
	check_eq(r.splice.err, -ECONNRESET);
	check_eq(r.splice.err_fd, r.near[1]);
	rig_fini(&r);
}
