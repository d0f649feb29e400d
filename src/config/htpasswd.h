/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lines user:hash as `htpasswd -B` writes them; of hashes, bcrypt alone.  Pure. */
#pragma once

#include <stdbool.h>

#include "base/assert.h"
#include "base/slice.h"

enum htpasswd_result { HTPASSWD_LINE, HTPASSWD_END, HTPASSWD_BAD };

enum {
	HTPASSWD_USER_MAX = 255,
	/* 2^14 rounds take a second and more: a helper's whole time for one login. */
	HTPASSWD_COST_MIN = 4,
	HTPASSWD_COST_MAX = 14,
	HTPASSWD_HASH_BYTES = 60,
};

/*
 * The next user and hash of *text, which goes on behind them; empty lines and comments (#) are left
 * out.  *line counts lines, from 0.  BAD: *why says what is wrong with that line.
 */
enum htpasswd_result htpasswd_next(struct slice *text, struct slice *user, struct slice *hash,
				   unsigned *line, const char **why) must_check;
