/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Streams over loopback on a real loop: our server against our client, also through a pump that
 * dribbles, cuts and forges.  net_openssl_test.c has each against the openssl command.
 */
#include "net_rig.h"

#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>

#include "net/stream_private.h"
#include "net_suite.h"

/* ---- ours against ours ---- */

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
	       stream_is_open(&r->accepted[0]->s) && aead_key_is_set(&r->accepted[0]->s.rx.key);
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
