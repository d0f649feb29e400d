/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sending.  One non-blocking send(2) for each call; what the kernel does not take is copied and
 * left to the loop, and until that is gone nothing more is accepted.  So a connection owns memory
 * only while its peer is slower than we are.
 */
#include "net/stream_private.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "base/err.h"
#include "net/aead.h"

enum {
	FIRST_RECORD_BYTES = 4096, /* until FIRST_RECORDS_UNTIL */
	/* sendfile(2) holds the thread while it runs. */
	SENDFILE_MAX = 256 * 1024,
	/* Going over to kernel TLS is not worth less. */
	KTLS_FROM = 128 * 1024,
	RESIDENT_STEP = 64 * 1024,
};

/* Who takes no more may have said why: a client's side still receives. */
void stream_tx_fail(struct stream *s, int err)
{
	if (s->client && s->state == STREAM_OPEN && (err == -EPIPE || err == -ECONNRESET)) {
		s->tx_err = err;
		loop_wake(s->net->loop, s->owner);
		return;
	}
	stream_fail(s, err);
}

/* The kernel's share of <bytes>, now: 0 when it has no room. */
static size_t send_now(struct stream *s, struct slice bytes, bool more)
{
	int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0);
	ssize_t n;

	if (s->ktls && !stream_ktls_settle(s, bytes.len))
		return 0;
	n = send(s->fd, bytes.ptr, bytes.len, flags);
	if (n >= 0) {
		s->ktls_tx.bytes += s->ktls ? (size_t)n : 0;
		return (size_t)n;
	}
	if (errno != EAGAIN && errno != EINTR)
		stream_tx_fail(s, -errno);
	return 0;
}

void stream_tx_wait(struct stream *s)
{
	int on = 1;

	/*
	 * Up to Linux 6.4 sendfile(2) over kernel TLS leaves the end of what TCP took corked, and a
	 * send buffer of less than a segment is then full for ever.  Setting this pushes.
	 */
	if (s->ktls)
		(void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	loop_poll(s->net->loop, &s->tx_op, s->fd, POLLOUT);
}

void stream_tx_offer(struct stream *s, struct slice bytes, bool more)
{
	size_t n;

	assert(stream_tx_idle(s));
	if (bytes.len == 0)
		return;
	n = send_now(s, bytes, more);
	if (s->err || s->tx_err || n == bytes.len)
		return;
	s->rest_len = bytes.len - n;
	s->rest = malloc(s->rest_len);
	if (!s->rest) {
		stream_fail(s, -ENOMEM);
		return;
	}
	memcpy(s->rest, bytes.ptr + n, s->rest_len);
	s->rest_at = 0;
	if (s->ktls)
		stream_tx_wait(s);
	else
		loop_send(s->net->loop, &s->tx_op, s->fd, s->rest, s->rest_len);
}

/*
 * There is room.  The ring's send waits for all of it (MSG_WAITALL), which kernel TLS refuses.
 * False: there is more.
 */
static bool rest_push(struct stream *s)
{
	struct slice left = { s->rest + s->rest_at, s->rest_len - s->rest_at };

	s->rest_at += send_now(s, left, false);
	if (s->err || s->rest_at == s->rest_len)
		return true;
	stream_tx_wait(s);
	return false;
}

void stream_tx_ended(struct stream *s, int res)
{
	bool sent = s->rest && !s->ktls;

	if (s->ktls && s->rest && res >= 0 && !s->err && !rest_push(s))
		return;
	free(s->rest);
	s->rest = NULL;
	if (res < 0)
		stream_tx_fail(s, res);
	else if (sent && (size_t)res < s->rest_len)
		stream_tx_fail(s, -EPIPE);
	s->rest_len = 0;
}

void stream_tx_alert(struct stream *s, unsigned description)
{
	/* RFC 8446 6: in TLS 1.3 the level says nothing more. */
	const char alert[2] = { description == ALERT_CLOSE_NOTIFY ? 1 : 2, (char)description };
	size_t n;

	if (!s->tls || !aead_key_is_set(&s->tx.key) || !stream_tx_idle(s) || s->notified)
		return;
	if (s->ktls) {
		stream_ktls_alert(s, (struct slice){ alert, 2 }, description == ALERT_CLOSE_NOTIFY);
		return;
	}
	s->notified = true;
	n = record_seal(&s->tx, s->net->aead, RECORD_ALERT, (struct slice){ alert, 2 },
			(uint8_t *)s->net->sealed);
	stream_tx_offer(s, (struct slice){ s->net->sealed, n }, false);
}

/* RFC 8446 4.6.3.  Returns the bytes of the record; what follows is under the next key. */
static size_t seal_key_update(struct stream *s, char *out)
{
	size_t n = record_seal(&s->tx, s->net->aead, RECORD_HANDSHAKE, SLICE("\x18\0\0\1\0"),
			       (uint8_t *)out);

	record_tx_update(&s->tx, s->net->aead);
	s->key_update_owed = false;
	return n;
}

static size_t record_payload(const struct stream *s, size_t taken, size_t left)
{
	size_t max = s->tx_bytes + taken < FIRST_RECORDS_UNTIL ? (size_t)FIRST_RECORD_BYTES
							       : (size_t)TLS_PLAIN_MAX;

	return left < max ? left : max;
}

/* Seals <data> into the slab; returns the bytes there, 0 with s->err set. */
static size_t seal(struct stream *s, struct slice data)
{
	char *slab = s->net->sealed;
	size_t at = 0, taken = 0;

	while (taken < data.len) {
		bool spent = record_tx_spent(&s->tx);

		if (spent && s->tx.k.minor == 3) {
			stream_fail(s, ERR_TLS_LIMIT);
			return 0;
		}
		if (spent || s->key_update_owed)
			at += seal_key_update(s, slab + at);
		size_t n = record_payload(s, taken, data.len - taken);

		at += record_seal(&s->tx, s->net->aead, RECORD_DATA,
				  (struct slice){ data.ptr + taken, n }, (uint8_t *)slab + at);
		taken += n;
		assert(at <= NET_SEALED_BYTES);
	}
	return at;
}

bool stream_writable(const struct stream *s)
{
	return s->state == STREAM_OPEN && stream_tx_idle(s);
}

static void tx_count(struct stream *s, size_t n)
{
	s->tx_bytes += n;
	if (s->tls && !s->client)
		stat_add(s->net->stats, s->ktls ? STAT_TLS_KERNEL : STAT_TLS_USER, (int64_t)n);
}

int stream_send(struct stream *s, struct slice data, bool more)
{
	size_t n = data.len < NET_PLAIN_BYTES ? data.len : (size_t)NET_PLAIN_BYTES;
	struct slice out = slice_first(data, n);

	if (s->err || s->tx_err)
		return s->err ? s->err : s->tx_err;
	if (n == 0 || !stream_writable(s))
		return 0;
	more |= n < data.len;
	if (s->tls && !s->ktls) {
		size_t sealed = seal(s, out);

		out = (struct slice){ s->net->sealed, sealed };
	}
	if (!s->err)
		stream_tx_offer(s, out, more);
	if (s->err || s->tx_err)
		return s->err ? s->err : s->tx_err;
	tx_count(s, n);
	return (int)n;
}

void stream_shut(struct stream *s)
{
	assert(stream_writable(s));
	stream_tx_alert(s, ALERT_CLOSE_NOTIFY);
	if (!s->err && stream_tx_idle(s) && (!s->ktls || stream_ktls_flush(s)))
		(void)shutdown(s->fd, SHUT_WR); /* it may have gone already */
}

bool stream_is_bare(const struct stream *s)
{
	return stream_writable(s) && !s->tls && !s->err && !s->tx_err && !s->raw.mem &&
	       !s->rx_eof && s->inflight == 0;
}

bool stream_takes_files(const struct stream *s)
{
	return s->state == STREAM_OPEN && (!s->tls || s->ktls || stream_ktls_may(s));
}

/* Is that page in memory?  File systems that cannot tell are believed to be. */
static bool is_page_resident(int fd, uint64_t at)
{
	char byte;
	struct iovec v = { &byte, 1 };

	return preadv2(fd, &v, 1, (off_t)at, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

/* By samples: what is read comes in pieces of more than RESIDENT_STEP, and goes so. */
static bool is_resident(int fd, uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i += RESIDENT_STEP)
		if (!is_page_resident(fd, off + i))
			return false;
	return is_page_resident(fd, off + len - 1);
}

int stream_send_file(struct stream *s, int fd, uint64_t off, size_t len)
{
	off_t at = (off_t)off;
	ssize_t n;

	if (s->err)
		return s->err;
	assert(stream_takes_files(s));
	if (len == 0 || !stream_writable(s))
		return 0;
	if (len > SENDFILE_MAX)
		len = SENDFILE_MAX;
	if (!is_resident(fd, off, len))
		return -EAGAIN;
	if (s->tls) {
		if (!s->ktls && (len < KTLS_FROM || !stream_ktls_begin(s)))
			return -EAGAIN;
		/* What begins at a page's and a record's border goes by whole records. */
		if (len > TLS_PLAIN_MAX)
			len -= (off + len) % TLS_PLAIN_MAX;
		if (!stream_ktls_settle(s, len)) {
			if (!s->err)
				stream_tx_wait(s);
			return s->err;
		}
	}
	n = sendfile(s->fd, fd, &at, len);
	if (n > 0) {
		s->ktls_tx.bytes += s->ktls ? (size_t)n : 0;
		tx_count(s, (size_t)n);
		return (int)n;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		stream_tx_wait(s);
		return 0;
	}
	/* Nothing sent and no error: the file is shorter than the caller believes. */
	stream_fail(s, n < 0 ? -errno : -EIO);
	return s->err;
}
