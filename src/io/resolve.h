/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Names to addresses by c-ares on the loop; one resolver per worker, with a small cache by TTL.
 * /etc/hosts is honoured; IP literals are answered without asking.
 *
 * While name servers fail, a name's last addresses go on being given for a day (RFC 8767): to the
 * first asker after a short wait, then at once while the servers are asked behind it.  A "no such
 * name" ends that.
 */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

#include "base/list.h"
#include "base/stat.h"
#include "io/loop.h"

struct resolver;

enum addr_family { FAMILY_ANY, FAMILY_V4, FAMILY_V6 };

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
	socklen_t len;
};

enum { RESOLVE_ADDRS_MAX = 16 };

struct resolve_opts {
	/* "1.1.1.1", "127.0.0.1:5353", "[::1]:53"; none: the system's. */
	const char *const *servers;
	unsigned servers_count;
	enum addr_family family;
	unsigned timeout_ms; /* for one name in all, tries included */
	struct stats *stats;
};

/* Lives in its owner; in flight from resolve_start() until done(). */
struct resolve {
	struct resolver *resolver;                /* private */
	struct list node;                         /* private: a name's waiting, or the answered */
	int err;                                  /* private */
	bool busy;                                /* private */
	void (*done)(struct resolve *r, int err); /* 0, ERR_DNS, ERR_DNS_TIMEOUT */
	struct addr addrs[RESOLVE_ADDRS_MAX];     /* port filled in */
	unsigned count;
	uint16_t port;
	char host[256];
};

/* 0 or -errno; -EINVAL: a server is not an address. */
int resolver_new(struct resolver **out, struct loop *l, const struct resolve_opts *opts) must_check;
/*
 * What is in flight is called back with ERR_DNS from here.  Not from inside a done(), and on a loop
 * that goes on until loop_inflight() is 0: polls of sockets end some turns later.
 */
void resolver_free(struct resolver *r);
/* done() is never called before this returns. <host> is copied. */
void resolve_start(struct resolver *r, struct resolve *q, const char *host, uint16_t port);
/* Forget it: done() will not be called. */
void resolve_cancel(struct resolve *q);
