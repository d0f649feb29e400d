/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Requests to a mirror with auth = client: steps of an xfer before it may look into the cache.
 *
 * Invariants
 *  1. Nothing is served, cached or not, that upstream has not allowed to this client, in this
 *     repository, by this digest; a grant of gate.h is the only memory of that.  An upstream that
 *     cannot be asked is an error: nothing old is served instead.
 *  2. What upstream says about a redirect is not taken for a yes: the redirect is followed to its
 *     end, without the client's Authorization.  Nor is a 200 that does not speak of this content:
 *     a manifest's digest or type, a blob's size must be in it (private_fits()), so that a page
 *     with status 200 ("maintenance") opens nothing.
 *  3. A client's credentials go to the token server that upstream's own challenge named, by https
 *     and only if config_realm_ok(); his token to upstream's own origin.  Neither is kept.
 *  4. By plain HTTP it is served only if a balancer says that the client's side has TLS.
 *
 * A client learns from the 401's challenge to ask /token/MIRROR here: login.h.
 */
#pragma once

#include "proxy/xfer.h"

static inline bool private_is(const struct xfer *x)
{
	return x->mirror && x->mirror->conf->auth == AUTH_CLIENT;
}

/* The one that it has. */
static inline struct upstream *private_up(const struct xfer *x)
{
	return &x->mirror->ups[0];
}

/* Is there TLS before the client?  False: that is answered. */
bool private_is_safe(struct xfer *x);
/* True: it is such a mirror's /v2/; the state is set. */
bool private_ping_route(struct xfer *x);
/* Asks upstream's /v2/. */
void private_ask_ping(struct xfer *x, const char *authorization);
/*
 * In XFER_PING, and XFER_PRIVATE, which ends in XFER_ANSWER, XFER_LOOKUP or XFER_RELAY.
 * False: the owner will be woken.
 */
bool private_run(struct xfer *x);
/*
 * May what the cache has be it, going by the size that upstream told?  What was filled for this
 * client alone may.
 */
bool private_fits(const struct xfer *x, uint64_t bytes);
/* WWW-Authenticate of a 401; NULL: upstream's wish is not known, or no memory. */
const char *private_challenge(struct xfer *x);
/* The client's Authorization is not needed any more. */
void private_forget(struct xfer *x);
