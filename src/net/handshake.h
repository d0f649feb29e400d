/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One TLS handshake by wolfSSL, over memory: bytes of the peer in, bytes for the peer out.  When it
 * is done, all that is needed to go on leaves it, and the WOLFSSL object (57 KB) is freed.
 *
 * Invariant: exactly the records of the handshake are taken from <raw>; what the peer sent behind
 * its Finished stays there, whole, for net/record.c.
 */
#pragma once

#include "base/buf.h"
#include "net/record.h"
#include "net/tls.h"

struct handshake;

/* What leaves a finished handshake.  Wipe it after use. */
struct handshake_end {
	struct record_keys rx;
	struct record_keys tx;
	uint64_t explicit_nonce; /* TLS 1.2 GCM: of the first record that we are to send */
	bool h2;                 /* chosen by ALPN */
	bool resumed;
	char *common; /* server: of the client's certificate, malloc'ed; NULL: it has shown none */
};

/* <sni>: "" if none.  NULL: no memory. */
struct handshake *handshake_new_server(const struct tls_server *tls, const char *sni) must_check;
/* <host>: a name or an IP literal; verified, and sent as SNI if it is a name. */
struct handshake *handshake_new_client(const struct tls_client *tls, const char *host) must_check;
void handshake_free(struct handshake *h);

/*
 * Goes on as far as <raw> allows.  1: done, *end is filled.  0: more bytes of the peer are needed.
 * ERR_TLS_CERT, ERR_TLS_HANDSHAKE, ERR_TLS_ALERT: failed.  In each case handshake_out() may then
 * hold bytes to be sent (an alert, after a failure).
 */
int handshake_run(struct handshake *h, struct buf *raw, struct handshake_end *end) must_check;
/* Bytes for the peer; borrowed until the next run.  They count as taken. */
struct slice handshake_out(struct handshake *h);
/* Why it failed, for the log. */
const char *handshake_why(const struct handshake *h);
