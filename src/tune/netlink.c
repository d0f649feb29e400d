/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/netlink.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct netlink *netlink_open(int family)
{
	const struct timeval wait = { .tv_sec = NETLINK_WAIT_S };
	struct netlink *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
	if (n->fd < 0) {
		free(n);
		return NULL;
	}
	(void)setsockopt(n->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	return n;
}

void netlink_close(struct netlink *n)
{
	close(n->fd);
	free(n);
}

void netlink_begin(struct netlink_request *r, uint16_t type, uint16_t flags, const void *fixed,
		   size_t bytes)
{
	*r = (struct netlink_request){ 0 };
	assert(bytes <= sizeof(r->body));
	r->head.nlmsg_type = type;
	r->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	r->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(bytes);
	memcpy(r->body, fixed, bytes);
}

void netlink_attr(struct netlink_request *r, uint16_t type, const void *data, size_t bytes)
{
	size_t at = NLMSG_ALIGN(r->head.nlmsg_len);
	struct rtattr a = { (unsigned short)RTA_LENGTH(bytes), type };

	assert(at + RTA_SPACE(bytes) <= sizeof(*r));
	memcpy((char *)r + at, &a, sizeof(a));
	memcpy((char *)r + at + RTA_LENGTH(0), data, bytes);
	r->head.nlmsg_len = (uint32_t)(at + RTA_LENGTH(bytes));
}

/* 1: the last message; 0: more; -errno. */
static int take_one(struct nlmsghdr *h, netlink_take *take, void *arg)
{
	int err = 0;

	switch (h->nlmsg_type) {
	case NLMSG_DONE: return 1;
	case NLMSG_NOOP: return 0;
	case NLMSG_ERROR:
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
			return -EBADMSG;
		memcpy(&err, NLMSG_DATA(h), sizeof(err));
		return err ? err : 1;
	default: break;
	}
	if (take)
		take(arg, h);
	return 0;
}

int netlink_ask(struct netlink *n, struct netlink_request *r, netlink_take *take, void *arg)
{
	const bool dump = (r->head.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	unsigned parts = 0;

	if (!dump)
		r->head.nlmsg_flags |= NLM_F_ACK;
	r->head.nlmsg_seq = ++n->seq;
	if (send(n->fd, r, r->head.nlmsg_len, 0) < 0)
		return -errno;
	while (parts < NETLINK_PARTS_MAX) {
		ssize_t len = recv(n->fd, n->answer, sizeof(n->answer), MSG_TRUNC);
		struct nlmsghdr *h = (void *)n->answer;

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		if (len > (ssize_t)sizeof(n->answer))
			return -EMSGSIZE;
		for (int left = (int)len; NLMSG_OK(h, (unsigned)left); h = NLMSG_NEXT(h, left)) {
			int got = h->nlmsg_seq == n->seq ? take_one(h, take, arg) : 0;

			if (got != 0)
				return got < 0 ? got : 0;
			parts++;
		}
	}
	return -EOVERFLOW;
}

void *netlink_find(void *first, size_t bytes, uint16_t type, size_t *len)
{
	struct rtattr *a = first;

	for (int left = (int)bytes; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == type) {
			*len = RTA_PAYLOAD(a);
			return RTA_DATA(a);
		}
	return NULL;
}

void *netlink_attrs(struct nlmsghdr *h, size_t fixed, size_t *bytes)
{
	size_t from = NLMSG_ALIGN(NLMSG_LENGTH(fixed));

	*bytes = h->nlmsg_len > from ? h->nlmsg_len - from : 0;
	return (char *)h + from;
}

void netlink_text(struct nlmsghdr *h, size_t fixed, uint16_t type, char *out, size_t room)
{
	size_t bytes, len = 0;
	void *first = netlink_attrs(h, fixed, &bytes);
	const char *text = netlink_find(first, bytes, type, &len);

	len = text ? strnlen(text, len < room - 1 ? len : room - 1) : 0;
	if (len)
		memcpy(out, text, len);
	out[len] = '\0';
}
