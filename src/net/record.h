/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TLS 1.2 and 1.3 records (RFC 8446 section 5, RFC 5246/5288/7905) over an AEAD engine: sealing,
 * opening, sequence numbers and their limits, KeyUpdate key derivation.  No sockets, no wolfSSL
 * object.
 *
 * Invariant: a (key, sequence number) pair is used once.  Keys are wiped by _fini on every path.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "net/aead.h"

enum record_type { RECORD_CCS = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };

/* What leaves the handshake, for one direction. */
struct record_keys {
	uint8_t minor; /* 3: TLS 1.2, 4: TLS 1.3 */
	enum aead_cipher cipher;
	uint8_t key[32];
	uint8_t iv[12];     /* TLS 1.2 GCM: 4 bytes of implicit nonce */
	uint64_t seq;       /* of the next record */
	uint8_t secret[48]; /* TLS 1.3: traffic secret, for KeyUpdate */
	uint8_t secret_len;
};

struct record_tx {
	struct record_keys k;
	struct aead_key key;
	uint64_t explicit_nonce; /* TLS 1.2 GCM */
};

struct record_rx {
	struct record_keys k;
	struct aead_key key;
};

/* TLS 1.3: key and IV from the secret (RFC 8446 7.3). */
void record_keys_derive(struct record_keys *k);

/* The keys are copied. */
void record_tx_init(struct record_tx *t, struct aead_engine *e, const struct record_keys *k);
void record_rx_init(struct record_rx *r, struct aead_engine *e, const struct record_keys *k);
void record_tx_fini(struct record_tx *t);
void record_rx_fini(struct record_rx *r);

/* Bytes that sealing <len> bytes of payload (<= TLS_PLAIN_MAX) takes. */
size_t record_sealed_bytes(const struct record_tx *t, size_t len);
/* Seals one record into <out>; <in> may not overlap it.  Returns the bytes written. */
size_t record_seal(struct record_tx *t, struct aead_engine *e, enum record_type type,
		   struct slice in, uint8_t *out);
/* Records that a key may seal, from its first on. */
uint64_t record_tx_max(const struct record_tx *t);
/*
 * Must the key be changed (1.3) or the connection ended (1.2) before the next record? (RFC 8446
 * 5.5)
 */
bool record_tx_spent(const struct record_tx *t);

/*
 * Length of the whole record at the head of <raw>: > 0; 0: not known yet; ERR_TLS_RECORD: not
 * TLS, or too long.
 */
int record_size(struct slice raw) must_check;
/*
 * Opens the whole record at raw.ptr into <out> (room for raw.len bytes).  Returns the payload's
 * length and the inner *type, or ERR_TLS_RECORD.  <out> may be the same memory as raw.ptr +
 * TLS_HEADER.
 */
int record_open(struct record_rx *r, struct aead_engine *e, struct slice raw, uint8_t *out,
		enum record_type *type) must_check;

/* RFC 8446 7.2: next generation of keys. */
void record_tx_update(struct record_tx *t, struct aead_engine *e);
void record_rx_update(struct record_rx *r, struct aead_engine *e);
