/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/watch.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "tune/netlink.h"
#include "tune/report.h"
#include "tune/tcpinfo.h"

enum { ESTABLISHED = 1, CLOSE_WAIT = 8 }; /* of the kernel's net/tcp_states.h */

struct sockets {
	uint32_t inodes[WATCH_SOCKETS_MAX];
	unsigned count;
	unsigned processes;
	bool refused; /* a process whose descriptors are not ours to see */
	unsigned shown;
};

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* "socket:[12345]" */
static void add_sockets(struct sockets *s, const char *pid)
{
	char path[64], link[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	d = opendir(path);
	s->refused |= !d && errno == EACCES;
	while (d && (e = readdir(d)) && s->count < WATCH_SOCKETS_MAX) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		unsigned inode;

		link[n > 0 ? n : 0] = '\0';
		if (sscanf(link, "socket:[%u]", &inode) == 1)
			s->inodes[s->count++] = inode;
	}
	if (d)
		closedir(d);
}

static void find_sockets(struct sockets *s)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	*s = (struct sockets){ .count = 0 };
	while (d && (e = readdir(d)) && s->processes < WATCH_PROCESSES_MAX) {
		char path[64], name[HOST_VALUE_MAX];

		snprintf(path, sizeof(path), "/proc/%.20s/comm", e->d_name);
		if (e->d_name[0] < '1' || e->d_name[0] > '9' || hostfs_read("", path, name) < 0 ||
		    strcmp(name, "sluice") != 0)
			continue;
		s->processes++;
		add_sockets(s, e->d_name);
	}
	if (d)
		closedir(d);
	qsort(s->inodes, s->count, sizeof(s->inodes[0]), by_number);
}

static void format(int family, const uint32_t ip[4], uint16_t port, char *out, size_t room)
{
	char text[INET6_ADDRSTRLEN] = "?";

	inet_ntop(family, ip, text, sizeof(text));
	snprintf(out, room, family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, ntohs(port));
}

static void take(void *arg, struct nlmsghdr *h)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	struct sockets *s = arg;
	char from[64], to[64];
	struct tcpinfo t = { 0 };
	void *first, *info;
	size_t bytes, len;

	if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) ||
	    !bsearch(&m->idiag_inode, s->inodes, s->count, sizeof(s->inodes[0]), by_number) ||
	    s->shown++ >= WATCH_LINES_MAX)
		return;
	first = netlink_attrs(h, sizeof(*m), &bytes);
	info = netlink_find(first, bytes, INET_DIAG_INFO, &len);
	if (info)
		tcpinfo_take(&t, info, len);
	netlink_text(h, sizeof(*m), INET_DIAG_CONG, t.cc, sizeof(t.cc));
	format(m->idiag_family, m->id.idiag_src, m->id.idiag_sport, from, sizeof(from));
	format(m->idiag_family, m->id.idiag_dst, m->id.idiag_dport, to, sizeof(to));
	printf("%-24s %-24s ", from, to);
	tcpinfo_print(stdout, &t);
}

static int show(struct netlink *n, struct sockets *s)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	int err = 0;

	find_sockets(s);
	printf("%-24s %-24s ", "here", "there");
	tcpinfo_head(stdout);
	for (unsigned i = 0; i < countof(families) && err == 0; i++) {
		struct inet_diag_req_v2 r = {
			.sdiag_family = families[i],
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_ext = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1),
			.idiag_states = 1 << ESTABLISHED | 1 << CLOSE_WAIT,
		};
		struct netlink_request q;

		netlink_begin(&q, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &r, sizeof(r));
		err = netlink_ask(n, &q, take, s);
	}
	if (s->shown > WATCH_LINES_MAX)
		printf("%u more\n", s->shown - WATCH_LINES_MAX);
	printf("%u connections of %u processes%s\n\n", s->shown, s->processes,
	       s->refused ? "; some are another user's: root sees them" : "");
	fflush(stdout);
	return err;
}

int watch_run(const struct tune_options *o)
{
	static struct sockets s;
	struct netlink *n = netlink_open(NETLINK_SOCK_DIAG);
	int err = n ? 0 : -errno;

	for (uint64_t i = 0; err == 0 && (o->count == 0 || i < o->count); i++) {
		if (i)
			(void)poll(NULL, 0, (int)o->interval_ms);
		err = show(n, &s);
	}
	if (n)
		netlink_close(n);
	if (err == 0)
		return EXIT_DONE;
	return report_fail("watch: %s%s", err_text(err),
			   err == -ENOENT ? " (this kernel has no tcp_diag)" : "");
}
