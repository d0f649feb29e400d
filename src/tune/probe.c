/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "tune/report.h"
#include "tune/tcpinfo.h"

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 0: it may be written to; -ETIMEDOUT; or -errno. */
static int wait_writable(int fd, int64_t until_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int64_t left = until_ms - now_ms();
	int n = left > 0 ? poll(&p, 1, (int)left) : 0;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

static int open_with(const struct addrinfo *to, const char *cc)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err = fd < 0 ? -errno : tcpinfo_set_cc(fd, cc), late = 0;
	socklen_t len = sizeof(late);

	if (err == 0 && connect(fd, to->ai_addr, to->ai_addrlen) < 0 && errno != EINPROGRESS)
		err = -errno;
	if (err == 0)
		err = wait_writable(fd, now_ms() + PROBE_CONNECT_MS);
	if (err == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &late, &len) == 0)
		err = -late;
	if (err < 0 && fd >= 0)
		close(fd);
	return err < 0 ? err : fd;
}

/* 0: all was sent; else why it ended early. */
static int send_zeros(int fd, uint64_t bytes, int64_t until_ms)
{
	static const char zeros[64 * 1024];

	while (bytes) {
		size_t piece = bytes < sizeof(zeros) ? (size_t)bytes : sizeof(zeros);
		ssize_t n = send(fd, zeros, piece, MSG_NOSIGNAL);
		int err = n >= 0 ? 0 : errno == EAGAIN ? wait_writable(fd, until_ms) : -errno;

		if (err < 0)
			return err;
		bytes -= n > 0 ? (uint64_t)n : 0;
		if (now_ms() >= until_ms)
			return -ETIMEDOUT;
	}
	return 0;
}

/* Until what was sent is acknowledged, so that the figures are of all of it. */
static int wait_acked(int fd, uint64_t bytes, int64_t until_ms, struct tcpinfo *t)
{
	int err;

	while ((err = tcpinfo_get(fd, t)) == 0 && t->acked_bytes < bytes && now_ms() < until_ms)
		if (poll(NULL, 0, 10) < 0 && errno != EINTR)
			return -errno;
	return err;
}

static bool probe_one(const struct addrinfo *to, const char *cc, uint64_t bytes)
{
	int fd = open_with(to, cc), early, err;
	int64_t until_ms = now_ms() + PROBE_SEND_MS;
	struct tcpinfo t;

	if (fd < 0) {
		printf("%-8s %s\n", cc, err_text(fd));
		return false;
	}
	early = send_zeros(fd, bytes, until_ms);
	/* A peer that has closed acknowledges no more; the figures are what there is. */
	err = wait_acked(fd, early ? 0 : bytes, until_ms, &t);
	close(fd);
	if (err < 0) {
		printf("%-8s %s\n", cc, err_text(err));
		return false;
	}
	tcpinfo_print(stdout, &t);
	if (early)
		printf("%-8s ended early: %s\n", "", err_text(early));
	return true;
}

/* "host:port", "[::1]:port". */
static bool split(const char *target, char *host, size_t room, const char **port)
{
	const char *colon = strrchr(target, ':'), *from = target;
	size_t len = colon ? (size_t)(colon - target) : 0;

	if (len > 2 && from[0] == '[' && from[len - 1] == ']') {
		from++;
		len -= 2;
	}
	if (!len || len >= room || !colon[1])
		return false;
	memcpy(host, from, len);
	host[len] = '\0';
	*port = colon + 1;
	return true;
}

int probe_run(const struct tune_options *o, const char *target)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	char list[HOST_VALUE_MAX], host[256], *save = NULL;
	const char *port = "";
	struct addrinfo *to;
	unsigned good = 0, tried = 0;
	int err;

	if (!split(target, host, sizeof(host), &port)) {
		report_fail("probe %s: HOST:PORT, as far.example.com:9000", target);
		return EXIT_USAGE;
	}
	err = getaddrinfo(host, port, &hints, &to);
	if (err)
		return report_fail("probe %s: %s", target, gai_strerror(err));
	err = hostfs_read("", "/proc/sys/net/ipv4/tcp_available_congestion_control", list);
	if (err < 0)
		snprintf(list, sizeof(list), "cubic");
	printf("%s, %ju bytes with each\n", target, (uintmax_t)o->bytes);
	tcpinfo_head(stdout);
	for (char *cc = strtok_r(list, " ", &save); cc && tried < PROBE_CCS_MAX;
	     cc = strtok_r(NULL, " ", &save), tried++) {
		good += probe_one(to, cc, o->bytes);
		fflush(stdout);
	}
	freeaddrinfo(to);
	return good ? EXIT_DONE : EXIT_FAILED;
}
