/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The way through an outgoing proxy: SOCKS5 (RFC 1928, user and password by RFC 1929) or HTTP
 * CONNECT (RFC 9110 9.3.6).  Bytes in, bytes out; no socket, no clock.  The target's name is sent,
 * not resolved here.
 *
 * Invariants
 *  1. Exactly the proxy's own answers are taken from what was received; what follows is the
 *     target's.
 *  2. Credentials are only ever in what via_out() gives; never in via_why().
 *  3. VIA_OPEN only after the proxy has said, in whole, that the target is connected.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

enum via_kind { VIA_NONE, VIA_SOCKS5, VIA_HTTP };

enum {
	VIA_SECRET_MAX = 255, /* RFC 1929: one byte of length */
	VIA_OUT_MAX = 1536,   /* a CONNECT with host twice and base64 of user and password */
	VIA_HEAD_MAX = 8192,  /* of an answer to CONNECT */
};

/* Borrowed for as long as the via lives. */
struct via_target {
	enum via_kind kind;
	const char *user; /* NULL: none */
	const char *password;
	const char *host; /* a name, or an address without brackets; of the target */
	uint16_t port;
};

enum via_state { VIA_HELLO, VIA_SECRET, VIA_CONNECT, VIA_OPEN, VIA_FAILED };

struct via {
	const struct via_target *to;
	enum via_state state; /* whose answer is waited for */
	size_t out_len;
	char out[VIA_OUT_MAX];
	char why[128];
};

/* Afterwards via_out() has what is sent first. */
void via_init(struct via *v, const struct via_target *to);
/* Bytes for the proxy, until the next via_feed(). */
static inline struct slice via_out(const struct via *v)
{
	return (struct slice){ v->out, v->out_len };
}
/*
 * What was received and not taken yet.  Returns how many of its bytes are taken; 0: more are
 * needed, or it has failed.
 */
size_t via_feed(struct via *v, struct slice in) must_check;
/* Of VIA_FAILED. */
const char *via_why(const struct via *v);
/* Secrets are wiped. */
void via_fini(struct via *v);
