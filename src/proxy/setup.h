/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a reload replaces as a whole: the configuration and the TLS contexts made of it.
 *
 * Invariants
 *  1. Immutable once made; reference counted, from any thread.
 *  2. All of it was made, or none: a mistake in the new one leaves the old one as it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "net/tls.h"
#include "proxy/quota.h"

struct setup {
	struct config *config;
	struct tls_server *tls;         /* NULL: no https listener */
	struct tls_client **mirror_tls; /* trust roots, one per mirror */
	struct quotas **quotas;         /* one per upstream, all mirrors' in order; not immutable */
	unsigned refs;                  /* private */
};

/*
 * Takes over the reference on <c> in any case.  Reads certificates, keys and trust roots.  NULL:
 * <why> names the file and what is wrong.
 */
struct setup *setup_new(struct config *c, char *why, size_t why_len) must_check;
struct setup *setup_ref(struct setup *s);
void setup_unref(struct setup *s);
