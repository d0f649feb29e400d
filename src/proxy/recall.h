/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an xfer looks up and keeps among the small answers (small.h): that what its digest names is
 * not there, and lists of referrers.  (That a tag is not there is kept by tagcheck.c.)
 */
#pragma once

#include "proxy/xfer.h"

/* The path and query that upstream is asked for, or NULL: no memory. */
const char *recall_target(struct xfer *x) must_check;
/* True: upstream said 404 within `negative`, and that is the answer. */
bool recall_missing(struct xfer *x) must_check;
/* Of a list of referrers.  True: upstream was asked a moment ago, and that is the answer. */
bool recall_referrers(struct xfer *x) must_check;
/* A whole answer with status 200. */
void recall_keep(struct xfer *x, const struct small *a);
/* Keeps a 404 of a digest or of referrers; any other failure is for this request alone. */
void recall_keep_missing(struct xfer *x, const struct blob_failure *why);
/* Gives back what an answer was read from. */
void recall_drop(struct xfer *x);
