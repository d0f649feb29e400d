/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Answers of the admin listener: what there is to see (admin.h), and a page that shows it.
 *
 * Invariants
 *  1. Who is not on this machine sees nothing but /healthz without a login of admin_htpasswd.
 *  2. Who is on this machine needs none, but must have asked by a name of this machine: a page of
 *     somebody else whose name was made to lead here (DNS rebinding) gets nothing.
 *  3. The page is one file: it loads nothing but what this listener says, and no script runs in it
 *     but its own (Content-Security-Policy).
 */
#pragma once

#include "proxy/xfer.h"

/* In XFER_ROUTE.  True: it is answered.  False: the owner will be woken. */
bool page_admin(struct xfer *x) must_check;
