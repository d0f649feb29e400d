/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/tuning.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/listen.h"
#include "test.h"

/* A listening socket with <t>, a client, and what was accepted from it; false: not to be had. */
static bool accepted_with(struct tuning *t, int fds[3])
{
	struct addr at = { .len = sizeof(at.in) };
	int n = 0;

	at.in = (struct sockaddr_in){ .sin_family = AF_INET };
	at.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fds[0] = listen_open(&at, t);
	fds[1] = socket(AF_INET, SOCK_STREAM, 0);
	fds[2] = -1;
	if (fds[0] < 0 || fds[1] < 0 || getsockname(fds[0], &at.sa, &at.len) < 0 ||
	    connect(fds[1], &at.sa, at.len) < 0)
		return false;
	/* The listening socket does not block. */
	while (n++ < 1000 && (fds[2] = accept(fds[0], NULL, NULL)) < 0)
		usleep(1000);
	return fds[2] >= 0;
}

static void close_all(const int fds[3])
{
	for (unsigned i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int number_of(int fd, int level, int name)
{
	int n = -1;
	socklen_t len = sizeof(n);

	return getsockopt(fd, level, name, &n, &len) == 0 ? n : -errno;
}

TEST(what_is_accepted_has_what_the_listening_socket_was_given)
{
	struct tuning t = { .congestion = "reno",
			    .sndbuf_bytes = 65536,
			    .notsent_bytes = 131072,
			    .pacing_bytes = 3000000,
			    .fastopen = 7 };
	uint64_t pace = 0;
	socklen_t len = sizeof(pace);
	char cc[16] = "";
	int fds[3];

	if (check(accepted_with(&t, fds))) {
		check_eq(number_of(fds[0], IPPROTO_TCP, TCP_FASTOPEN), 7);
		check_eq(number_of(fds[2], SOL_SOCKET, SO_SNDBUF), 2 * 65536); /* the kernel's */
		check_eq(number_of(fds[2], IPPROTO_TCP, TCP_NOTSENT_LOWAT), 131072);
		check_eq(getsockopt(fds[2], SOL_SOCKET, SO_MAX_PACING_RATE, &pace, &len), 0);
		check_eq(pace, 3000000);
		len = sizeof(cc) - 1;
		check_eq(getsockopt(fds[2], IPPROTO_TCP, TCP_CONGESTION, cc, &len), 0);
		check_str(cc, "reno");
		/* All of it was taken. */
		check_str(t.congestion, "reno");
		check_eq(t.notsent_bytes, 131072);
	}
	close_all(fds);
}

TEST(nothing_is_set_that_is_not_asked_for)
{
	struct tuning none = { 0 };
	int plain = socket(AF_INET, SOCK_STREAM, 0), fds[3], err;

	check(!tuning_set(plain, &none, &err));
	check_eq(err, 0);
	if (check(accepted_with(&none, fds)))
		check_eq(number_of(fds[2], IPPROTO_TCP, TCP_NOTSENT_LOWAT),
			 number_of(plain, IPPROTO_TCP, TCP_NOTSENT_LOWAT));
	close_all(fds);
	close(plain);
}

/* Refused once, it is not asked for again, and the rest is set. */
TEST(what_is_refused_is_taken_out)
{
	struct tuning t = { .congestion = "nonesuch", .notsent_bytes = 131072 };
	int fd = socket(AF_INET, SOCK_STREAM, 0), err;

	check_str(tuning_set(fd, &t, &err), "congestion");
	check_eq(err, -ENOENT);
	check(!t.congestion);
	check(!tuning_set(fd, &t, &err));
	check_eq(number_of(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 131072);
	close(fd);
}

TEST(a_listening_socket_opens_all_the_same)
{
	struct tuning t = { .congestion = "nonesuch", .sndbuf_bytes = 65536 };
	int fds[3];

	log_set_level(LOG_ERR); /* it warns */
	if (check(accepted_with(&t, fds))) {
		check(!t.congestion);
		check_eq(number_of(fds[2], SOL_SOCKET, SO_SNDBUF), 2 * 65536);
	}
	close_all(fds);
}
