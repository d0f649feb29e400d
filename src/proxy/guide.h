/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a browser gets at / of one of our names: how to point clients at this mirror (howto.h), as
 * one HTML page without scripts and without anything from elsewhere.  Registries' clients ask for
 * paths under /v2/ and never for text/html, so they do not see it.  `page = no` in [server] keeps
 * it off.
 */
#pragma once

#include "base/arena.h"
#include "config/config.h"
#include "proxy/xfer.h"

/* Is this request for it?  Then it is answered. */
bool guide_route(struct xfer *x) must_check;
/* The page alone; NULL: no memory. */
char *guide_make(struct arena *a, const struct config *c) must_check;
