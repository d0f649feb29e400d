/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What net/handshake.c and net/certlook.c need of net/tls.c; private to them. */
#pragma once

#include "net/tls.h"

struct WOLFSSL_CTX;

/* The certificate for <sni> ("" or unknown: the default).  Borrowed. */
struct WOLFSSL_CTX *tls_server_ctx(const struct tls_server *s, struct slice sni);
bool tls_server_asks(const struct tls_server *s);
bool tls_server_has_h2(const struct tls_server *s);
struct WOLFSSL_CTX *tls_client_ctx(const struct tls_client *c);
/* Also for net/certlook.c: the file of the system's trust roots. */
const char *tls_bundle_path(void);
/* The next certificate of a PEM file, with its marks, off the head of <left>; none: false. */
bool tls_pem_next(struct slice *left, struct slice *block);
