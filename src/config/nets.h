/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a tenant's lists say of an address, of an image, of a certificate.  Pure. */
#pragma once

#include "config/config.h"

/*
 * Bits of the narrowest of these networks that <ip> is in, -1: of none.  IPv4 as
 * ::ffff:0:0/96.
 */
int nets_match(const struct conf_nets *list, const uint8_t ip[16]);

/* Is <text> what the pattern says, '*' standing for any bytes? */
bool pattern_is(const char *pattern, struct slice text);
bool patterns_have(const struct conf_names *list, struct slice text);
