/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Error codes: 0 or > 0 is good, a negative number is -errno as the kernel gave it (cqe->res), or
 * one of ours below -1000.  One table turns each into text.
 */
#pragma once

#define ERR_LIST(X)                                                                                \
	X(ERR_EOF, -1001, "closed by the peer")                                                    \
	X(ERR_TLS_RECORD, -1002, "bad TLS record")                                                 \
	X(ERR_TLS_ALERT, -1003, "TLS alert from the peer")                                         \
	X(ERR_TLS_HANDSHAKE, -1004, "TLS handshake failed")                                        \
	X(ERR_TLS_CERT, -1005, "certificate of the peer was refused")                              \
	X(ERR_TLS_HELLO, -1006, "bad TLS ClientHello")                                             \
	X(ERR_TLS_LIMIT, -1007, "TLS limit reached")                                               \
	X(ERR_TLS_TRUNCATED, -1008, "connection closed without close_notify")                      \
	X(ERR_DNS, -1010, "name does not resolve")                                                 \
	X(ERR_DNS_TIMEOUT, -1011, "name servers do not answer")                                    \
	X(ERR_ADDR_PRIVATE, -1012, "address is private and the mirror does not allow that")        \
	X(ERR_VIA, -1013, "outgoing proxy did not connect")                                        \
	X(ERR_BUSY, -1014, "all connections that max_conns allows are in use")                     \
	X(ERR_HTTP, -1020, "bad HTTP")                                                             \
	X(ERR_SHORT, -1021, "body ended early")                                                    \
	X(ERR_LONG, -1022, "body is longer than announced")                                        \
	X(ERR_DIGEST, -1023, "digest differs")                                                     \
	X(ERR_REDIRECT, -1024, "redirect refused")                                                 \
	X(ERR_AUTH, -1025, "upstream asks for an authentication that cannot be given")             \
	X(ERR_LIMIT, -1026, "limit reached")                                                       \
	X(ERR_KILLED, -1027, "given up")                                                           \
	X(ERR_UNWANTED, -1028, "nobody wants it any more")                                         \
	X(ERR_STUCK, -1029, "the disk does not answer")

enum err {
#define X(name, code, text) name = (code),
	ERR_LIST(X)
#undef X
};

/* Static text for one of ours or for -errno; never NULL. */
const char *err_text(int err);
