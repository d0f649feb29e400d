/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reads a TLS ClientHello without answering it (RFC 8446 4.1.2, RFC 6066 3, RFC 7301 3.1), so that
 * the certificate, or the place to pass the connection on to, is known before a handshake begins.
 *
 * Only the shape is checked, and what is read; cipher suites and the rest are the handshake's
 * business.  Unknown versions, protocols and extensions (GREASE) are stepped over.  Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/slice.h"

struct hello {
	char sni[256];        /* lower case, "" if none */
	struct slice alpn;    /* protocol names, each behind a byte of length; in <scratch> */
	uint16_t version_max; /* best of 0x0301..0x0304 that is offered; 0: none of them */
	size_t raw_bytes;     /* of all records that the ClientHello fills */
};

enum hello_result { HELLO_MORE, HELLO_DONE, HELLO_BAD };

/*
 * <raw> is all that came since the connection began; call again with more of it after HELLO_MORE.
 * <scratch> gets the message, taken out of its records.  A message over TLS_HELLO_MAX is bad.
 */
enum hello_result hello_parse(struct slice raw, char scratch[TLS_HELLO_MAX],
			      struct hello *out) must_check;
bool hello_offers(const struct hello *h, struct slice protocol);
