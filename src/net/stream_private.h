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

/* stream.c.  Keeps the first error and wakes the owner. */
void stream_fail(struct stream *s, int err);
/* Something came, or room is there: goes on with handshake or closing, or wakes the owner. */
void stream_advance(struct stream *s);

/* stream_rx.c. */
void stream_rx_init(struct stream *s);
void stream_rx_arm(struct stream *s);
/* Gives the buffer back, with what is in it. */
void stream_rx_drop(struct stream *s);
/* A buffer is given back if nothing is in it. */
void stream_rx_trim(struct stream *s);

/*
 * stream_tx.c.  Offers bytes to the kernel now; keeps a copy of the rest and sends it when there is
 * room.  Nothing may be waiting.  A failure is the stream's error.
 */
void stream_tx_offer(struct stream *s, struct slice bytes, bool more);
/* An alert under our keys, if nothing waits before it. */
void stream_tx_alert(struct stream *s, unsigned description);
/* The send, connect or poll of <tx_op> ended: clears up, records. */
void stream_tx_ended(struct stream *s, int res);
/* Idle: no bytes and no operation of the sending side wait. */
static inline bool stream_tx_idle(const struct stream *s)
{
	return !s->rest && !op_busy(&s->tx_op);
}
