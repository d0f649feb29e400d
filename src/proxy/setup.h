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
	struct tls_client **mirror_tls; /* trust roots, one per mirror, then per site */
	struct quotas **quotas;         /* one per upstream, all mirrors' in order; not immutable */
	unsigned refs;                  /* private */
};

/*
 * The accounts of a mirror's upstream number <up>, as its quotas count them: one for each of its
 * credentials; else, for nobody, one for each address of the bind of its pool.
 */
struct setup_account {
	const struct conf_account *login; /* NULL: nobody */
	unsigned source;                  /* own address to go from, 1 is the first; 0: any */
	const char *source_text;          /* that address, or "" */
};
unsigned setup_accounts(const struct config *c, const struct conf_mirror *m,
			unsigned up) must_check;
struct setup_account setup_account(const struct config *c, const struct conf_mirror *m, unsigned up,
				   unsigned account);
/* The same login, or the same address? */
bool setup_account_is(struct setup_account a, struct setup_account b) must_check;

/*
 * Takes over the reference on <c> in any case.  Reads certificates, keys and trust roots.  NULL:
 * <why> names the file and what is wrong.  <before>: rests and quotas of accounts that were in it
 * go on; NULL at the start.
 */
struct setup *setup_new(struct config *c, const struct setup *before, char *why,
			size_t why_len) must_check;
/* The same without certificates: for who asks upstreams and serves nobody. */
struct setup *setup_upstreams(struct config *c, char *why, size_t why_len) must_check;
struct setup *setup_ref(struct setup *s);
void setup_unref(struct setup *s);
