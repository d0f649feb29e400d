/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "http/range.h"
#include "proxy/fetch_private.h"
#include "proxy/oci.h"

static void fetch_body_done(struct fetch *f)
{
	loop_timer_clear(f->proxy->loop, &f->timer);
	f->state = FETCH_DONE;
	fetch_drop_token(f, false);
	if (f->conn)
		fetch_release(f, true);
}

int fetch_pull(struct fetch *f, struct buf *into)
{
	int n;

	if (f->state == FETCH_DONE)
		return ERR_EOF;
	if (f->state == FETCH_FAILED)
		return f->err;
	assert(f->state == FETCH_BODY);
	assert(buf_room(into) > 0);
	n = upread_pull(&f->read, f->conn, into);
	if (n > 0) {
		if (!f->o.place) {
			stat_add(&f->proxy->stats, STAT_BYTES_UP, n);
			if (f->o.mirror->meter)
				counter_add(&f->o.mirror->meter->bytes_up, (uint64_t)n);
		}
		loop_timer_clear(f->proxy->loop, &f->timer);
		return n;
	}
	if (n == 0) {
		if (!timer_armed(&f->timer))
			fetch_arm(f, upconn_idle_ms(f->conn));
		return 0;
	}
	if (n == ERR_EOF)
		fetch_body_done(f);
	else
		fetch_fail(f, n);
	return n;
}

bool fetch_is_rest(const struct fetch *f, uint64_t from, uint64_t total)
{
	uint64_t first, last, of;

	return f->msg.status == 206 &&
	       content_range_parse(msg_field(&f->msg, "Content-Range"), &first, &last, &of) &&
	       first == from && last + 1 == of && (total == BLOB_SIZE_UNKNOWN || of == total);
}

bool fetch_is_range(const struct fetch *f, uint64_t from, uint64_t to, uint64_t total)
{
	uint64_t first, last, of;

	return f->msg.status == 206 &&
	       content_range_parse(msg_field(&f->msg, "Content-Range"), &first, &last, &of) &&
	       first == from && last == to && of == total &&
	       (f->msg.body != BODY_LENGTH || f->msg.body_bytes == to - from + 1);
}

bool fetch_is_whole(const struct fetch *f, uint64_t total)
{
	const struct msg *m = &f->msg;

	return m->status == 200 &&
	       (m->body != BODY_LENGTH || total == BLOB_SIZE_UNKNOWN || m->body_bytes == total);
}

/* Grows by doubling up to <max>; 0 or an error. */
static int grow(struct buf *b, size_t max)
{
	size_t cap = b->cap ? b->cap * 2 : 16 * 1024;
	char *mem;

	if (buf_room(b) > 0)
		return 0;
	if (b->cap >= max)
		return ERR_LONG;
	if (cap > max)
		cap = max;
	mem = realloc(b->mem, cap);
	if (!mem)
		return -ENOMEM;
	b->mem = mem;
	b->cap = cap;
	return 0;
}

int fetch_skip(struct fetch *f, uint64_t *left, char *mem, size_t cap)
{
	struct buf scratch;
	int n;

	while (*left > 0) {
		buf_init(&scratch, mem, *left < cap ? (size_t)*left : cap);
		n = fetch_pull(f, &scratch);
		if (n <= 0)
			return n == ERR_EOF ? ERR_SHORT : n;
		*left -= (uint64_t)n;
	}
	return 1;
}

int fetch_pull_all(struct fetch *f, struct buf *body, size_t max)
{
	int n;

	do {
		n = grow(body, max);
		if (n == 0)
			n = fetch_pull(f, body);
	} while (n > 0);
	return n;
}

bool fetch_refusal(struct fetch *f, struct buf *body, struct blob_failure *why)
{
	struct slice text;

	if (f->told) {
		*why = *f->refusal;
		return true;
	}
	if (fetch_pull_all(f, body, ERROR_BODY_MAX) == 0)
		return false;
	text = oci_error_message(&f->arena, buf_data(body));
	*why = (struct blob_failure){ .status = f->msg.status };
	snprintf(why->message, sizeof(why->message), "%.*s", SLICE_FMT(text));
	return true;
}
