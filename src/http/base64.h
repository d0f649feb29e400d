/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Base64 (RFC 4648) as others write it.  Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

enum base64_digits {
	BASE64_URL,    /* section 5: '-' and '_' */
	BASE64_EITHER, /* those, or '+' and '/' */
};

/*
 * The bytes of <s>, with or without its padding, into out[0..room); their number, or SIZE_MAX: it
 * is no base64, or too long.
 */
size_t base64_decode(struct slice s, enum base64_digits digits, char *out, size_t room) must_check;
