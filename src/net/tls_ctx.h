/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What net/handshake.c needs of net/tls.c; private to the two. */
#pragma once

#include "net/tls.h"

struct WOLFSSL_CTX;

/* The certificate for <sni> ("" or unknown: the default).  Borrowed. */
struct WOLFSSL_CTX *tls_server_ctx(const struct tls_server *s, struct slice sni);
bool tls_server_has_h2(const struct tls_server *s);
struct WOLFSSL_CTX *tls_client_ctx(const struct tls_client *c);
