/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The listening sockets: one for each address and worker (SO_REUSEPORT).  A reload keeps those of
 * addresses that stay, an upgrade takes over those of the process before it: a socket is never
 * closed and bound again, since closing one resets the connections that wait in it.
 *
 * The workers own the descriptors once they have them; here is who has which.
 */
#pragma once

#include "config/config.h"
#include "net/tuning.h"
#include "proxy/proxy.h"

struct listen_row {
	struct conf_addr at;
	enum listener_kind kind;
};

/* Zeroed: none. */
struct listens {
	unsigned workers;
	unsigned count; /* of rows: after an upgrade to fewer workers, one address has several */
	struct listen_row *rows;
	struct proxy_listen *fds; /* of worker 0, of worker 1, ...; fd -1: none */
};

/* Sockets of the process before this one; those that are taken are -1 afterwards. */
struct inherited {
	int *fds;
	unsigned count;
};

/*
 * Those of <c>: what <old> has already, then what is inherited, the rest is bound now.  false:
 * <why> says what is wrong and what to do, and nothing new is open.
 */
bool listens_open(struct listens *out, const struct config *c, unsigned workers,
		  const struct listens *old, struct inherited *from, struct tuning *t, char *why,
		  size_t why_len) must_check;
/* Closes what <old> does not have: when nobody took them over. */
void listens_close(struct listens *l, const struct listens *old);
/* Memory alone. */
void listens_free(struct listens *l);
