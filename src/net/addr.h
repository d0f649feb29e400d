/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Text and classes of IP addresses.  Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "io/resolve.h"

enum { ADDR_TEXT_MAX = 64 };

/* "1.2.3.4:443" or "[::1]:443", NUL-terminated. */
void addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* Without the port and brackets. */
void addr_format_ip(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* "1.2.3.4:443", "[::]:443"; 0 or -EINVAL. */
int addr_parse(struct slice text, struct addr *out) must_check;
/* 127/8, ::1, and 127/8 within v6. */
bool addr_is_loopback(const struct addr *a) must_check;
/* A literal without port or brackets: is it one of these? */
bool addr_names_loopback(struct slice host) must_check;
/*
 * Not reachable on the public internet: loopback, private, link-local, unique local, shared
 * (100.64/10), unspecified, multicast, documentation, benchmarking, reserved, v4-mapped, NAT64
 * and 6to4 forms of these (RFC 6890 and its registry).
 */
bool addr_is_private(const struct addr *a);
/* The address alone; IPv4 as ::ffff:0:0/96. */
void addr_ip(const struct addr *a, uint8_t out[16]);
/* "1.2.3.4", "::1", and "1.2.3.4:5", "[::1]", "[::1]:5", whose port is left out; 0 or -EINVAL. */
int addr_parse_ip(struct slice text, struct addr *out) must_check;
