/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Authorization: Basic (RFC 7617), as a client sends it.  Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

enum { BASIC_MAX = 1024 }; /* user, ':' and password */

/*
 * <value> is the whole field.  user and password lie in <mem>, which is to be wiped, each with a
 * NUL behind it and none in it.  False: it is not Basic, malformed, or too long.
 */
bool basic_parse(struct slice value, char mem[BASIC_MAX + 1], struct slice *user,
		 struct slice *password) must_check;
