/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Answers of an xfer: status, fields and body for each kind.  Every one ends in XFER_ANSWER. */
#pragma once

#include "proxy/small.h"
#include "proxy/xfer.h"

/* Left out when <value> is NULL (no memory) or the table is full. */
void answer_field(struct xfer *x, const char *name, const char *value);
void answer_text(struct xfer *x, int status, const char *type, const char *text);
/*
 * A page for browsers, which may load nothing from elsewhere, nor be put into a frame: <allow> is
 * what its Content-Security-Policy permits beyond that, directives with "; " between them.
 */
void answer_html(struct xfer *x, int status, const char *allow, const char *html);
/* An OCI error; <message> may come from outside. */
void answer_error(struct xfer *x, int status, const char *code, struct slice message);
/* No answer from upstream at all. */
void answer_failed(struct xfer *x, int err);
/* Upstream's refusal: its status is kept, but for one that is no error (502); else its failure. */
void answer_failure(struct xfer *x, const struct blob_failure *why);
/* GET or HEAD of what x->blob holds (its size may be unknown). */
void answer_blob(struct xfer *x, uint64_t size, bool known);
/* A manifest in memory, not looked at yet: answered only if its digest is right (else false). */
bool answer_manifest(struct xfer *x, struct slice body);
/* HEAD of a manifest that a tag record tells of. */
void answer_tag_head(struct xfer *x, const struct tag_record *r);
/*
 * An answer of upstream that is passed on, with status 200; <a> lives as long as the xfer.
 * <length>: of the body, which a HEAD does not have.
 */
void answer_small(struct xfer *x, const struct small *a, uint64_t length);
