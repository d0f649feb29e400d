/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The PROXY protocol's header, version 2 (haproxy.org/download/2.9/doc/proxy-protocol.txt): tells a
 * server behind us who its client is.  Pure.
 */
#pragma once

#include "io/resolve.h"

enum { PPV2_MAX = 16 + 36 };

/*
 * The header for a TCP connection of <from> to our <to>; its length.  Addresses of IPv4 in IPv6
 * (::ffff:0:0/96, both) are written as IPv4; of two families, as "unknown".
 */
size_t ppv2_make(const struct addr *from, const struct addr *to, char out[PPV2_MAX]);
