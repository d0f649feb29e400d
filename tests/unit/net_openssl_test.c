/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Our streams against the openssl command, in both roles. */
#include "net_rig.h"

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

/*
 * s_client's standard input is what <input> prints, a shell's command in which "w TEXT" waits until
 * s_client has printed that; what it prints must hold each of <want>.
 */
static void s_client(struct rig *r, const char *options, const char *input, const char *const *want)
{
	static char cmd[1024], text[65536];

	snprintf(cmd, sizeof(cmd),
		 "rm -f out; "
		 "w() { n=0; until grep -q \"$1\" out 2>/dev/null || [ $n -ge 200 ]; "
		 "do sleep 0.05; n=$((n + 1)); done; }; "
		 "{ %s ; } | timeout 15 openssl s_client -connect 127.0.0.1:%u "
		 "-servername main.test "
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
		s_client_once(options[i], "echo hello one; w one; echo hello two; w two", want);
}

TEST(openssl_client_updates_keys)
{
	static const char *const want[] = { "hello one",  "hello two", "hello three",
					    "hello four", "KEYUPDATE", NULL };

	s_client_once("-tls1_3",
		      "echo hello one; w one; echo K; w KEYUPDATE; echo hello two; w two; "
		      "echo k; sleep 0.3; echo hello three; w three; echo K; echo k; sleep 0.3; "
		      "echo hello four; w four",
		      want);
}

TEST(openssl_client_renegotiation_is_refused)
{
	struct rig *r = rig_new("main");
	static const char *const want[] = { "hello one", NULL };

	r->setup = setup_echo;
	s_client(r, "-tls1_2 -legacy_renegotiation",
		 "echo hello one; w one; echo R; w RENEGOTIATING; echo after; sleep 0.3", want);
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
	s_client(a, options, "echo hello one; w one", first);
	snprintf(options, sizeof(options), "%s -sess_in ticket", version);
	s_client(b, options, "echo hello two; w two", second);
	check_eq(stat_get(&b->stats, STAT_HANDSHAKES_RESUMED), 1);
	require(b->accepted_count == 1);
	check(b->accepted[0]->s.resumed);
	s_client(c, options, "echo hello one; w one", first);
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

	snprintf(cmd, sizeof(cmd),
		 "exec timeout 20 openssl s_server -accept %u -cert main.pem -key main.key -WWW "
		 "-quiet "
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

	snprintf(cmd, sizeof(cmd),
		 "{ sleep 1; echo hello one; sleep 0.2; echo K; sleep 0.2; echo hello two; "
		 "sleep 0.2; echo k; sleep 0.2; echo hello three; sleep 0.3; echo Q; } | "
		 "timeout 15 openssl s_server -accept %u -cert main.pem -key main.key -tls1_3 "
		 "-naccept 2 >out 2>&1",
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
	check(strstr(text, "answer") != NULL);
	rig_free(r, c);
}
