/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Receiving.  A server's connections are many and their requests small: the loop receives into a
 * buffer of its own, and the bytes are copied into a small one that the stream holds only while
 * something is there.  A client's are few and carry bodies: it waits by poll, without a buffer, and
 * then receives straight into a big one; as long as that comes full it does not wait.
 *
 * Each pool has a buffer for every connection that may be, so an empty one means that memory is
 * out; the stream then fails with ERR_LIMIT.
 */
#include "net/stream_private.h"

#include <errno.h>
#include <poll.h>

#include "base/err.h"
#include "net/aead.h"

enum {
	/* Without payload between them: what a peer may make us open for nothing. */
	IDLE_RECORDS_MAX = 32,
	KEY_UPDATES_MAX = 1000,
	LINGER_BYTES_MAX = 64 * 1024,
};

static bool raw_ensure(struct stream *s)
{
	char *mem;

	if (s->raw.mem)
		return true;
	mem = pool_get(s->raw_pool);
	if (!mem) {
		stream_fail(s, ERR_LIMIT);
		return false;
	}
	buf_init(&s->raw, mem, s->raw_pool->block_bytes);
	return true;
}

void stream_rx_drop(struct stream *s)
{
	if (s->raw.mem)
		pool_put(s->raw_pool, s->raw.mem);
	s->raw = (struct buf){ 0 };
	s->rx_full = false;
	s->opened = 0;
	s->opened_tail = 0;
}

void stream_rx_trim(struct stream *s)
{
	if (s->raw.mem && buf_len(&s->raw) == 0)
		stream_rx_drop(s);
}

void stream_rx_arm(struct stream *s)
{
	if (op_busy(&s->rx_op) || s->rx_eof || s->err)
		return;
	s->rx_polls = false;
	if (s->rx_big)
		loop_poll(s->net->loop, &s->rx_op, s->fd, POLLIN);
	else
		loop_recv_pooled(s->net->loop, &s->rx_op, s->fd);
}

void stream_rx_arm_poll(struct stream *s)
{
	if (op_busy(&s->rx_op))
		return;
	s->rx_polls = true;
	loop_poll(s->net->loop, &s->rx_op, s->fd, POLLIN);
}

/* The socket is readable: into the big buffer. */
static void take_big(struct stream *s)
{
	size_t room;
	ssize_t n;

	if (!raw_ensure(s))
		return;
	buf_compact(&s->raw);
	room = buf_room(&s->raw);
	n = recv(s->fd, buf_tail(&s->raw), room, MSG_DONTWAIT);
	if (n > 0)
		buf_grew(&s->raw, (size_t)n);
	else if (n == 0)
		s->rx_eof = true;
	else if (errno != EAGAIN && errno != EINTR)
		stream_fail(s, -errno);
	else
		stream_rx_arm(s);
	stream_rx_trim(s);
	s->rx_full = n > 0 && (size_t)n == room;
}

static void take_pooled(struct stream *s, size_t n)
{
	bool fits;

	if (n == 0) {
		s->rx_eof = true;
		return;
	}
	if (!raw_ensure(s))
		return;
	/* Armed only while less than one record is there: see NET_SMALL_BYTES. */
	fits = buf_append(&s->raw, (struct slice){ loop_rx_data(s->net->loop, &s->rx_op), n });
	assert(fits);
}

/* Closing: what comes is dropped, to a bound.  (A poll's events count as a byte or so.) */
static void take_linger(struct stream *s, int res)
{
	s->rx_eof |= res == 0;
	s->linger_bytes += res > 0 ? (unsigned)res : 0;
	if (res <= 0 || s->linger_bytes > LINGER_BYTES_MAX)
		s->linger_over = true;
	if (s->linger && !s->linger_over)
		loop_recv_pooled(s->net->loop, &s->rx_op, s->fd);
}

static void rx_done(struct op *op, int res)
{
	struct stream *s = container_of(op, struct stream, rx_op);

	if (s->state == STREAM_CLOSING)
		take_linger(s, res);
	else if (res < 0)
		stream_fail(s, res);
	else if (s->rx_polls)
		(void)res; /* its owner looks */
	else if (s->rx_big)
		take_big(s);
	else
		take_pooled(s, (size_t)res);
	stream_advance(s);
}

void stream_rx_init(struct stream *s)
{
	op_init(&s->rx_op, &s->inflight, rx_done);
	s->rx_big = s->client;
	s->raw_pool = s->rx_big ? &s->net->big : &s->net->small;
}

static void refuse(struct stream *s, unsigned alert, int err)
{
	stream_tx_alert(s, alert);
	stream_fail(s, err);
}

static void on_alert(struct stream *s, struct slice a)
{
	if (a.len != 2) {
		refuse(s, ALERT_DECODE_ERROR, ERR_TLS_RECORD);
		return;
	}
	unsigned description = (uint8_t)a.ptr[1];
	bool warning = a.ptr[0] == 1 && s->rx.k.minor == 3;

	if (description == ALERT_CLOSE_NOTIFY)
		s->rx_closed = true;
	else if (description != ALERT_USER_CANCELED && !warning)
		stream_fail(s, ERR_TLS_ALERT);
}

static void on_handshake(struct stream *s, struct slice payload)
{
	/* TLS 1.2: that would be a renegotiation. */
	enum post_event ev = s->rx.k.minor == 4 ? post_feed(&s->post, payload, s->client)
						: POST_BAD;

	switch (ev) {
	case POST_NONE: return;
	case POST_KEY_UPDATE_ASKED:
		/*
		 * Sent before our next payload, as RFC 8446 4.6.3 asks.  Under a kernel that cannot
		 * change the key there is none: the connection ends, in order.
		 */
		s->key_update_owed = true;
		if (s->ktls && !s->net->ktls->rekeys)
			s->rx_closed = true;
		__attribute__((fallthrough));
	case POST_KEY_UPDATE:
		record_rx_update(&s->rx, s->net->aead);
		if (++s->key_updates > KEY_UPDATES_MAX)
			refuse(s, ALERT_UNEXPECTED_MESSAGE, ERR_TLS_LIMIT);
		return;
	case POST_BAD: refuse(s, ALERT_UNEXPECTED_MESSAGE, ERR_TLS_RECORD); return;
	}
}

/* A record without payload for the owner. */
static void on_control(struct stream *s, enum record_type type, struct slice payload)
{
	if (++s->idle_records > IDLE_RECORDS_MAX)
		refuse(s, ALERT_UNEXPECTED_MESSAGE, ERR_TLS_LIMIT);
	else if (type == RECORD_ALERT)
		on_alert(s, payload);
	else if (type == RECORD_HANDSHAKE)
		on_handshake(s, payload);
}

/* Opens the record of <size> bytes at the head of <raw>: into <into> if it fits, else in place. */
static void open_record(struct stream *s, struct buf *into, size_t size)
{
	struct slice rec = slice_first(buf_data(&s->raw), size);
	bool direct = buf_room(into) >= size;
	char *out = direct ? buf_tail(into) : s->raw.mem + s->raw.head + TLS_HEADER;
	enum record_type type;
	int n = record_open(&s->rx, s->net->aead, rec, (uint8_t *)out, &type);

	if (n < 0) {
		refuse(s, ALERT_BAD_RECORD_MAC, n);
		return;
	}
	if (type != RECORD_DATA || n == 0) {
		on_control(s, type, (struct slice){ out, (size_t)n });
		buf_take(&s->raw, size);
		return;
	}
	s->idle_records = 0;
	if (direct) {
		buf_grew(into, (size_t)n);
		buf_take(&s->raw, size);
		return;
	}
	buf_take(&s->raw, TLS_HEADER);
	s->opened = (uint16_t)n;
	s->opened_tail = (uint16_t)(size - TLS_HEADER - (size_t)n);
}

/* Bytes from the head of <raw>, as they are. */
static size_t move(struct stream *s, struct buf *into, size_t n)
{
	if (n > buf_room(into))
		n = buf_room(into);
	memcpy(buf_tail(into), buf_data(&s->raw).ptr, n);
	buf_grew(into, n);
	buf_take(&s->raw, n);
	return n;
}

static void pull_opened(struct stream *s, struct buf *into)
{
	s->opened -= (uint16_t)move(s, into, s->opened);
	if (s->opened > 0)
		return;
	buf_take(&s->raw, s->opened_tail);
	s->opened_tail = 0;
}

static void pull_records(struct stream *s, struct buf *into)
{
	while (buf_room(into) > 0) {
		struct slice raw = buf_data(&s->raw);
		int size;

		if (s->opened > 0) {
			pull_opened(s, into);
			continue;
		}
		if (s->err || s->rx_closed)
			return;
		size = record_size(raw);
		if (size < 0)
			refuse(s, ALERT_DECODE_ERROR, size);
		if (size <= 0 || (size_t)size > raw.len)
			return;
		open_record(s, into, (size_t)size);
	}
}

/* What is in <raw>; returns the bytes of payload. */
static size_t pull_raw(struct stream *s, struct buf *into)
{
	size_t before = buf_len(into), got;
	bool full = s->rx_full;

	if (s->tls)
		pull_records(s, into);
	else if (s->raw.mem)
		(void)move(s, into, buf_len(&s->raw));
	stream_rx_trim(s);
	s->rx_full = full; /* though the buffer may be back in its pool */
	got = buf_len(into) - before;
	s->rx_bytes += got;
	return got;
}

int stream_pull(struct stream *s, struct buf *into)
{
	size_t got;

	if (s->err && !s->opened)
		return s->err;
	if (s->state != STREAM_OPEN)
		return 0;
	if (buf_room(into) == 0)
		buf_compact(into);
	assert(buf_room(into) > 0);
	got = pull_raw(s, into);
	/* Ends: each turn takes at least a record out of a full buffer, or finds it not full. */
	while (got == 0 && s->rx_full && !s->err && !s->rx_closed) {
		take_big(s);
		got = pull_raw(s, into);
	}
	if (got > 0)
		return (int)got;
	if (s->err)
		return s->err;
	if (s->tls ? s->rx_closed : s->rx_eof)
		return ERR_EOF;
	if (s->rx_eof)
		stream_fail(s, ERR_TLS_TRUNCATED);
	else
		stream_rx_arm(s);
	return s->err;
}

bool stream_pending(const struct stream *s)
{
	int size;

	if (!s->raw.mem || s->err || s->state != STREAM_OPEN)
		return false;
	if (!s->tls || s->opened > 0)
		return buf_len(&s->raw) > 0;
	size = record_size(buf_data(&s->raw));
	return size < 0 || (size > 0 && (size_t)size <= buf_len(&s->raw));
}
