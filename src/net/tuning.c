/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/tuning.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

static bool set_number(int fd, int level, int name, unsigned *value)
{
	int n = (int)*value;

	assert(*value <= INT_MAX);
	if (n == 0 || setsockopt(fd, level, name, &n, sizeof(n)) == 0)
		return true;
	*value = 0;
	return false;
}

static bool set_congestion(int fd, struct tuning *t)
{
	if (!t->congestion || setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, t->congestion,
					 (socklen_t)strlen(t->congestion)) == 0)
		return true;
	t->congestion = NULL;
	return false;
}

static bool set_pacing(int fd, struct tuning *t)
{
	if (!t->pacing_bytes || setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &t->pacing_bytes,
					   sizeof(t->pacing_bytes)) == 0)
		return true;
	t->pacing_bytes = 0;
	return false;
}

const char *tuning_set(int fd, struct tuning *t, int *err)
{
	const char *refused = NULL;

	if (!set_congestion(fd, t))
		refused = "congestion";
	else if (!set_number(fd, SOL_SOCKET, SO_SNDBUF, &t->sndbuf_bytes))
		refused = "sndbuf";
	else if (!set_number(fd, SOL_SOCKET, SO_RCVBUF, &t->rcvbuf_bytes))
		refused = "rcvbuf";
	else if (!set_number(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &t->notsent_bytes))
		refused = "notsent_lowat";
	else if (!set_pacing(fd, t))
		refused = "pacing_max";
	else if (!set_number(fd, IPPROTO_TCP, TCP_FASTOPEN, &t->fastopen))
		refused = "fastopen";
	*err = refused ? -errno : 0;
	return refused;
}
