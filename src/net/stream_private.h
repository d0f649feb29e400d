/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the three parts of a stream call of each other: stream.c (life), stream_rx.c (receiving),
 * stream_tx.c (sending).
 */
#pragma once

#include "net/stream.h"

/* Alert descriptions (RFC 8446 6). */
enum {
	ALERT_CLOSE_NOTIFY = 0,
	ALERT_UNEXPECTED_MESSAGE = 10,
	ALERT_BAD_RECORD_MAC = 20,
	ALERT_DECODE_ERROR = 50,
	ALERT_USER_CANCELED = 90,
};

/*
 * So many bytes of a connection go in small records: the peer can use the first ones before 16 KiB
 * are there.
 */
enum { FIRST_RECORDS_UNTIL = 64 * 1024 };

/* stream.c.  Keeps the first error and wakes the owner. */
void stream_fail(struct stream *s, int err);
/* Something came, or room is there: goes on with handshake or closing, or wakes the owner. */
void stream_advance(struct stream *s);

/* stream_rx.c. */
void stream_rx_init(struct stream *s);
void stream_rx_arm(struct stream *s);
/* The owner is woken when there is something, which stays in the socket. */
void stream_rx_arm_poll(struct stream *s);
/* Gives the buffer back, with what is in it. */
void stream_rx_drop(struct stream *s);
/* A buffer is given back if nothing is in it. */
void stream_rx_trim(struct stream *s);

/*
 * stream_tx.c.  Offers bytes to the kernel now; keeps a copy of the rest and sends it when there is
 * room.  Nothing may be waiting.  A failure is the stream's error.
 */
void stream_tx_offer(struct stream *s, struct slice bytes, bool more);
/* Polls for room, by <tx_op>. */
void stream_tx_wait(struct stream *s);
/* What the peer's refusal to take more means for the stream. */
void stream_tx_fail(struct stream *s, int err);
/* An alert under our keys, if nothing waits before it. */
void stream_tx_alert(struct stream *s, unsigned description);
/* The send, connect or poll of <tx_op> ended: clears up, records. */
void stream_tx_ended(struct stream *s, int res);
/*
 * stream_ktls.c.  Would this stream's next file be sent by the kernel's TLS?  (Not the first bytes
 * of a connection, which go in small records.)
 */
bool stream_ktls_may(const struct stream *s);
/* It goes over, with nothing waiting; false: it does not, and will not. */
bool stream_ktls_begin(struct stream *s) must_check;
/*
 * Before <n> bytes of payload: a KeyUpdate that is owed or due goes out.  False: there is no room
 * for that now, or s->err.
 */
bool stream_ktls_settle(struct stream *s, size_t n) must_check;
/* As stream_tx_alert(). */
void stream_ktls_alert(struct stream *s, struct slice alert, bool is_notify);
/* Before FIN: has all left the ULP?  False: it is waited for. */
bool stream_ktls_flush(struct stream *s) must_check;

/* Idle: no bytes and no operation of the sending side wait. */
static inline bool stream_tx_idle(const struct stream *s)
{
	return !s->rest && !op_busy(&s->tx_op);
}
