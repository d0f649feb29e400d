/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For a client that knows one version and one suite only. */
#pragma once

#include "net/tls.c"
#include "net_rig.h"

/* From here on the client offers this suite only, and the version that it belongs to. */
static void only(struct rig *r, const char *suite)
{
	struct tls_client *c = calloc(1, sizeof(*c));
	struct reason why = { (char[256]){ "" }, 256 };
	bool is_13 = strncmp(suite, "TLS13-", 6) == 0;

	assert(c != NULL);
	c->refs = 1;
	c->ctx = wolfSSL_CTX_new(is_13 ? wolfTLSv1_3_client_method() : wolfTLSv1_2_client_method());
	check_eq(ctx_setup(c->ctx, why), 0);
	check_eq(roots_load(c->ctx, tls_bundle_path(), true, why), 0);
	check_eq(wolfSSL_CTX_set_cipher_list(c->ctx, suite), WOLFSSL_SUCCESS);
	tls_client_unref(r->tc);
	r->tc = c;
}
