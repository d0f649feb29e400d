/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A request for a [site]: an xfer whose answer is what the site's upstream says (visit.h), body and
 * all.  Nothing of it is cached.
 */
#pragma once

#include "proxy/xfer.h"

/* At the start: is it for a site?  Then the visit is made, while the message is there. */
bool site_take(struct xfer *x, const struct xfer_request *r) must_check;
/* In SITE.  True: the answer stands. */
bool site_run(struct xfer *x);
/* The answer came with a Date of its own. */
bool site_has_date(const struct xfer *x);
