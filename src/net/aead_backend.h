/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an implementation of net/aead.h's ciphers is; aead.c chooses among them.  The ipsec-mb
 * header and wolfSSL's define the same names, so each has a file of its own that knows one of them.
 */
#pragma once

#include "net/aead.h"

/* One message in hand.  The tag is behind the text, in <out> when sealing, in <in> when opening. */
struct aead_pass {
	const struct aead_key *key;
	const uint8_t *nonce;
	const uint8_t *aad;
	size_t aad_len;
	const uint8_t *in;
	size_t len;
	int tail; /* -1, or the byte behind the plaintext */
	uint8_t *out;
};

struct aead_backend {
	/* For one thread; NULL: no memory, or it does not run on this CPU. */
	void *(*open)(void);
	void (*close)(void *state); /* NULL allowed */
	const char *(*name)(const void *state);
	/* Wipes what it has expanded of this key. */
	void (*forget)(void *state, uint64_t id);
	void (*seal)(void *state, const struct aead_pass *p);
	/* false: forged; <out> may hold anything then. */
	bool (*unseal)(void *state, const struct aead_pass *p);
};

/* An engine of this one alone, for tests.  NULL: it does not run here. */
struct aead_engine *aead_engine_of(const struct aead_backend *b) must_check;

extern const struct aead_backend aead_wolfcrypt;
#ifdef __x86_64__
extern const struct aead_backend aead_ipsecmb;
#endif
