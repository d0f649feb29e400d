/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A connection that is handed in from within: whoever manages the server speaks HTTP to it like a
 * client, without TLS, address or tenant (LISTEN_CONTROL).  To him a tag is always asked for anew,
 * and "Cache-Control: only-if-cached" is 504 for what is not here (RFC 9111 5.2.1.7).
 */
#pragma once

#include "proxy/proxy.h"

/* Any thread.  Takes <fd>, a connected stream socket, in any case.  False: no memory. */
bool guest_begin(struct proxy *p, int fd) must_check;
