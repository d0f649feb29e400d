/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TLS configuration: certificates chosen by SNI (server side), trust roots (client side).
 * Immutable once made, shared by all workers, reference counted so that a reload can swap it.
 * Nothing of wolfSSL shows here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

struct tls_server;
struct tls_client;

struct tls_cert_opts {
	const char *name;  /* of the [certificate] section, for messages */
	const char *chain; /* PEM file: leaf first */
	const char *key;   /* PEM file */
};

/*
 * The first certificate is the default.  On failure NULL, and <err> gets a sentence that names the
 * file, what is wrong with it and what to do.
 */
struct tls_server *tls_server_new(const struct tls_cert_opts *certs, size_t count, bool h2,
				  char *err, size_t err_len) must_check;
/*
 * Before its first use: clients are asked for a certificate of one of these (PEM file), and may do
 * without.  Nothing is resumed then: a ticket would not say whose it is.  false: as above.
 */
bool tls_server_ask(struct tls_server *s, const char *client_ca, char *err,
		    size_t err_len) must_check;
struct tls_server *tls_server_ref(struct tls_server *s);
void tls_server_unref(struct tls_server *s);
/* When certificate number <i> ends, as Unix time. */
int64_t tls_server_expires(const struct tls_server *s, size_t i) must_check;

/* Trust roots: the system's bundle, and <extra_ca> (PEM file) when not NULL. */
struct tls_client *tls_client_new(const char *extra_ca, char *err, size_t err_len) must_check;
struct tls_client *tls_client_ref(struct tls_client *c);
void tls_client_unref(struct tls_client *c);

/* Once per process, before anything else / at the end. */
int tls_global_init(void) must_check;
void tls_global_fini(void);
