/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The life of a stream: connecting, handshake, closing.  Receiving is in stream_rx.c, sending in
 * stream_tx.c.
 *
 * Steps of our own (handshake, closing) run where a completion arrives, by stream_advance(); the
 * owner's never do, it is woken.
 */
#include "net/stream_private.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/aead.h"
#include "net/handshake.h"
#include "net/hello.h"

enum {
	LINGER_MS = 2000, /* draining after FIN */
	FLUSH_MS = 10000, /* for at most 72 KiB that were accepted before closing */
};

static void wake(struct stream *s)
{
	loop_wake(s->net->loop, s->owner);
}

void stream_fail(struct stream *s, int err)
{
	assert(err < 0);
	if (s->err == 0)
		s->err = err;
	wake(s);
}

/* What the states promise. */
static void check(const struct stream *s)
{
	switch (s->state) {
	case STREAM_IDLE:
	case STREAM_CLOSED:
		assert(s->fd < 0);
		assert(s->inflight == 0);
		assert(!s->raw.mem);
		assert(!s->rest);
		assert(!s->hs);
		break;
	case STREAM_CONNECTING: assert(s->client); break;
	case STREAM_TUNNEL: assert(s->via || s->err); break;
	case STREAM_HELLO:
		assert(!s->client);
		assert(!s->hs);
		break;
	case STREAM_HANDSHAKE: assert(s->hs || s->err); break;
	case STREAM_OPEN:
	case STREAM_CLOSING: assert(!s->hs); break;
	}
}

static void enter(struct stream *s, enum stream_state state)
{
	assert(state == STREAM_CLOSED || state > s->state);
	s->state = state;
	check(s);
}

static void tx_done(struct op *op, int res);
static void close_done(struct op *op, int res);
static void timer_fired(struct timer *t);

void stream_init(struct stream *s, struct net *net, struct task *owner)
{
	*s = (struct stream){ .net = net, .owner = owner, .fd = -1, .tls_text = "-" };
	op_init(&s->tx_op, &s->inflight, tx_done);
	op_init(&s->close_op, &s->inflight, close_done);
	timer_init(&s->linger_timer, timer_fired);
}

void stream_accept(struct stream *s, int fd, const struct addr *peer, struct tls_server *tls)
{
	assert(s->state == STREAM_IDLE);
	s->fd = fd;
	s->peer = *peer;
	s->tls = tls != NULL;
	s->tls_server = tls;
	stream_rx_init(s);
	enter(s, tls ? STREAM_HELLO : STREAM_OPEN);
	if (tls)
		stream_rx_arm(s);
	wake(s);
}

/* A kernel that refuses one of these is no reason to go without the registry. */
static void socket_tune(int fd, const struct stream_dial *d)
{
	struct tuning t = d->tuning;
	const char *key;
	int err;

	while ((key = tuning_set(fd, &t, &err))) {
		if (!*d->warned)
			log_warn("pool %s refused by the kernel: %s; its default is used", key,
				 err_text(err));
		*d->warned = true;
	}
}

static int socket_bind(int fd, const struct addr *from)
{
	int on = 1;

	/* The port only when the peer is known: or all would be used up by a few thousands. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, &from->sa, from->len) < 0 ? -errno : 0;
}

static int socket_open(const struct addr *to, const struct stream_dial *dial)
{
	int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, err;
	char text[ADDR_TEXT_MAX];

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!dial)
		return fd;
	socket_tune(fd, dial);
	err = dial->bind ? socket_bind(fd, dial->bind) : 0;
	if (err == 0)
		return fd;
	addr_format_ip(dial->bind, text);
	log_limited(LOG_WARN, "pool bind=%s refused by the kernel: %s", text, err_text(err));
	close(fd);
	return err;
}

void stream_connect(struct stream *s, const struct addr *to, struct tls_client *tls,
		    const char *host, const struct stream_dial *dial)
{
	assert(s->state == STREAM_IDLE);
	s->client = true;
	s->peer = *to;
	s->tls = tls != NULL;
	stream_rx_init(s);
	enter(s, STREAM_CONNECTING);
	if (tls) {
		snprintf(s->sni, sizeof(s->sni), "%s", host);
		s->hs = handshake_new_client(tls, s->sni);
		if (!s->hs) {
			stream_fail(s, -ENOMEM);
			return;
		}
	}
	if (dial && dial->via.kind != VIA_NONE) {
		s->via = malloc(sizeof(*s->via));
		if (!s->via) {
			stream_fail(s, -ENOMEM);
			return;
		}
		via_init(s->via, &dial->via);
	}
	s->fd = socket_open(to, dial);
	if (s->fd < 0)
		stream_fail(s, s->fd);
	else
		loop_connect(s->net->loop, &s->tx_op, s->fd, &s->peer.sa, s->peer.len);
}

/* ---- an outgoing proxy ---- */

static void tunnel_end(struct stream *s)
{
	if (s->via)
		via_fini(s->via);
	free(s->via);
	s->via = NULL;
}

static void cold tunnel_failed(struct stream *s, const char *why)
{
	char peer[ADDR_TEXT_MAX];

	addr_format(&s->peer, peer);
	log_limited(LOG_WARN, "via proxy=%s target=%s failed: %s", peer,
		    LOG_Q(slice_of(s->via->to->host)), why);
	tunnel_end(s);
	stream_rx_drop(s);
	stream_fail(s, ERR_VIA);
}

/* What it said is taken, and answered, as far as that goes. */
static void tunnel_step(struct stream *s)
{
	size_t n;

	do {
		n = via_feed(s->via, buf_data(&s->raw));
		if (n)
			buf_take(&s->raw, n);
		if (s->via->state == VIA_FAILED) {
			tunnel_failed(s, via_why(s->via));
			return;
		}
		stream_tx_offer(s, via_out(s->via), false);
		if (s->err) {
			tunnel_failed(s, err_text(s->err));
			return;
		}
	} while (n > 0 && s->via->state != VIA_OPEN && stream_tx_idle(s));
	if (s->via->state == VIA_OPEN) {
		tunnel_end(s);
		enter(s, s->tls ? STREAM_HANDSHAKE : STREAM_OPEN);
		return;
	}
	if (!stream_tx_idle(s))
		return;
	stream_rx_trim(s);
	if (s->raw.mem)
		buf_compact(&s->raw);
	if (s->rx_eof)
		tunnel_failed(s, "it closed the connection");
	else
		stream_rx_arm(s);
}

/* Connected: to the proxy, or to the target itself. */
static void tunnel_begin(struct stream *s)
{
	if (!s->via) {
		enter(s, s->tls ? STREAM_HANDSHAKE : STREAM_OPEN);
		return;
	}
	enter(s, STREAM_TUNNEL);
	if (s->via->state == VIA_FAILED)
		tunnel_failed(s, via_why(s->via));
	else
		stream_tx_offer(s, via_out(s->via), false);
}

static void tx_done(struct op *op, int res)
{
	struct stream *s = container_of(op, struct stream, tx_op);

	stream_tx_ended(s, res);
	if (s->state == STREAM_CONNECTING && !s->err)
		tunnel_begin(s);
	stream_advance(s);
}

/* ---- handshake ---- */

static void cold handshake_failed(struct stream *s, int err, const char *why)
{
	char peer[ADDR_TEXT_MAX];

	addr_format(&s->peer, peer);
	if (s->client) {
		log_limited(LOG_WARN, "tls upstream=%s peer=%s failed=\"%s\" reason=%s",
			    LOG_Q(slice_of(s->sni)), peer, err_text(err), LOG_Q(slice_of(why)));
	} else {
		stat_inc(s->net->stats, STAT_HANDSHAKES_FAILED);
		log_limited(LOG_INFO, "tls peer=%s sni=%s failed=\"%s\" reason=%s", peer,
			    LOG_Q(slice_of(s->sni)), err_text(err), LOG_Q(slice_of(why)));
	}
	handshake_free(s->hs);
	s->hs = NULL;
	stream_rx_drop(s);
	stream_fail(s, err);
}

/* The peer went.  Nothing at all from a client is a port scan or a health check, no failure. */
static void handshake_cut(struct stream *s)
{
	if (s->state == STREAM_HELLO && !s->raw.mem)
		stream_fail(s, ERR_EOF);
	else
		handshake_failed(s, ERR_TLS_HANDSHAKE, "closed by the peer");
}

/* More bytes are needed, unless none will come. */
static void handshake_wait(struct stream *s)
{
	stream_rx_trim(s);
	if (s->rx_eof)
		handshake_cut(s);
	else
		stream_rx_arm(s);
}

static void hello_bad(struct stream *s)
{
	/* In the clear, and only to somebody who speaks TLS. */
	if (buf_len(&s->raw) > 0 && buf_data(&s->raw).ptr[0] == RECORD_HANDSHAKE)
		stream_tx_offer(s, SLICE("\x15\3\3\0\2\2\x32"), false);
	handshake_failed(s, ERR_TLS_HELLO, "cannot be read");
}

static void hello_step(struct stream *s)
{
	struct hello hello;

	/* Owners use the slab within their own calls only; we are in none. */
	switch (hello_parse(buf_data(&s->raw), s->net->plain, &hello)) {
	case HELLO_MORE:
		buf_compact(&s->raw);
		if (s->raw.mem && buf_room(&s->raw) < loop_rx_buf_bytes(s->net->loop))
			hello_bad(s);
		else
			handshake_wait(s);
		return;
	case HELLO_BAD: hello_bad(s); return;
	case HELLO_DONE: break;
	}
	memcpy(s->sni, hello.sni, sizeof(s->sni));
	if (s->divert && s->divert(s)) {
		s->diverted = true;
		s->tls = false;
		enter(s, STREAM_OPEN);
		return;
	}
	s->hs = handshake_new_server(s->tls_server, s->sni);
	if (s->hs)
		enter(s, STREAM_HANDSHAKE);
	else
		handshake_failed(s, -ENOMEM, "out of memory");
}

static void describe(struct stream *s)
{
	static const char *const ciphers[] = {
		[AEAD_AES_128_GCM] = "AES_128_GCM",
		[AEAD_AES_256_GCM] = "AES_256_GCM",
		[AEAD_CHACHA20_POLY1305] = "CHACHA20_POLY1305",
	};

	snprintf(s->tls_text, sizeof(s->tls_text), "TLSv1.%u/%s", s->tx.k.minor - 1,
		 ciphers[s->tx.k.cipher]);
}

static void handshake_finished(struct stream *s, struct handshake_end *end)
{
	record_rx_init(&s->rx, s->net->aead, &end->rx);
	record_tx_init(&s->tx, s->net->aead, &end->tx);
	s->tx.explicit_nonce = end->explicit_nonce;
	s->h2 = end->h2;
	s->resumed = end->resumed;
	s->common = end->common;
	explicit_bzero(end, sizeof(*end));
	describe(s);
	handshake_free(s->hs);
	s->hs = NULL;
	if (!s->client) {
		stat_inc(s->net->stats, STAT_HANDSHAKES);
		stat_add(s->net->stats, STAT_HANDSHAKES_RESUMED, s->resumed);
	}
	stream_rx_trim(s);
	enter(s, STREAM_OPEN);
	wake(s);
}

static void handshake_step(struct stream *s)
{
	struct handshake_end end;
	int r = handshake_run(s->hs, &s->raw, &end);

	stream_tx_offer(s, handshake_out(s->hs), false);
	if (r < 0)
		handshake_failed(s, r, handshake_why(s->hs));
	else if (s->err)
		handshake_failed(s, s->err, "peer is gone");
	else if (r > 0)
		handshake_finished(s, &end);
	else if (stream_tx_idle(s))
		handshake_wait(s);
}

/* ---- closing ---- */

static void set_timer(struct stream *s, unsigned ms)
{
	loop_timer_set(s->net->loop, &s->linger_timer, loop_now_ms(s->net->loop) + ms);
}

/*
 * FIN.  A peer that still sends would be answered by a reset, which may destroy what it has not
 * read yet; so its bytes are drained for a while.  An upstream that is cut off may have its reset.
 */
static void shut(struct stream *s)
{
	s->linger = true;
	if (s->fd < 0 || shutdown(s->fd, SHUT_WR) != 0 || s->rx_eof || (s->client && s->abort))
		s->linger_over = true;
	if (s->linger_over)
		return;
	set_timer(s, LINGER_MS);
	if (!op_busy(&s->rx_op))
		loop_recv_pooled(s->net->loop, &s->rx_op, s->fd);
}

static void closed(struct stream *s)
{
	s->fd = -1;
	record_rx_fini(&s->rx);
	record_tx_fini(&s->tx);
	enter(s, STREAM_CLOSED);
	wake(s);
}

/*
 * Runs at each completion while CLOSING, and at its begin: flush, close_notify, FIN, drain,
 * close.
 */
static void close_step(struct stream *s)
{
	if (op_busy(&s->close_op))
		return;
	if (!s->abort && !s->err && stream_tx_idle(s))
		stream_tx_alert(s, ALERT_CLOSE_NOTIFY);
	if (!stream_tx_idle(s))
		return;
	if (!s->linger) {
		if (s->ktls && !s->abort && !s->err && !stream_ktls_flush(s))
			return;
		shut(s);
	}
	if (!s->linger_over)
		return;
	if (op_busy(&s->rx_op)) {
		loop_cancel(s->net->loop, &s->rx_op);
		return;
	}
	loop_timer_clear(s->net->loop, &s->linger_timer);
	if (s->fd >= 0)
		loop_close(s->net->loop, &s->close_op, s->fd);
	else
		closed(s);
}

static void close_done(struct op *op, int res)
{
	(void)res; /* the descriptor is gone whatever close(2) says */
	closed(container_of(op, struct stream, close_op));
}

/* Gives up on what waits to be sent. */
static void drop_tx(struct stream *s)
{
	s->abort = true;
	if (op_busy(&s->tx_op))
		loop_cancel(s->net->loop, &s->tx_op);
}

static void timer_fired(struct timer *t)
{
	struct stream *s = container_of(t, struct stream, linger_timer);

	assert(s->state == STREAM_CLOSING);
	if (!s->linger) {
		drop_tx(s);
		set_timer(s, LINGER_MS);
	} else {
		s->linger_over = true;
	}
	close_step(s);
}

void stream_close(struct stream *s, bool graceful)
{
	bool half_way = s->state == STREAM_HELLO || s->state == STREAM_HANDSHAKE;

	if (stream_is_closed(s))
		return;
	if (s->state == STREAM_CLOSING) {
		if (!graceful && !s->linger)
			drop_tx(s);
		return;
	}
	if (half_way && !s->client && !s->err)
		stat_inc(s->net->stats, STAT_HANDSHAKES_FAILED);
	handshake_free(s->hs);
	s->hs = NULL;
	tunnel_end(s);
	stream_rx_drop(s);
	if (!graceful || s->err || s->state != STREAM_OPEN)
		drop_tx(s);
	enter(s, STREAM_CLOSING);
	set_timer(s, FLUSH_MS);
	close_step(s);
}

void stream_advance(struct stream *s)
{
	if (s->state == STREAM_HELLO && !s->err)
		hello_step(s);
	if (s->state == STREAM_TUNNEL && !s->err && stream_tx_idle(s))
		tunnel_step(s);
	if (s->state == STREAM_HANDSHAKE && !s->err && stream_tx_idle(s))
		handshake_step(s);
	if (s->state == STREAM_CLOSING)
		close_step(s);
	else
		wake(s);
	check(s);
}
