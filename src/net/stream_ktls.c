/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A stream that sends by the kernel's TLS (ktls.h); receiving stays as it is. */
#include "net/stream_private.h"

#include <errno.h>

#include "base/err.h"
#include "base/log.h"
#include "net/ktls.h"

/* A poll says that there is room before the ULP has used it: a few looks are enough. */
enum { LOOKS_MAX = 64 };

bool stream_ktls_may(const struct stream *s)
{
	const struct ktls *k = s->net->ktls;

	return k && s->tls && !s->client && !s->h2 && !s->ktls_refused &&
	       s->tx_bytes >= FIRST_RECORDS_UNTIL && !s->key_update_owed && ktls_seals(k, &s->tx);
}

bool stream_ktls_begin(struct stream *s)
{
	static bool said;
	int err;

	assert(!s->ktls && stream_tx_idle(s));
	if (!stream_ktls_may(s) || record_tx_spent(&s->tx))
		return false;
	err = ktls_begin(&s->ktls_tx, s->fd, &s->tx);
	s->ktls = err == 0;
	s->ktls_refused = err < 0;
	if (err == 0)
		stat_inc(s->net->stats, STAT_TLS_KERNEL_CONNECTIONS);
	else if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
		log_warn("tls ktls refused by the kernel: %s; such connections (%s) go on by our "
			 "own records; said once",
			 err_text(err), s->tls_text);
	return s->ktls;
}

/* A key is used up, or its successor was asked for, and this kernel cannot have one. */
static void end_of_key(struct stream *s)
{
	/* The peer is told, unless that would take one record more than the key may seal. */
	if (s->key_update_owed && !s->notified)
		stream_ktls_alert(s, SLICE("\1\0"), true);
	stream_fail(s, s->key_update_owed ? ERR_EOF : ERR_TLS_LIMIT);
}

bool stream_ktls_settle(struct stream *s, size_t n)
{
	int err;

	if (!s->key_update_owed && ktls_may_send(&s->ktls_tx, s->fd, &s->tx, n))
		return true;
	if (s->tx.k.minor != 4 || !s->net->ktls->rekeys) {
		end_of_key(s);
		return false;
	}
	err = ktls_control(&s->ktls_tx, s->fd, RECORD_HANDSHAKE, SLICE("\x18\0\0\1\0"));
	if (err == 0)
		err = ktls_rekey(&s->ktls_tx, s->fd, &s->tx, s->net->aead);
	if (err < 0 && err != -EAGAIN)
		stream_fail(s, err);
	s->key_update_owed = s->key_update_owed && err < 0;
	return err == 0;
}

void stream_ktls_alert(struct stream *s, struct slice alert, bool is_notify)
{
	int err = ktls_control(&s->ktls_tx, s->fd, RECORD_ALERT, alert);

	/* The peer that is told of its fault need not hear it. */
	s->notified = err != -EAGAIN || !is_notify;
	if (!s->notified)
		stream_tx_wait(s);
	else if (err < 0 && err != -EAGAIN)
		stream_fail(s, err);
}

bool stream_ktls_flush(struct stream *s)
{
	if (ktls_flushed(&s->ktls_tx, s->fd, &s->tx) || s->ktls_looks == LOOKS_MAX)
		return true;
	s->ktls_looks++;
	stream_tx_wait(s);
	return false;
}
