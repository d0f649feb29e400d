/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One byte stream over plain TCP or TLS, server or client role, with all that TLS needs hidden
 * below it: handshake by wolfSSL, whose object is freed when it is done; then our own records.
 *
 * Life: stream_init, stream_accept | stream_connect, (OPEN), stream_close, (CLOSED).  Each change,
 * arrival of bytes, and room for output wakes the owner's task; the owner then asks what it wants
 * to know.  Memory of the stream is the owner's and may be reused once it is CLOSED.
 *
 * Invariants
 *  1. At most one receive and one send are in flight.  No receive is armed unless the owner asked
 *     by a stream_pull() that gave 0: back pressure is "do not pull".
 *  2. A stream that waits with nothing half received and nothing half sent holds no buffer.
 *  3. The first error is kept; after it pull and send give it for ever.  ERR_EOF is none: the other
 *     direction may go on.  So it may when a server takes no more (client role): an answer may say
 *     why; tx_err is what sends give then.
 *  4. Bytes are never lost, repeated or reordered; ERR_EOF means the peer ended the stream as its
 *     protocol wants (close_notify in TLS; FIN in plain).  FIN without close_notify is
 *     ERR_TLS_TRUNCATED.
 *  5. A buffer is always to be had for each of conns_max streams; none means that memory is out,
 *     and the stream fails with ERR_LIMIT.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "io/loop.h"
#include "net/addr.h"
#include "net/ktls.h"
#include "net/net.h"
#include "net/post.h"
#include "net/record.h"
#include "net/tls.h"
#include "net/tuning.h"
#include "net/via.h"

enum stream_state {
	STREAM_IDLE,       /* no socket */
	STREAM_CONNECTING, /* connect in flight */
	STREAM_TUNNEL,     /* client: an outgoing proxy is asked for the way */
	STREAM_HELLO,      /* server: the ClientHello is being read */
	STREAM_HANDSHAKE,  /* wolfSSL works */
	STREAM_OPEN,
	STREAM_CLOSING, /* flushing, FIN sent, draining; then the socket is closed */
	STREAM_CLOSED,  /* everything is back */
};

struct handshake;

/* How a client's socket is made; borrowed until CLOSED. */
struct stream_dial {
	const struct addr *bind; /* of the same family; NULL: the kernel chooses */
	struct tuning tuning;
	bool *warned; /* that some of it was refused: said once */
	/* Of an outgoing proxy, which <to> is then the address of; kind VIA_NONE: there is none. */
	struct via_target via;
};

struct stream {
	struct net *net;
	struct task *owner;
	enum stream_state state;
	int fd;
	int err;     /* first error, 0 while there is none */
	int tx_err;  /* the peer takes no more */
	bool client; /* role */
	bool tls;
	bool rx_big;    /* client role: receive into a big buffer */
	bool rx_polls;  /* what is armed tells of bytes, and takes none: stream_splice() */
	bool rx_full;   /* the last receive filled the buffer: there is more */
	bool rx_eof;    /* FIN seen */
	bool rx_closed; /* close_notify seen (TLS) */
	bool abort;     /* closing without flush */
	bool h2;        /* ALPN chose h2 */
	bool resumed;
	bool linger;        /* draining after FIN */
	bool ktls;          /* the kernel seals what is sent */
	bool ktls_refused;  /* it would not: our own records for good */
	uint8_t ktls_looks; /* whether all has left it, before FIN */
	unsigned inflight;
	struct op rx_op;
	struct op tx_op;
	struct op close_op;
	struct timer linger_timer;
	struct buf raw; /* received, not yet opened; NULL memory when empty */
	struct pool *raw_pool;
	char *rest; /* sealed (or plain) bytes that the kernel did not take; malloc'ed */
	size_t rest_len;
	size_t rest_at;      /* kernel TLS: bytes of it that were taken since */
	struct record_rx rx; /* valid when tls and OPEN */
	struct record_tx tx; /* kernel TLS: its keys, but not its count */
	struct ktls_tx ktls_tx;
	struct post post;      /* TLS 1.3: messages behind the handshake, half received */
	uint16_t opened;       /* payload at the head of <raw>, opened in place, not yet pulled */
	uint16_t opened_tail;  /* and the bytes behind it that belong to its record */
	unsigned idle_records; /* since the last payload: empty ones, control ones */
	unsigned key_updates;  /* of the peer */
	bool key_update_owed;  /* the peer asked for one of ours */
	bool notified;         /* close_notify sent, or not to be sent any more */
	bool linger_over;      /* drained enough */
	unsigned linger_bytes;
	struct handshake *hs; /* during the handshake only */
	struct via *via;      /* during STREAM_TUNNEL only */
	const struct tls_server *tls_server;
	char *common; /* server: name in the client's certificate, or NULL; the owner frees it */
	/* Server: is a client of this <sni> to be passed on as it is?  NULL: none is. */
	bool (*divert)(struct stream *s);
	bool diverted;     /* plain and OPEN, with the ClientHello still to be pulled */
	uint64_t rx_bytes; /* payload given to the owner, payload accepted from it */
	uint64_t tx_bytes;
	struct addr peer;
	char sni[256];     /* lower case, "" if none */
	char tls_text[48]; /* "TLSv1.3/AES_128_GCM" or "-" */
};

void stream_init(struct stream *s, struct net *net, struct task *owner);

/* Takes <fd> (connected, non-blocking).  tls NULL: plain.  <tls> is borrowed until CLOSED. */
void stream_accept(struct stream *s, int fd, const struct addr *peer, struct tls_server *tls);

/*
 * tls NULL: plain.  <host> (copied) is sent as SNI, unless a literal, and verified.  Limits in
 * time are the owner's.  <dial>: NULL: nothing special.
 */
void stream_connect(struct stream *s, const struct addr *to, struct tls_client *tls,
		    const char *host, const struct stream_dial *dial);

static inline bool stream_is_open(const struct stream *s)
{
	return s->state == STREAM_OPEN;
}

/*
 * Opens whole records (TLS) or moves bytes (plain) into <into>, as many as fit: room of
 * TLS_PLAIN_MAX always takes one.  > 0: bytes added.  0: nothing now; a receive is armed and the
 * owner will be woken.  ERR_EOF or another error: no more will come.
 */
int stream_pull(struct stream *s, struct buf *into) must_check;
/* Is something buffered that a pull could give at once? */
bool stream_pending(const struct stream *s);

/*
 * Seals and sends.  Returns bytes accepted, which may be fewer than given; they are the stream's
 * (the memory is free at once).  0: an earlier send waits for the kernel; the owner will be woken
 * when there is room.  < 0: error.  <more>: more follows at once, so a record need not end here.
 */
int stream_send(struct stream *s, struct slice data, bool more) must_check;
/* Nothing waits in our memory: the next stream_send() will accept at least one byte. */
bool stream_writable(const struct stream *s);

/*
 * Sends [off, off+len) of a file without passing through user memory: plain sockets, kernel TLS.
 * As stream_send(); -EAGAIN: read it and send that: the page is not in memory, or this is not for
 * kernel TLS.  Only if stream_takes_files().
 */
bool stream_takes_files(const struct stream *s);
int stream_send_file(struct stream *s, int fd, uint64_t off, size_t len) must_check;

/*
 * Moves at most <max> bytes from one plain stream to another within the kernel.  > 0: so many were
 * accepted by <to>; 0: <from> or <to> is waited for, whose owner will be woken; ERR_EOF: <from> has
 * ended; -EAGAIN: not now by this way (no pipe, TLS, bytes that were received already); else the
 * error of one of them.  Bytes that <from> gave and <to> did not take yet stay in <p>, and go first
 * in the next call: nothing else may be sent while p->held.  <p> begins zeroed.
 */
struct spill {
	struct pipe pipe;
	size_t held;
	bool dry; /* the last look took all that was there */
};
int stream_splice(struct stream *from, struct stream *to, struct spill *p, uint64_t max) must_check;
/* Gives back what it has. */
void spill_end(struct net *net, struct spill *p);

/* No more is sent: close_notify, FIN; receiving goes on.  Only while it is writable. */
void stream_shut(struct stream *s);
/* Is it plain, with nothing under way or half done, so that its socket can be used as it is? */
bool stream_is_bare(const struct stream *s);

/*
 * Begins closing; the owner is woken when CLOSED.  graceful: what was accepted is sent,
 * close_notify, FIN, then input is drained and dropped for at most two seconds, so that the peer
 * sees FIN and never a reset (containerd resumes after the one and fails after the other).
 * !graceful: a broken body still ends by FIN (never close_notify), without waiting for room; a
 * server drains then too.  What is not flushed in ten seconds is given up; a second call with
 * !graceful does not wait for that.  Legal in any state.
 */
void stream_close(struct stream *s, bool graceful);
static inline bool stream_is_closed(const struct stream *s)
{
	return s->state == STREAM_CLOSED || s->state == STREAM_IDLE;
}
