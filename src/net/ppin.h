/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The PROXY protocol's header, versions 1 and 2, as a balancer before us sends it: who its client
 * is (haproxy.org/download/2.9/doc/proxy-protocol.txt).  Pure.  What we send is ppv2.h's.
 */
#pragma once

#include "base/slice.h"
#include "io/resolve.h"

/* The longest that we take: version 2 with its extensions, which are left out. */
enum { PPIN_MAX = 4096 };

enum ppin_result {
	PPIN_NONE, /* there is no header */
	PPIN_MORE, /* that cannot be said yet, or its end has not come */
	PPIN_DONE,
	PPIN_BAD,
};

/*
 * Looks at what a connection began with.  DONE: *used bytes are the header; *client is the client,
 * or as it was where the balancer speaks for itself (LOCAL, UNKNOWN).
 */
enum ppin_result ppin_parse(struct slice in, size_t *used, struct addr *client) must_check;
