/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Streams over loopback on a real loop: our server against our client, each against the openssl
 * command, and through a pump that dribbles, cuts and forges.
 */
#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/log.h"
#include "net/listen.h"
#include "net/stream_private.h"
/* For a client that knows one version and one suite only. */
#include "net/tls.c"

#include "net_certs.h"
#include "test.h"

enum { DEADLINE_MS = 20000, TICK_MS = 10, IN_BYTES = 40000 };

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

static void end_send(struct end *e)
{
	char *plain = e->r->net.plain;
	int n = 1;

	while (n > 0 && e->tx_left > 0 && stream_writable(&e->s)) {
		size_t len = e->tx_left < NET_PLAIN_BYTES ? e->tx_left : NET_PLAIN_BYTES;

		for (size_t i = 0; i < len; i++)
			plain[i] = pattern(e->tx_at + i);
		n = stream_send(&e->s, (struct slice){ plain, len }, e->tx_left > len);
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
	fd = listen_open(&at);
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
	stream_connect(&e->s, &to, r->tc, host);
	return e;
}

/* From here on the client offers this suite only, and the version that it belongs to. */
static void only(struct rig *r, const char *suite)
{
	struct tls_client *c = calloc(1, sizeof(*c));
	struct reason why = { (char[256]){ "" }, 256 };
	bool is_13 = strncmp(suite, "TLS13-", 6) == 0;

	assert(c != NULL);
	c->refs = 1;
	c->ctx = wolfSSL_CTX_new(is_13 ? wolfTLSv1_3_client_method() : wolfTLSv1_2_client_method());
	check_eq(ctx_setup(c->ctx, why), 0);
	check_eq(roots_load(c->ctx, bundle_path(), true, why), 0);
	check_eq(wolfSSL_CTX_set_cipher_list(c->ctx, suite), WOLFSSL_SUCCESS);
	tls_client_unref(r->tc);
	r->tc = c;
}

static struct end *watched; /* the client of the running test */

static bool client_closed(struct rig *r)
{
	(void)r;
	return stream_is_closed(&watched->s);
}

static bool both_closed(struct rig *r)
{
	return stream_is_closed(&watched->s) && r->accepted_count == 1 &&
	       stream_is_closed(&r->accepted[0]->s);
}

/* ---- ours against ours ---- */

enum { BULK = 8 * 1024 * 1024 };

static void setup_bulk(struct end *e)
{
	e->tx_left = BULK;
	e->rx_want = BULK;
}

static void bulk(const char *cert, const char *host, const char *suite, const char *text,
		 uint64_t slow)
{
	struct rig *r = rig_new(cert);
	struct end *c;

	r->setup = setup_bulk;
	if (suite)
		only(r, suite);
	c = watched = dial(r, r->port, host);
	c->tx_left = BULK;
	c->rx_want = BULK;
	c->close_when_done = true;
	if (slow)
		r->setup = NULL;
	(void)rig_run(r, both_closed);
	require(r->accepted_count == 1);
	check_str(c->s.tls_text, text);
	check_str(r->accepted[0]->s.tls_text, text);
	check_eq(c->rx_at, BULK);
	check(!c->bad_pattern);
	check_eq(r->accepted[0]->rx_at, BULK);
	check(!r->accepted[0]->bad_pattern);
	check_eq(r->accepted[0]->end_err, ERR_EOF);
	check_eq(c->s.rx_bytes, BULK);
	check_eq(c->s.tx_bytes, BULK);
	check_eq(stat_get(&r->stats, STAT_HANDSHAKES), cert ? 1 : 0);
	rig_free(r, c);
}

TEST(stream_bulk_plain)
{
	bulk(NULL, "", NULL, "-", 0);
}

TEST(stream_bulk_tls13)
{
	bulk("main", "main.test", "TLS13-AES128-GCM-SHA256", "TLSv1.3/AES_128_GCM", 0);
	bulk("rsa", "127.0.0.1", "TLS13-AES256-GCM-SHA384", "TLSv1.3/AES_256_GCM", 0);
	bulk("main", "localhost", "TLS13-CHACHA20-POLY1305-SHA256", "TLSv1.3/CHACHA20_POLY1305", 0);
}

TEST(stream_bulk_tls12)
{
	bulk("main", "main.test", "ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2/AES_128_GCM", 0);
	bulk("rsa", "127.0.0.1", "ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.2/AES_256_GCM", 0);
	bulk("main", "main.test", "ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2/CHACHA20_POLY1305", 0);
}

static void setup_slow(struct end *e)
{
	e->pull_max = 100 * 1024;
	e->rx_want = BULK / 2;
}

static bool memory_is_bounded(struct rig *r)
{
	check(watched->s.rest_len <= NET_SEALED_BYTES);
	return both_closed(r);
}

TEST(stream_slow_reader_holds_the_sender_back)
{
	struct rig *r = rig_new("main");
	struct end *c;

	r->setup = setup_slow;
	c = watched = dial(r, r->port, "main.test");
	c->tx_left = BULK / 2;
	c->close_when_done = true;
	(void)rig_run(r, memory_is_bounded);
	require(r->accepted_count == 1);
	check_eq(r->accepted[0]->rx_at, BULK / 2);
	check(!r->accepted[0]->bad_pattern);
	check_eq(r->accepted[0]->end_err, ERR_EOF);
	rig_free(r, c);
}

/* ---- key updates of our own ---- */

static bool client_open(struct rig *r)
{
	return stream_is_open(&watched->s) && r->accepted_count == 1 &&
	       stream_is_open(&r->accepted[0]->s) && r->accepted[0]->s.rx.key.sched;
}

static void setup_quiet(struct end *e)
{
	e->tx_left = 0;
}

TEST(stream_changes_keys_before_they_are_spent)
{
	struct rig *r = rig_new("main");
	struct end *c, *s;

	r->setup = setup_quiet;
	c = watched = dial(r, r->port, "main.test");
	require(rig_run(r, client_open));
	s = r->accepted[0];
	c->s.tx.k.seq = s->s.rx.k.seq = (1 << 24) - 3;
	c->tx_left = 1024 * 1024;
	c->close_when_done = true;
	loop_wake(r->loop, &c->task);
	(void)rig_run(r, both_closed);
	check_eq(s->rx_at, 1024 * 1024);
	check(!s->bad_pattern);
	check_eq(s->end_err, ERR_EOF);
	check_eq(s->s.key_updates, 1);
	rig_free(r, c);
}

TEST(stream_12_ends_when_its_keys_are_spent)
{
	struct rig *r = rig_new("main");
	struct end *c;

	r->setup = setup_quiet;
	only(r, "ECDHE-ECDSA-AES128-GCM-SHA256");
	c = watched = dial(r, r->port, "main.test");
	require(rig_run(r, client_open));
	c->s.tx.k.seq = (uint64_t)1 << 32;
	check_eq(stream_send(&c->s, SLICE("x"), false), ERR_TLS_LIMIT);
	check_eq(stream_send(&c->s, SLICE("x"), false), ERR_TLS_LIMIT);
	rig_free(r, c);
}

/* ---- what a peer may not do ---- */

static bool nothing_for_a_while(struct rig *r)
{
	return loop_now_ms(r->loop) + DEADLINE_MS > r->deadline_ms + 300;
}

static struct rig *open_pair(struct end **c)
{
	struct rig *r = rig_new("main");

	r->setup = setup_quiet;
	*c = watched = dial(r, r->port, "main.test");
	(void)rig_run(r, client_open);
	return r;
}

/* The client sends <count> records of its own making. */
static void send_records(struct end *c, enum record_type type, struct slice payload, unsigned count)
{
	static char mem[64 * 1024];
	size_t at = 0;

	for (unsigned i = 0; i < count; i++) {
		at += record_seal(&c->s.tx, c->r->net.aead, type, payload, (uint8_t *)mem + at);
		if (type == RECORD_HANDSHAKE && payload.len == 5)
			record_tx_update(&c->s.tx, c->r->net.aead);
	}
	stream_tx_offer(&c->s, (struct slice){ mem, at }, false);
}

static bool both_ended(struct rig *r)
{
	return both_closed(r) || (watched->end_err && r->accepted[0]->end_err);
}

static void refused(enum record_type type, struct slice payload, unsigned count, int err)
{
	struct end *c;
	struct rig *r = open_pair(&c);

	send_records(c, type, payload, count);
	(void)rig_run(r, both_ended);
	check_eq(r->accepted[0]->end_err, err);
	check_eq(c->end_err, ERR_TLS_ALERT);
	rig_free(r, c);
}

TEST(stream_floods_and_nonsense_are_refused)
{
	refused(RECORD_DATA, SLICE(""), 33, ERR_TLS_LIMIT);
	refused(RECORD_ALERT, SLICE("\1\x5a"), 33, ERR_TLS_LIMIT);
	refused(RECORD_HANDSHAKE, SLICE("\x18\0\0\1\0"), 33, ERR_TLS_LIMIT);
	refused(RECORD_HANDSHAKE, SLICE("\x18\0\0\1\2"), 1, ERR_TLS_RECORD);
	refused(RECORD_HANDSHAKE, SLICE("\4\0\0\1a"), 1, ERR_TLS_RECORD);
	refused(RECORD_CCS, SLICE("\1"), 1, ERR_TLS_RECORD);
	refused(RECORD_ALERT, SLICE("\1"), 1, ERR_TLS_RECORD);
}

TEST(stream_a_fatal_alert_ends_it)
{
	struct end *c;
	struct rig *r = open_pair(&c);

	send_records(c, RECORD_ALERT, SLICE("\2\x50"), 1);
	c->close_when_done = true;
	c->tx_at = 1;
	(void)rig_run(r, both_closed);
	check_eq(r->accepted[0]->end_err, ERR_TLS_ALERT);
	rig_free(r, c);
}

TEST(stream_little_floods_between_payload_are_borne)
{
	struct end *c;
	struct rig *r = open_pair(&c);

	for (unsigned i = 0; i < 4; i++) {
		char byte = pattern(i);

		send_records(c, RECORD_HANDSHAKE, SLICE("\x18\0\0\1\1"), 30);
		check_eq(stream_send(&c->s, (struct slice){ &byte, 1 }, false), 1);
	}
	c->close_when_done = true;
	c->tx_at = 4;
	r->accepted[0]->tx_left = 1000;
	c->rx_want = 1000;
	(void)rig_run(r, both_closed);
	check_eq(r->accepted[0]->rx_at, 4);
	check(!r->accepted[0]->bad_pattern);
	check_eq(r->accepted[0]->s.key_updates, 120);
	check_eq(c->s.key_updates, 1);
	check_eq(c->rx_at, 1000);
	rig_free(r, c);
}

/* An owner with room for less than a record gets all of it, in pieces. */
static void setup_narrow(struct end *e)
{
	buf_init(&e->in, e->in_mem, 1000);
	e->rx_want = 300000;
}

TEST(stream_pulls_into_little_room)
{
	struct rig *r = rig_new("main");
	struct end *c;

	r->setup = setup_narrow;
	c = watched = dial(r, r->port, "main.test");
	c->tx_left = 300000;
	c->close_when_done = true;
	(void)rig_run(r, both_closed);
	check_eq(r->accepted[0]->rx_at, 300000);
	check(!r->accepted[0]->bad_pattern);
	check_eq(r->accepted[0]->end_err, ERR_EOF);
	rig_free(r, c);
}

TEST(stream_idle_holds_no_buffer)
{
	struct end *c;
	struct rig *r = open_pair(&c);

	(void)rig_run(r, nothing_for_a_while);
	check_eq(r->net.small.out, 0);
	check_eq(r->net.big.out, 0);
	check(!c->s.rest);
	printf("# struct stream: %zu bytes\n", sizeof(struct stream));
	rig_free(r, c);
}

/* ---- through a pump ---- */

struct pump {
	pthread_t thread;
	int listen_fd;
	uint16_t port, to;
	size_t piece; /* bytes for each write */
	int64_t cut;  /* server to client: FIN after so many bytes; -1: never */
	int64_t flip; /* and the byte that is forged; -1: none */
};

static int tcp_connect(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

/* One turn of one direction; false: at its end. */
static bool pump_move(const struct pump *p, int from, int to, int64_t *at, bool down)
{
	char mem[4096];
	ssize_t n = read(from, mem, sizeof(mem));

	if (n <= 0)
		return false;
	for (ssize_t i = 0; i < n; i += (ssize_t)p->piece) {
		ssize_t len = n - i < (ssize_t)p->piece ? n - i : (ssize_t)p->piece;

		if (down && p->flip >= *at && p->flip < *at + len)
			mem[i + p->flip - *at] ^= 1;
		if (down && p->cut >= 0 && *at + len > p->cut)
			return false;
		if (send(to, mem + i, (size_t)len, MSG_NOSIGNAL) != len)
			return false;
		*at += len;
	}
	return true;
}

static void *pump_run(void *arg)
{
	const struct pump *p = arg;
	int c = accept(p->listen_fd, NULL, NULL), s = tcp_connect(p->to), on = 1;
	struct pollfd fds[2] = { { c, POLLIN, 0 }, { s, POLLIN, 0 } };
	int64_t up = 0, down = 0;
	bool go = true;

	setsockopt(c, IPPROTO_TCP, 1, &on, sizeof(on));
	setsockopt(s, IPPROTO_TCP, 1, &on, sizeof(on));
	while (go && poll(fds, 2, 5000) > 0) {
		if (fds[0].revents)
			go = pump_move(p, c, s, &up, false);
		if (go && fds[1].revents)
			go = pump_move(p, s, c, &down, true);
	}
	shutdown(c, SHUT_WR);
	shutdown(s, SHUT_WR);
	for (int i = 0; i < 50 && poll(fds, 1, 100) > 0; i++) {
		char mem[4096];

		if (read(c, mem, sizeof(mem)) <= 0)
			break;
	}
	close(c);
	close(s);
	return NULL;
}

static void pump_start(struct pump *p, uint16_t to)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->to = to;
	p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(bind(p->listen_fd, (struct sockaddr *)&a, len) == 0);
	assert(listen(p->listen_fd, 1) == 0);
	assert(getsockname(p->listen_fd, (struct sockaddr *)&a, &len) == 0);
	p->port = ntohs(a.sin_port);
	assert(pthread_create(&p->thread, NULL, pump_run, p) == 0);
}

static void pump_join(struct pump *p)
{
	pthread_join(p->thread, NULL);
	close(p->listen_fd);
}

static void setup_some(struct end *e)
{
	e->tx_left = 100000;
	e->close_when_done = true;
	e->no_check = true;
}

static void through(struct pump p, const char *suite, int want_err, bool all)
{
	struct rig *r = rig_new("main");
	struct end *c;

	r->setup = setup_some;
	only(r, suite);
	pump_start(&p, r->port);
	c = watched = dial(r, p.port, "main.test");
	c->tx_left = 10;
	(void)rig_run(r, both_closed);
	check_eq(c->end_err, want_err);
	check(!c->bad_pattern);
	check(all ? c->rx_at == 100000 : c->rx_at < 100000);
	rig_free(r, c);
	pump_join(&p);
}

TEST(stream_a_byte_at_a_time)
{
	through((struct pump){ .piece = 1, .cut = -1, .flip = -1 }, "TLS13-AES128-GCM-SHA256",
		ERR_EOF, true);
	through((struct pump){ .piece = 1, .cut = -1, .flip = -1 }, "ECDHE-ECDSA-AES128-GCM-SHA256",
		ERR_EOF, true);
}

TEST(stream_truncation_is_noticed)
{
	through((struct pump){ .piece = 4096, .cut = 50000, .flip = -1 }, "TLS13-AES128-GCM-SHA256",
		ERR_TLS_TRUNCATED, false);
	through((struct pump){ .piece = 4096, .cut = 50000, .flip = -1 },
		"ECDHE-ECDSA-AES128-GCM-SHA256", ERR_TLS_TRUNCATED, false);
	through((struct pump){ .piece = 1, .cut = 300, .flip = -1 }, "TLS13-AES128-GCM-SHA256",
		ERR_TLS_HANDSHAKE, false);
}

TEST(stream_forged_records_are_refused)
{
	through((struct pump){ .piece = 4096, .cut = -1, .flip = 50000 }, "TLS13-AES128-GCM-SHA256",
		ERR_TLS_RECORD, false);
	through((struct pump){ .piece = 4096, .cut = -1, .flip = 50000 },
		"ECDHE-ECDSA-CHACHA20-POLY1305", ERR_TLS_RECORD, false);
}

/* ---- closing ---- */

static void setup_abort(struct end *e)
{
	e->tx_left = 30000;
	e->abort_when_sent = true;
}

TEST(stream_aborted_body_ends_by_fin_without_close_notify)
{
	struct rig *r = rig_new("main");
	struct end *c;

	r->setup = setup_abort;
	c = watched = dial(r, r->port, "main.test");
	(void)rig_run(r, both_closed);
	check_eq(c->rx_at, 30000);
	check_eq(c->end_err, ERR_TLS_TRUNCATED);
	rig_free(r, c);
}

/* The server closes while the client's bytes are unread: no reset may destroy the answer. */
static void setup_answer(struct end *e)
{
	e->hold = true;
	e->tx_left = 20000;
	e->close_when_done = true;
}

TEST(stream_close_drains_so_that_no_reset_is_sent)
{
	struct rig *r = rig_new("main");
	struct end *c;

	r->setup = setup_answer;
	c = watched = dial(r, r->port, "main.test");
	c->tx_left = 60000;
	(void)rig_run(r, both_closed);
	check_eq(c->rx_at, 20000);
	check_eq(c->end_err, ERR_EOF);
	rig_free(r, c);
}

static bool closed_in_two_steps(struct rig *r)
{
	struct stream *s = r->accepted_count ? &r->accepted[0]->s : NULL;

	if (s && s->state == STREAM_OPEN && s->rest)
		stream_close(s, true); /* has something to flush, and nobody takes it */
	else if (s && s->state == STREAM_CLOSING && !s->abort)
		stream_close(s, false);
	return s && stream_is_closed(s);
}

TEST(stream_close_ends_when_the_peer_reads_nothing)
{
	struct rig *r = rig_new(NULL);
	int fd;

	r->setup = setup_bulk;
	fd = tcp_connect(r->port);
	(void)rig_run(r, closed_in_two_steps);
	close(fd);
	rig_free(r, NULL);
}

TEST(stream_errors_of_connecting)
{
	struct rig *r = rig_new("main");
	struct end *c = watched = dial(r, 1, "main.test");

	(void)rig_run(r, client_closed);
	check_eq(c->end_err, -ECONNREFUSED);
	rig_free(r, c);
	r = rig_new("main");
	c = dial(r, r->port, "other.test");
	watched = c;
	(void)rig_run(r, both_closed);
	check_eq(c->end_err, ERR_TLS_CERT);
	check_eq(stat_get(&r->stats, STAT_HANDSHAKES_FAILED), 1);
	check_eq(stat_get(&r->stats, STAT_HANDSHAKES), 0);
	rig_free(r, c);
}

static bool one_closed(struct rig *r)
{
	return r->accepted_count == 1 && stream_is_closed(&r->accepted[0]->s);
}

TEST(stream_not_tls_is_refused_at_once)
{
	struct rig *r = rig_new("main");
	int fd = tcp_connect(r->port);

	check_eq(send(fd, "GET / HTTP/1.1\r\n", 16, 0), 16);
	(void)rig_run(r, one_closed);
	check_eq(r->accepted[0]->end_err, ERR_TLS_HELLO);
	check_eq(stat_get(&r->stats, STAT_HANDSHAKES_FAILED), 1);
	close(fd);
	rig_free(r, NULL);
	r = rig_new("main");
	close(tcp_connect(r->port));
	(void)rig_run(r, one_closed);
	check_eq(r->accepted[0]->end_err, ERR_EOF);
	check_eq(stat_get(&r->stats, STAT_HANDSHAKES_FAILED), 0);
	rig_free(r, NULL);
}

/* ---- files ---- */

static struct {
	int fd;
	uint64_t at;
} file;

static void file_run(struct task *t)
{
	struct end *e = container_of(t, struct end, task);
	int n = 1;

	if (e->s.state != STREAM_OPEN)
		return;
	check(stream_takes_files(&e->s));
	while (n > 0 && file.at < BULK) {
		n = stream_send_file(&e->s, file.fd, file.at, (size_t)(BULK - file.at));
		check(n >= 0);
		file.at += (uint64_t)(n > 0 ? n : 0);
	}
	if (file.at == BULK)
		stream_close(&e->s, true);
}

static void setup_file(struct end *e)
{
	e->task.run = file_run;
}

TEST(stream_sends_files_on_plain_sockets)
{
	struct rig *r = rig_new(NULL);
	char *mem = malloc(BULK);
	struct end *c;

	assert(mem != NULL);
	for (size_t i = 0; i < BULK; i++)
		mem[i] = pattern(i);
	file.fd = open(certs_path("bulk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	file.at = 0;
	check_eq(write(file.fd, mem, BULK), BULK);
	free(mem);
	r->setup = setup_file;
	c = watched = dial(r, r->port, "");
	(void)rig_run(r, both_closed);
	check_eq(c->rx_at, BULK);
	check(!c->bad_pattern);
	check_eq(c->end_err, ERR_EOF);
	rig_free(r, c);
	close(file.fd);
}

/* ---- listener ---- */

static bool accepted_all(struct rig *r)
{
	return r->accepted_count == 3;
}

TEST(listen_waits_when_descriptors_run_out)
{
	struct rig *r = rig_new(NULL);
	struct rlimit was, low;
	int fds[3];

	check_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	for (unsigned i = 0; i < 3; i++)
		fds[i] = tcp_connect(r->port);
	low = was;
	low.rlim_cur = (rlim_t)fds[2] + 1;
	check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	(void)rig_run(r, nothing_for_a_while);
	check_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
	check_eq(r->accepted_count, 0);
	(void)rig_run(r, accepted_all);
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
	rig_free(r, NULL);
}

/* ---- the openssl command ---- */

static void child_start(struct rig *r, const char *cmd)
{
	pid_t pid = fork();

	assert(pid >= 0);
	if (pid == 0) {
		setpgid(0, 0);
		if (chdir(certs_dir) == 0)
			execl("/bin/sh", "sh", "-c", cmd, (char *)NULL);
		_exit(127);
	}
	setpgid(pid, pid);
	r->child = pid;
}

static bool child_gone(struct rig *r)
{
	return r->child == 0;
}

static void file_text(const char *name, char *text, size_t len)
{
	FILE *f = fopen(certs_path(name), "r");
	size_t n = f ? fread(text, 1, len - 1, f) : 0;

	text[n] = '\0';
	if (f)
		fclose(f);
}

static void setup_echo(struct end *e)
{
	e->echo = true;
}

/* s_client's standard input is <input>; what it prints must hold each of <want>. */
static void s_client(struct rig *r, const char *options, const char *input, const char *const *want)
{
	static char cmd[1024], text[65536];

	snprintf(
		cmd, sizeof(cmd),
		"{ %s ; } | timeout 15 openssl s_client -connect 127.0.0.1:%u -servername main.test "
		"-CAfile ca.pem -verify_return_error %s >out 2>&1",
		input, r->port, options);
	child_start(r, cmd);
	(void)rig_run(r, child_gone);
	file_text("out", text, sizeof(text));
	for (; *want; want++)
		if (!check(strstr(text, *want) != NULL))
			printf("# no \"%s\" from: %s\n", *want, cmd);
}

static void s_client_once(const char *options, const char *input, const char *const *want)
{
	struct rig *r = rig_new("main");

	r->setup = setup_echo;
	s_client(r, options, input, want);
	check_eq(stat_get(&r->stats, STAT_HANDSHAKES), 1);
	rig_free(r, NULL);
}

TEST(openssl_client_of_our_server)
{
	static const char *const options[] = {
		"-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256",
		"-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384",
		"-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256",
		"-tls1_3 -groups P-256",
		"-tls1_3 -groups P-384:P-256",
		"-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
		"-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384",
		"-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305",
		"-alpn h2,http/1.1",
		"-record_padding 512",
		"-split_send_frag 512 -max_send_frag 512",
	};
	static const char *const want[] = { "hello one", "hello two", "Verify return code: 0",
					    NULL };

	for (unsigned i = 0; i < countof(options); i++)
		s_client_once(options[i], "echo hello one; sleep 0.2; echo hello two; sleep 0.3",
			      want);
}

TEST(openssl_client_updates_keys)
{
	static const char *const want[] = { "hello one",  "hello two", "hello three",
					    "hello four", "KEYUPDATE", NULL };

	s_client_once("-tls1_3",
		      "echo hello one; sleep 0.2; echo K; sleep 0.2; echo hello two; sleep 0.2; "
		      "echo k; sleep 0.2; echo hello three; sleep 0.2; echo K; echo k; sleep 0.2; "
		      "echo hello four; sleep 0.4",
		      want);
}

TEST(openssl_client_renegotiation_is_refused)
{
	struct rig *r = rig_new("main");
	static const char *const want[] = { "hello one", NULL };

	r->setup = setup_echo;
	s_client(r, "-tls1_2 -legacy_renegotiation",
		 "echo hello one; sleep 0.2; echo R; sleep 0.3; echo after; sleep 0.2", want);
	require(r->accepted_count == 1);
	check_eq(r->accepted[0]->end_err, ERR_TLS_RECORD);
	rig_free(r, NULL);
}

static void resumption(const char *version)
{
	static const char *const first[] = { "hello one", "New, TLSv1", NULL };
	static const char *const second[] = { "hello two", "Reused, TLSv1", NULL };
	struct rig *a = rig_new("main"), *b = rig_new("main"), *c = rig_new("main");
	char options[128];

	/* b is another loop with the same certificates; c has certificates of its own. */
	tls_server_unref(b->ts);
	b->ts = tls_server_ref(a->ts);
	a->setup = b->setup = c->setup = setup_echo;
	snprintf(options, sizeof(options), "%s -sess_out ticket", version);
	s_client(a, options, "echo hello one; sleep 0.5", first);
	snprintf(options, sizeof(options), "%s -sess_in ticket", version);
	s_client(b, options, "echo hello two; sleep 0.5", second);
	check_eq(stat_get(&b->stats, STAT_HANDSHAKES_RESUMED), 1);
	require(b->accepted_count == 1);
	check(b->accepted[0]->s.resumed);
	s_client(c, options, "echo hello one; sleep 0.5", first);
	check_eq(stat_get(&c->stats, STAT_HANDSHAKES_RESUMED), 0);
	check_eq(stat_get(&c->stats, STAT_HANDSHAKES), 1);
	rig_free(a, NULL);
	rig_free(b, NULL);
	rig_free(c, NULL);
}

TEST(openssl_client_resumes_on_another_loop)
{
	resumption("-tls1_3");
	resumption("-tls1_2");
}

static uint16_t free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(bind(fd, (struct sockaddr *)&a, len) == 0);
	assert(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	close(fd);
	return ntohs(a.sin_port);
}

static bool is_up(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	for (unsigned i = 0; i < 200; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int r;

		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		r = connect(fd, (struct sockaddr *)&a, sizeof(a));
		close(fd);
		if (r == 0)
			return true;
		usleep(20000);
	}
	return false;
}

static void request_run(struct task *t)
{
	struct end *e = container_of(t, struct end, task);

	if (stream_is_open(&e->s) && e->tx_at == 0) {
		int n = stream_send(&e->s, SLICE("GET /bulk HTTP/1.0\r\n\r\n"), false);

		check(n > 0);
		e->tx_at += (uint64_t)n;
	}
	e->tx_left = 0;
	end_run(t);
}

/* s_server with <options> serves <certs_dir>/bulk; the client gets it whole. */
static void s_server(const char *options, const char *text)
{
	struct rig *r = rig_new("main");
	uint16_t port = free_port();
	char cmd[512];
	struct end *c;

	snprintf(
		cmd, sizeof(cmd),
		"exec timeout 20 openssl s_server -accept %u -cert main.pem -key main.key -WWW -quiet "
		"%s >out 2>&1",
		port, options);
	child_start(r, cmd);
	require(is_up(port));
	c = watched = dial(r, port, "127.0.0.1");
	c->task.run = request_run;
	c->no_check = true;
	(void)rig_run(r, client_closed);
	check_str(c->s.tls_text, text);
	check(strstr(c->text, "200") != NULL);
	check(c->rx_at > BULK);
	if (!check_eq(c->end_err, ERR_EOF))
		printf("# %s\n", cmd);
	rig_free(r, c);
}

TEST(openssl_server_of_our_client)
{
	certs_make();
	certs_run("head -c %d /dev/zero >bulk", BULK);
	s_server("-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256", "TLSv1.3/AES_128_GCM");
	s_server("-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384", "TLSv1.3/AES_256_GCM");
	s_server("-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256 -num_tickets 8",
		 "TLSv1.3/CHACHA20_POLY1305");
	s_server("-tls1_3 -groups P-256 -ciphersuites TLS_AES_128_GCM_SHA256",
		 "TLSv1.3/AES_128_GCM");
	s_server("-tls1_3 -record_padding 4096 -ciphersuites TLS_AES_128_GCM_SHA256",
		 "TLSv1.3/AES_128_GCM");
	s_server("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2/AES_128_GCM");
	s_server("-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2/AES_256_GCM");
	s_server("-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2/CHACHA20_POLY1305");
}

static void greet_run(struct task *t)
{
	struct end *e = container_of(t, struct end, task);

	if (stream_is_open(&e->s) && e->s.key_updates > e->tx_at) {
		/* An answer after each, so that the key that was asked for is seen to be used. */
		int n = stream_send(&e->s, SLICE("answer\n"), false);

		e->tx_at += n > 0;
	}
	end_run(t);
}

TEST(openssl_server_updates_keys)
{
	struct rig *r = rig_new("main");
	uint16_t port = free_port();
	static char cmd[1024], text[65536];
	struct end *c;

	snprintf(
		cmd, sizeof(cmd),
		"{ sleep 1; echo hello one; sleep 0.2; echo K; sleep 0.2; echo hello two; sleep 0.2; "
		"echo k; sleep 0.2; echo hello three; sleep 0.3; echo Q; } | timeout 15 openssl "
		"s_server -accept %u -cert main.pem -key main.key -tls1_3 -naccept 2 >out 2>&1",
		port);
	child_start(r, cmd);
	require(is_up(port));
	c = watched = dial(r, port, "127.0.0.1");
	c->task.run = greet_run;
	c->no_check = true;
	(void)rig_run(r, client_closed);
	check(strstr(c->text, "hello one\nhello two\nhello three\n") != NULL);
	check_eq(c->s.key_updates, 2);
	file_text("out", text, sizeof(text));
	check(strstr(text, "answer\nanswer\n") != NULL || strstr(text, "answer") != NULL);
	rig_free(r, c);
}
