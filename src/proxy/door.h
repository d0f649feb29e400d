/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whose a request is, and whether it may come in: steps of an xfer before it is routed, and, when
 * it is known what it asks for, whether its tenant may have that.
 *
 * Invariants
 *  1. A secret leaves the target before anything else looks at it, and is in no log, no error and
 *     nothing that goes upstream; answers that name a path of ours (Link, a challenge) give it
 *     back to the one who showed it.
 *  2. Secrets are compared in constant time, all of them each time; a user that does not exist
 *     costs what a wrong password costs; a secret whose tenant has other conditions that are not
 *     met is answered like a wrong one.
 *  3. Without tenants everybody may come in.  With some, who fits none is refused: 401 if a login
 *     would help, else 403; but /v2/ itself is answered where there are secrets.
 *  4. Of those that fit, a secret goes before a certificate, that before a login, that before
 *     addresses, of which the narrowest network counts; then the file's order.
 *  5. A login here (Basic, or Bearer with our badge.h) is never passed on.  For a mirror with
 *     auth = client, Authorization is the registry's: it is not looked at here.
 */
#pragma once

#include "proxy/xfer.h"

/* Takes a secret off x->target. */
void door_begin(struct xfer *x);
/*
 * In XFER_ROUTE.  True: the tenant is known, or nobody need be one, or it is answered
 * (XFER_ANSWER).  False: the owner will be woken.
 */
bool door_run(struct xfer *x);
/* x->mirror is known; with `image`, x->route.repo too: may it?  False: answered. */
bool door_lets(struct xfer *x, bool image) must_check;
/* What stands before our paths for this client: "" or "/SECRET"; NULL: no memory. */
const char *door_prefix(struct xfer *x);
/* x->target as it may be logged. */
struct slice door_target(struct xfer *x);
/* Nothing is waited for any more. */
void door_leave(struct xfer *x);
