/* SPDX-License-Identifier: GPL-3.0-or-later */
/* application/x-www-form-urlencoded bodies, as OAuth2 clients send them (RFC 6749, appendix B). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/slice.h"

struct form_field {
	const char *name;
	struct slice value; /* in the form's memory; none: it does not stand there */
};

/*
 * Decodes the form where it stands, and finds what is asked for in <fields>; other names are passed
 * over.  False: a bad escape, a control character, or one of <fields> twice.
 */
bool form_parse(char *text, size_t len, struct form_field *fields, unsigned count) must_check;
/* "name=value", escaped, behind '&' if something stands there.  False: it does not fit. */
bool form_add(struct buf *to, const char *name, struct slice value) must_check;
