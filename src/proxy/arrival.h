/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A connection of a balancer that is trusted, until it is seen whether it begins with a PROXY
 * header (net/ppin.h), and whose it is.  Then it is a client.
 *
 * Invariants
 *  1. Exactly the header is taken from the socket: what is behind it is still to be received.
 *  2. It has handshake_timeout for that, and there are at most clients_max of them.
 */
#pragma once

#include "proxy/proxy.h"

/* Takes fd. */
void arrival_start(struct proxy *p, int fd, const struct addr *peer, enum listener_kind kind);
/* All of them end; each when its operation has. */
void arrivals_end(struct proxy *p);
