/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A netlink socket: one request at a time, its answers by a callback.  Blocks; not for servers. */
#pragma once

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

enum {
	NETLINK_ANSWER_MAX = 64 * 1024, /* of one read; the kernel sends 32 KB at most */
	NETLINK_PARTS_MAX = 100000,     /* messages of one answer */
	NETLINK_WAIT_S = 10,
};

struct netlink {
	int fd;
	uint32_t seq;
	char answer[NETLINK_ANSWER_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
};

/* A request: a header, a fixed part, attributes. */
struct netlink_request {
	struct nlmsghdr head;
	char body[480];
};

/* NETLINK_ROUTE, NETLINK_SOCK_DIAG; NULL: errno says why. */
struct netlink *netlink_open(int family) must_check;
void netlink_close(struct netlink *n);

/* <fixed> is what follows the header. */
void netlink_begin(struct netlink_request *r, uint16_t type, uint16_t flags, const void *fixed,
		   size_t bytes);
void netlink_attr(struct netlink_request *r, uint16_t type, const void *data, size_t bytes);

/*
 * Sends it and hands over each message of the answer: of a dump all, else until the
 * acknowledgement.  0 or -errno.
 */
typedef void netlink_take(void *arg, struct nlmsghdr *h);
int netlink_ask(struct netlink *n, struct netlink_request *r, netlink_take *take,
		void *arg) must_check;

/* The attribute of that type among <bytes> at <first>, its payload and size; NULL: not there. */
void *netlink_find(void *first, size_t bytes, uint16_t type, size_t *len);
/* Those behind the fixed part of <fixed> bytes of a message. */
void *netlink_attrs(struct nlmsghdr *h, size_t fixed, size_t *bytes);
/* A text attribute, cut to fit; "" if it is not there. */
void netlink_text(struct nlmsghdr *h, size_t fixed, uint16_t type, char *out, size_t room);
