/* SPDX-License-Identifier: GPL-3.0-or-later */
/* WWW-Authenticate (RFC 9110 11.6.1), as registries send it. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/slice.h"

enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };

struct challenge {
	enum challenge_scheme scheme;
	struct slice realm; /* unquoted, in the arena */
	struct slice service;
	struct slice scope;
	struct slice error;
};

/* The first Bearer, else the first Basic challenge of one field value; several may stand in it. */
bool challenge_parse(struct arena *a, struct slice value, struct challenge *out) must_check;
/* "Basic base64(user:password)"; NULL: no memory.  The arena's memory holds a secret then. */
char *basic_credentials(struct arena *a, struct slice user, struct slice password) must_check;

/* Link: <target>; rel="next" (RFC 8288).  False when there is none. */
bool link_next(struct slice value, struct slice *target);
