/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What every version of HTTP does with an xfer's answer: which fields its head has, whether a body
 * follows, what is counted and logged.  The bytes are made by client_h1.c and call.c; both read the
 * body by body_read(), so whoever sends decides when and how much.
 */
#pragma once

#include "net/stream.h"
#include "proxy/xfer.h"

/* Fields of a head, in order; those of the connection itself are not among them. */
struct reply_head {
	struct xfer_field fields[XFER_FIELDS_MAX + HTTP_FIELDS_MAX + 2];
	unsigned count;
	char length[24];
};

/* The xfer must be in XFER_ANSWER; <h> points into itself and into the xfer. */
void reply_head(const struct xfer *x, struct reply_head *h);
bool reply_has_body(const struct xfer *x);
/* Why its body cannot be read to its end, for reply_log(). */
const char *reply_broken(const struct xfer *x);
/* Once, when the answer stands. */
void reply_count(struct xfer *x);
/* Once, when nothing more is sent; <end>: why it ended early, NULL: it did not. */
void reply_log(struct xfer *x, const struct stream *s, const char *end);
