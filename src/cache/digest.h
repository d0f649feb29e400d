/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Content digests, "sha256:<hex>" and "sha512:<hex>".  The only cache file that knows a crypto
 * library.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

enum digest_alg { DIGEST_SHA256, DIGEST_SHA512 };

enum { DIGEST_BYTES_MAX = 64, DIGEST_HEX_MAX = 128 + 1, DIGEST_TEXT_MAX = 7 + DIGEST_HEX_MAX };

struct digest {
	uint8_t alg;
	uint8_t bytes[DIGEST_BYTES_MAX]; /* unused ones are 0 */
};

bool digest_parse(struct slice text, struct digest *out) must_check;
void digest_format(const struct digest *d, char out[DIGEST_TEXT_MAX]); /* "sha256:..." */
void digest_format_hex(const struct digest *d, char out[DIGEST_HEX_MAX]);
size_t digest_bytes(enum digest_alg alg);
const char *digest_alg_name(enum digest_alg alg);
bool digest_eq(const struct digest *a, const struct digest *b);

/* Running hash; big enough for either, aligned by hand inside. */
struct digest_ctx {
	uint8_t alg;
	_Alignas(16) uint8_t state[512];
};
void digest_begin(struct digest_ctx *c, enum digest_alg alg);
void digest_update(struct digest_ctx *c, const void *p, size_t len);
/* Ends the context. */
void digest_end(struct digest_ctx *c, struct digest *out);

/* A stretch of the message of one of several running hashes. */
struct digest_part {
	struct digest_ctx *ctx;
	const void *p;
	size_t len;
};
enum { DIGEST_LANES = 4 };
/*
 * Hashes parts[0] as a whole, and of the others what costs little more at the same time, or
 * nothing: <p> and <len> become what is left.  All contexts differ; 1 to DIGEST_LANES parts.
 */
void digest_update_many(struct digest_part *parts, unsigned count);

/* Of what is in memory as a whole. */
void digest_of(enum digest_alg alg, struct slice bytes, struct digest *out);
