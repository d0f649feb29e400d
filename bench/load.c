/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * load: a bulk reader and handshake maker for benchmarks.  HTTP/1.1 only; bodies are counted and
 * thrown away (over plain TCP by MSG_TRUNC, without being copied).  One thread for each connection.
 *
 *   load [-t] [-c N] [-n N] [-d S] [-N | -R] [-r BYTES -z SIZE] [-s SUITES] [-w MS]
 *        [-i] HOST NAME PORT FILE
 *
 *   FILE    targets, one a line; request i takes line i modulo their number
 *   -t      TLS 1.3 (suites -s), server name NAME, which is the Host, too; nothing is verified
 *   -c -n   connections; requests of all of them together      -d  or for S seconds
 *   -N -R   a new connection for each request; -R: resumed by the last ticket of its thread
 *   -r -z   Range of BYTES at a random offset in a body of SIZE bytes
 *   -w      pause of MS after each answer
 *   -i      opens the connections, makes one request on each, prints "ready" and holds them until
 *           its standard input ends
 *
 * Prints one JSON object: requests, bytes of bodies, errors, resumed, seconds, latency in us.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { CONNS_MAX = 20000, TARGETS_MAX = 100000, SLOTS = 512, BUF_BYTES = 64 << 10 };

static struct {
	struct sockaddr_in to;
	const char *name, *suites;
	char **targets;
	long target_count, conns, requests, seconds, range, size, pause_ms;
	bool tls, fresh, resume, idle;
	SSL_CTX *ctx;
	uint64_t end_ns;
} opt = { .conns = 1, .requests = 1, .suites = "TLS_AES_128_GCM_SHA256" };

static atomic_long next_request, done, bytes, errors, resumed;
static atomic_long slots[SLOTS]; /* of latency: 32 for each doubling of 1 us */

struct conn {
	int fd;
	SSL *ssl;
	SSL_SESSION *session;
	unsigned seed;
	char buf[BUF_BYTES];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static unsigned slot_of(uint64_t us)
{
	unsigned doubling = 0;
	uint64_t v = us;

	if (us < 32)
		return (unsigned)us;
	while (v >= 64) {
		v /= 2;
		doubling++;
	}
	doubling = doubling * 32 + (unsigned)v;
	return doubling < SLOTS ? doubling : SLOTS - 1;
}

/* The least of a slot. */
static uint64_t slot_us(unsigned slot)
{
	return slot < 64 ? slot : (uint64_t)(32 + slot % 32) << (slot / 32 - 1);
}

static uint64_t latency_us(double share)
{
	long want = (long)(share * (double)done), seen = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		seen += slots[i];
		if (seen > want)
			return slot_us(i);
	}
	return slot_us(SLOTS - 1);
}

static int new_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct conn *c = SSL_get_app_data(ssl);

	SSL_SESSION_free(c->session);
	c->session = session;
	return 1;
}

static void hang_up(struct conn *c)
{
	if (c->ssl) {
		SSL_set_quiet_shutdown(c->ssl, 1);
		SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	if (c->fd >= 0)
		close(c->fd);
	c->ssl = NULL;
	c->fd = -1;
}

static bool dial(struct conn *c)
{
	struct timeval limit = { 60, 0 };
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&opt.to, sizeof(opt.to)) < 0)
		return false;
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!opt.tls)
		return true;
	c->ssl = SSL_new(opt.ctx);
	if (!c->ssl)
		return false;
	SSL_set_app_data(c->ssl, c);
	SSL_set_tlsext_host_name(c->ssl, opt.name);
	SSL_set_fd(c->ssl, c->fd);
	if (opt.resume && c->session)
		SSL_set_session(c->ssl, c->session);
	if (SSL_connect(c->ssl) != 1)
		return false;
	resumed += SSL_session_reused(c->ssl);
	return true;
}

static ssize_t take(struct conn *c, size_t at, size_t room, bool discard)
{
	if (c->ssl)
		return SSL_read(c->ssl, c->buf + at, (int)room);
	return recv(c->fd, c->buf + at, room, discard ? MSG_TRUNC : 0);
}

static bool give(struct conn *c, const char *text, size_t len)
{
	if (c->ssl)
		return SSL_write(c->ssl, text, (int)len) == (int)len;
	return send(c->fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool ask(struct conn *c, long n)
{
	char text[4096], range[96] = "";
	int len;

	if (opt.range) {
		long from = (long)((double)rand_r(&c->seed) / RAND_MAX *
				   (double)(opt.size - opt.range));

		snprintf(range, sizeof(range), "Range: bytes=%ld-%ld\r\n", from,
			 from + opt.range - 1);
	}
	len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n%s\r\n",
		       opt.targets[n % opt.target_count], opt.name, range);
	return len > 0 && len < (int)sizeof(text) && give(c, text, (size_t)len);
}

/* Reads one answer with a Content-Length; the status has to be 200 or 206. */
static bool read_answer(struct conn *c)
{
	size_t have = 0;
	char *end = NULL, *at;
	long left;

	while (!end) {
		ssize_t n = take(c, have, sizeof(c->buf) - 1 - have, false);

		if (n <= 0)
			return false;
		have += (size_t)n;
		c->buf[have] = '\0';
		end = strstr(c->buf, "\r\n\r\n");
	}
	at = strcasestr(c->buf, "\r\ncontent-length:");
	if (strncmp(c->buf, "HTTP/1.1 20", 11) != 0 || !at || at > end)
		return false;
	left = strtol(at + 17, NULL, 10);
	bytes += left;
	left -= (long)(have - (size_t)(end + 4 - c->buf));
	while (left > 0) {
		ssize_t n = take(c, 0, left < BUF_BYTES ? (size_t)left : BUF_BYTES, true);

		if (n <= 0)
			return false;
		left -= n;
	}
	return left == 0;
}

static bool more(long *n)
{
	*n = next_request++;
	return opt.seconds ? now_ns() < opt.end_ns : *n < opt.requests;
}

static void *run(void *arg)
{
	struct conn *c = arg;
	long n;

	while (more(&n)) {
		uint64_t begin = now_ns();
		bool ok = (c->fd >= 0 || dial(c)) && ask(c, n) && read_answer(c);

		if (ok) {
			slots[slot_of((now_ns() - begin) / 1000)]++;
			done++;
		} else {
			errors++;
		}
		if (!ok || opt.fresh)
			hang_up(c);
		if (errors > 100)
			break;
		if (opt.pause_ms)
			poll(NULL, 0, (int)opt.pause_ms);
	}
	hang_up(c);
	SSL_SESSION_free(c->session);
	free(c);
	return NULL;
}

static struct conn *new_conn(long n)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->fd = -1;
	c->seed = (unsigned)n + 1;
	return c;
}

/* One thread is enough: they come one after the other.  Buffers are not kept. */
static void hold(void)
{
	struct conn *c = new_conn(0);
	char end;

	for (long n = 0; n < opt.conns; n++) {
		if (dial(c) && ask(c, n) && read_answer(c))
			done++;
		else
			errors++;
		c->fd = -1; /* the socket and its SSL object stay until the process ends */
		c->ssl = NULL;
	}
	printf("ready\n");
	fflush(stdout);
	while (read(0, &end, 1) > 0)
		;
	free(c);
}

static void crowd(void)
{
	pthread_t *threads = calloc((size_t)opt.conns, sizeof(*threads));
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (long n = 0; n < opt.conns; n++)
		if (!threads || pthread_create(&threads[n], &attr, run, new_conn(n)))
			abort();
	for (long n = 0; n < opt.conns; n++)
		pthread_join(threads[n], NULL);
	free(threads);
}

static void read_targets(const char *path)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	opt.targets = calloc(TARGETS_MAX, sizeof(*opt.targets));
	while (f && opt.targets && opt.target_count < TARGETS_MAX &&
	       (n = getline(&line, &room, f)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		opt.targets[opt.target_count++] = strdup(line);
	}
	free(line);
	if (!opt.target_count) {
		fprintf(stderr, "load: %s: no targets\n", path);
		exit(2);
	}
	fclose(f);
}

static void set_up_tls(void)
{
	opt.ctx = SSL_CTX_new(TLS_client_method());
	if (!opt.ctx || !SSL_CTX_set_min_proto_version(opt.ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(opt.ctx, opt.suites) ||
	    !SSL_CTX_set1_groups_list(opt.ctx, "X25519:P-256")) {
		fprintf(stderr, "load: %s: TLS cannot be set up\n", opt.suites);
		exit(2);
	}
	SSL_CTX_set_session_cache_mode(opt.ctx, opt.resume ? SSL_SESS_CACHE_CLIENT |
								     SSL_SESS_CACHE_NO_INTERNAL
							   : SSL_SESS_CACHE_OFF);
	SSL_CTX_sess_set_new_cb(opt.ctx, new_ticket);
	SSL_CTX_set_options(opt.ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(opt.ctx, SSL_MODE_RELEASE_BUFFERS);
}

static void read_options(int argc, char **argv)
{
	int key;

	while ((key = getopt(argc, argv, "tc:n:d:NRr:z:s:w:i")) != -1)
		switch (key) {
		case 't': opt.tls = true; break;
		case 'c': opt.conns = strtol(optarg, NULL, 10); break;
		case 'n': opt.requests = strtol(optarg, NULL, 10); break;
		case 'd': opt.seconds = strtol(optarg, NULL, 10); break;
		case 'R': opt.resume = true; /* fall through */
		case 'N': opt.fresh = true; break;
		case 'r': opt.range = strtol(optarg, NULL, 10); break;
		case 'z': opt.size = strtol(optarg, NULL, 10); break;
		case 's': opt.suites = optarg; break;
		case 'w': opt.pause_ms = strtol(optarg, NULL, 10); break;
		case 'i': opt.idle = true; break;
		default: exit(2);
		}
	opt.to.sin_family = AF_INET;
	if (argc - optind != 4 || inet_pton(AF_INET, argv[optind], &opt.to.sin_addr) != 1 ||
	    opt.conns < 1 || opt.conns > CONNS_MAX || opt.range > opt.size) {
		fprintf(stderr,
			"load: wrong arguments; the head of bench/load.c says which there are\n");
		exit(2);
	}
	opt.name = argv[optind + 1];
	opt.to.sin_port = htons((uint16_t)strtol(argv[optind + 2], NULL, 10));
	read_targets(argv[optind + 3]);
}

int main(int argc, char **argv)
{
	uint64_t begin;

	read_options(argc, argv);
	if (opt.tls)
		set_up_tls();
	begin = now_ns();
	opt.end_ns = begin + (uint64_t)opt.seconds * 1000000000;
	if (opt.idle)
		hold();
	else
		crowd();
	printf("{\"requests\": %ld, \"bytes\": %ld, \"errors\": %ld, \"resumed\": %ld, "
	       "\"seconds\": %.6f, \"p50\": %lu, \"p99\": %lu, \"p999\": %lu}\n",
	       done, bytes, errors, resumed, (double)(now_ns() - begin) / 1e9, latency_us(0.5),
	       latency_us(0.99), latency_us(0.999));
	return errors ? 1 : 0;
}
