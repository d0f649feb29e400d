/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TLS records sealed by the kernel (the "tls" ULP), sending only: what is written to such a socket
 * is payload, and files go out by sendfile(2) without passing through user memory.
 *
 * Invariants
 *  1. A socket goes over once, for good: from then on nobody else seals records of its keys.
 *  2. Receiving stays with net/record.c: TLS_RX is never set, so receives may be armed, and the
 *     kernel parses nothing of what a peer sends.
 *  3. A key seals no more records than record_tx_max(), although the kernel alone counts them.
 *  4. Every call is without waiting; the socket has O_NONBLOCK, which sendfile(2) goes by.
 */
#pragma once

#include <sys/types.h>

#include "net/record.h"

/* [server] ktls. */
enum ktls_mode { KTLS_AUTO, KTLS_ON, KTLS_OFF };

/* What the kernel is used for; made at the start, then read by all workers. */
struct ktls {
	bool seals[2][AEAD_CIPHERS]; /* of TLS 1.2, 1.3 */
	bool rekeys;                 /* Linux 6.14: a key can be followed by another */
};

/*
 * Finds out what this kernel can do and, for AUTO, by which engine a byte costs less; the log has
 * the answer and why.  Some milliseconds, over loopback.  While the process has its rights: the
 * kernel loads its module for CAP_NET_ADMIN alone.
 */
void ktls_choose(struct ktls *k, enum ktls_mode mode);

static inline bool ktls_seals(const struct ktls *k, const struct record_tx *t)
{
	return k->seals[t->k.minor - 3][t->k.cipher];
}

/* One socket that went over. */
struct ktls_tx {
	uint64_t left;     /* records that may surely follow before the kernel's count is read */
	uint64_t seq;      /* of the key's first record by the kernel */
	uint64_t records;  /* by the kernel, of keys before it */
	uint64_t bytes;    /* of payload, of all types */
	uint64_t tcp_from; /* bytes that TCP had been given by then */
};

/*
 * All that was sealed before must be in the kernel.  0 or -errno, after which the socket goes on as
 * it was.
 */
int ktls_begin(struct ktls_tx *k, int fd, const struct record_tx *t) must_check;
/* A whole record that is no payload.  0, -EAGAIN or another error. */
int ktls_control(struct ktls_tx *k, int fd, enum record_type type, struct slice s) must_check;
/* The next key, behind a KeyUpdate; <t> is what was before.  0 or -errno: of no more use. */
int ktls_rekey(struct ktls_tx *k, int fd, struct record_tx *t, struct aead_engine *e) must_check;
/* May <n> more bytes be sent by this key? */
bool ktls_may_send(struct ktls_tx *k, int fd, const struct record_tx *t, size_t n);
/*
 * Has TCP all that was sent?  What it has no room for waits in the ULP, which loses it when the
 * socket is shut down.
 */
bool ktls_flushed(const struct ktls_tx *k, int fd, const struct record_tx *t);
