/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the tests of streams share: one real loop with a listener, and ends that send a pattern and
 * check that what comes is the pattern.
 */
#pragma once

#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/err.h"
#include "net/listen.h"
#include "net/tls.h"

#include "net_certs.h"
#include "test.h"

enum { DEADLINE_MS = 20000, TICK_MS = 10, IN_BYTES = 40000, BULK = 8 * 1024 * 1024 };

/* ---- one loop, one net, a listener ---- */

struct rig {
	struct loop *loop;
	struct net net;
	struct stats stats;
	struct listener ls;
	bool listening;
	uint16_t port;
	struct timer tick;
	uint64_t deadline_ms;
	bool (*until)(struct rig *r);
	bool timed_out;
	struct tls_server *ts;
	struct tls_client *tc;
	struct end *accepted[4];
	unsigned accepted_count;
	void (*setup)(struct end *e); /* of each accepted end */
	pid_t child;
	int child_status;
};

/* One side: sends a pattern, checks that what comes is the pattern. */
struct end {
	struct rig *r;
	struct stream s;
	struct task task;
	uint64_t tx_left, tx_at, rx_at;
	uint64_t pull_max; /* slow reader: bytes for each tick; 0: no limit */
	uint64_t pull_left;
	uint64_t rx_want; /* once so many have come: close (with tx_left == 0) */
	int file; /* > 0: it holds the pattern, and what the stream takes of it goes as a file */
	bool echo, close_when_done, abort_when_sent, hold, no_check;
	bool bad_pattern;
	int end_err; /* of the last pull or send, once it is negative */
	struct buf in;
	char in_mem[IN_BYTES];
	char text[4096]; /* what came, when it is short */
};

static char pattern(uint64_t at)
{
	return (char)(at * 31 + (at >> 13) * 7);
}

static void end_take(struct end *e)
{
	struct slice d = buf_data(&e->in);

	for (size_t i = 0; i < d.len; i++) {
		e->bad_pattern |= !e->no_check && d.ptr[i] != pattern(e->rx_at + i);
		if (e->rx_at + i < sizeof(e->text) - 1)
			e->text[e->rx_at + i] = d.ptr[i];
	}
	e->rx_at += d.len;
	buf_take(&e->in, d.len);
}

static void end_pull(struct end *e)
{
	int n = 1;

	while (n > 0 && !e->hold && e->end_err == 0 && stream_is_open(&e->s)) {
		if (e->pull_max && e->pull_left == 0)
			return;
		if (e->echo && buf_len(&e->in) > 0)
			return;
		n = stream_pull(&e->s, &e->in);
		if (n < 0)
			e->end_err = n;
		if (n > 0 && e->pull_max)
			e->pull_left -= e->pull_left < (uint64_t)n ? e->pull_left : (uint64_t)n;
		if (n > 0 && !e->echo)
			end_take(e);
	}
}

static int end_send_file(struct end *e)
{
	if (e->file <= 0 || !stream_takes_files(&e->s))
		return -EAGAIN;
	return stream_send_file(&e->s, e->file, e->tx_at, e->tx_left);
}

static void end_send(struct end *e)
{
	char *plain = e->r->net.plain;
	int n = 1;

	while (n > 0 && e->tx_left > 0 && stream_writable(&e->s)) {
		size_t len = e->tx_left < NET_PLAIN_BYTES ? e->tx_left : NET_PLAIN_BYTES;

		n = end_send_file(e);
		if (n == -EAGAIN) {
			for (size_t i = 0; i < len; i++)
				plain[i] = pattern(e->tx_at + i);
			n = stream_send(&e->s, (struct slice){ plain, len }, e->tx_left > len);
		}
		if (n < 0) {
			e->end_err = n;
			return;
		}
		e->tx_left -= (uint64_t)n;
		e->tx_at += (uint64_t)n;
	}
	while (n > 0 && e->echo && buf_len(&e->in) > 0 && stream_writable(&e->s)) {
		n = stream_send(&e->s, buf_data(&e->in), false);
		if (n > 0) {
			e->tx_at += (uint64_t)n;
			buf_take(&e->in, (size_t)n);
			end_pull(e);
		}
	}
}

static void end_run(struct task *t)
{
	struct end *e = container_of(t, struct end, task);
	bool all_in = e->rx_want && e->rx_at >= e->rx_want;

	if (stream_is_closed(&e->s) || e->s.state == STREAM_CLOSING)
		return;
	if (e->s.err)
		e->end_err = e->s.err;
	if (stream_is_open(&e->s)) {
		end_pull(e);
		end_send(e);
		all_in = e->rx_want && e->rx_at >= e->rx_want;
		if (e->tx_left == 0 && e->abort_when_sent && e->tx_at > 0)
			stream_close(&e->s, false);
	}
	if (e->s.state == STREAM_CLOSING || stream_is_closed(&e->s))
		return;
	if (e->end_err ||
	    (e->close_when_done && e->tx_left == 0 && (all_in || (!e->rx_want && e->tx_at > 0))))
		stream_close(&e->s, true);
}

static struct end *end_new(struct rig *r)
{
	struct end *e = calloc(1, sizeof(*e));

	assert(e != NULL);
	e->r = r;
	task_init(&e->task, end_run);
	buf_init(&e->in, e->in_mem, sizeof(e->in_mem));
	stream_init(&e->s, &r->net, &e->task);
	return e;
}

static void end_free(struct end *e)
{
	if (!e)
		return;
	check(stream_is_closed(&e->s));
	loop_unwake(e->r->loop, &e->task);
	free(e);
}

static void rig_accepted(struct listener *ls, int fd, const struct addr *peer)
{
	struct rig *r = container_of(ls, struct rig, ls);
	struct end *e = end_new(r);

	assert(r->accepted_count < countof(r->accepted));
	r->accepted[r->accepted_count++] = e;
	if (r->setup)
		r->setup(e);
	stream_accept(&e->s, fd, peer, r->ts);
}

static void rig_tick(struct timer *t)
{
	struct rig *r = container_of(t, struct rig, tick);

	if (r->child > 0 && waitpid(r->child, &r->child_status, WNOHANG) == r->child)
		r->child = 0;
	for (unsigned i = 0; i < r->accepted_count; i++) {
		r->accepted[i]->pull_left = r->accepted[i]->pull_max;
		loop_wake(r->loop, &r->accepted[i]->task);
	}
	r->timed_out = loop_now_ms(r->loop) > r->deadline_ms;
	if (r->timed_out || r->until(r))
		loop_stop(r->loop);
	else
		loop_timer_set(r->loop, &r->tick, loop_now_ms(r->loop) + TICK_MS);
}

/* Runs the loop until <until>; false: not within the deadline. */
static bool rig_run(struct rig *r, bool (*until)(struct rig *r))
{
	r->until = until;
	r->deadline_ms = loop_now_ms(r->loop) + DEADLINE_MS;
	loop_timer_set(r->loop, &r->tick, loop_now_ms(r->loop) + TICK_MS);
	loop_run(r->loop);
	check(!r->timed_out);
	return !r->timed_out;
}

static void rig_listen(struct rig *r)
{
	struct addr at;
	int fd;

	check_eq(addr_parse(SLICE("127.0.0.1:0"), &at), 0);
	fd = listen_open(&at, &(struct tuning){ 0 });
	check(fd >= 0);
	check_eq(getsockname(fd, &at.sa, &at.len), 0);
	r->port = ntohs(at.in.sin_port);
	listen_start(&r->ls, r->loop, fd, 0, rig_accepted);
	r->listening = true;
}

/* cert NULL: plain. */
static struct rig *rig_new(const char *cert)
{
	const struct loop_opts opts = { .entries = 64, .rx_bufs = 16, .rx_buf_bytes = 4096 };
	struct rig *r = calloc(1, sizeof(*r));
	const char *why = "";
	char err[512] = "", chain[64], key[64];

	certs_make();
	assert(r != NULL);
	if (loop_new(&r->loop, &opts, &why) != 0)
		printf("# %s\n", why);
	assert(r->loop != NULL);
	check_eq(net_init(&r->net, r->loop, &r->stats, 16), 0);
	timer_init(&r->tick, rig_tick);
	if (cert) {
		snprintf(chain, sizeof(chain), "%s.pem", cert);
		snprintf(key, sizeof(key), "%s.key", cert);
		const struct tls_cert_opts o = { cert, certs_path(chain), certs_path(key) };

		r->ts = tls_server_new(&o, 1, false, err, sizeof(err));
		r->tc = tls_client_new(NULL, err, sizeof(err));
		assert(r->ts && r->tc);
	}
	rig_listen(r);
	return r;
}

static bool all_closed(struct rig *r)
{
	for (unsigned i = 0; i < r->accepted_count; i++)
		if (!stream_is_closed(&r->accepted[i]->s))
			return false;
	return listen_stopped(&r->ls) && loop_inflight(r->loop) == 0;
}

static void rig_free(struct rig *r, struct end *client)
{
	listen_stop(&r->ls);
	for (unsigned i = 0; i < r->accepted_count; i++)
		stream_close(&r->accepted[i]->s, false);
	if (client)
		stream_close(&client->s, false);
	if (r->child > 0) {
		kill(-r->child, SIGKILL);
		waitpid(r->child, NULL, 0);
	}
	rig_run(r, all_closed);
	for (unsigned i = 0; i < r->accepted_count; i++)
		end_free(r->accepted[i]);
	end_free(client);
	/* Every buffer is back: pool_fini() asserts it. */
	net_fini(&r->net);
	loop_free(r->loop);
	tls_server_unref(r->ts);
	tls_client_unref(r->tc);
	free(r);
}

static struct end *dial(struct rig *r, uint16_t port, const char *host)
{
	struct end *e = end_new(r);
	struct addr to;

	check_eq(addr_parse(SLICE("127.0.0.1:1"), &to), 0);
	to.in.sin_port = htons(port);
	stream_connect(&e->s, &to, r->tc, host, NULL);
	return e;
}

static struct end *watched; /* the client of the running test */

static inline bool client_closed(struct rig *r)
{
	(void)r;
	return stream_is_closed(&watched->s);
}

static inline bool both_closed(struct rig *r)
{
	return stream_is_closed(&watched->s) && r->accepted_count == 1 &&
	       stream_is_closed(&r->accepted[0]->s);
}
