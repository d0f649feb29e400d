/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Our own tokens: what a client of a tenant with htpasswd gets for his password, and shows as
 * Bearer.  "sluice1.USER.END.SEAL": user in hex, unix time in decimal, a SHA-256 in hex that only
 * who knows the user's bcrypt hash can make.  So it needs no memory, is good on every node that has
 * the same file and over restarts, and a new password ends it.  Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"

enum { BADGE_LIFE_S = 3600, BADGE_USER_MAX = 255 };

/* NULL: no memory. */
char *badge_make(struct arena *a, struct slice user, struct slice hash, int64_t now_s) must_check;
/*
 * Is <value> (of Authorization) one of these?  Whose it says it is; nothing of it is believed
 * yet.
 */
bool badge_user(struct slice value, char user[BADGE_USER_MAX + 1]) must_check;
/* Is it good, of that user with that hash? */
bool badge_is_good(struct slice value, struct slice user, struct slice hash,
		   int64_t now_s) must_check;
