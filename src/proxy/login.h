/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * /token/MIRROR of a mirror with auth = client: steps of an xfer that passes a client's credentials
 * on to the token server of upstream, and its answer back.
 *
 * Invariants
 *  1. Credentials go to the token server that upstream's own challenge named, by https, only if
 *     config_realm_ok(), and along no redirect to another origin; a form along none at all.
 *  2. Only the scopes of repositories of this mirror are asked for, and only to pull.
 *  3. What came with a request is wiped with it, the answer too; neither is ever logged.
 *
 * GET with Basic is what every token server knows (distribution's token.md); POST (oauth.md) is
 * what containerd tries first, and what docker and podman do with a refresh token.  A token server
 * that knows no POST is asked by GET for what the form says, if that is a password.
 */
#pragma once

#include "proxy/xfer.h"

#define LOGIN_PREFIX "/token/"

/* True: it is a token endpoint's; the state is set. */
bool login_route(struct xfer *x);
/* In XFER_TOKEN.  False: the owner will be woken. */
bool login_run(struct xfer *x);
/* In XFER_FORM: a piece of the request's body, the last one with <end>. */
void login_form(struct xfer *x, struct slice piece, bool end);
/* Wipes and frees what it holds. */
void login_fini(struct xfer *x);
