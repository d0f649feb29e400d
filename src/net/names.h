/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The names that a certificate is good for, and whether they cover a host: the same rule for the
 * certificates that we serve (SNI, 421) and for those that upstreams show us (RFC 9525).
 *
 * Names are the SAN's dNSName and iPAddress entries; the common name only where there is no SAN.  A
 * wildcard is the whole left-most label, stands for exactly one label, and not right above a
 * top-level domain.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/slice.h"

struct cert_names {
	char *mem; /* owned: entries of kind (1 byte), length (2, as it is in memory), bytes */
	size_t len;
	int64_t not_after; /* seconds since 1970 */
};

/* From a certificate in DER.  0, or ERR_TLS_CERT: it cannot be read; nothing to free then. */
int names_init(struct cert_names *n, struct slice der) must_check;
void names_fini(struct cert_names *n);

/* The subject's common name, malloc'ed; NULL: it has none, or cannot be read. */
char *names_common(struct slice der) must_check;
/* <host>: a name, or an IP address as text without brackets. */
bool names_cover(const struct cert_names *n, struct slice host);
/* All of them with ", " between; false: they do not fit, and the last is cut or missing. */
bool names_print(const struct cert_names *n, struct buf *out);
/* A time of a certificate, in seconds since 1970; <unknown> if it cannot be read. */
int64_t names_time(const uint8_t *field, int field_len, int64_t unknown) must_check;
