/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One HTTP message head, request or response, whatever version carried it.  Slices point into the
 * buffer that was parsed (or the arena), which must outlive the message.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/slice.h"

enum http_method {
	METHOD_OTHER,
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_PATCH,
	METHOD_DELETE,
	METHOD_OPTIONS,
};

struct field {
	struct slice name;  /* as received; compare with slice_ieq */
	struct slice value; /* trimmed */
};

/* How the body is delimited. */
enum body_kind {
	BODY_NONE,
	BODY_LENGTH, /* body_bytes of them */
	BODY_CHUNKED,
	BODY_UNTIL_CLOSE, /* responses only */
};

struct msg {
	enum http_method method;
	struct slice method_text;
	struct slice target;    /* origin-form: path and query; absolute-form is reduced to it */
	struct slice authority; /* Host, or the absolute-form's; lower case not guaranteed */
	int status;             /* responses */
	uint8_t major;          /* HTTP/major.minor: 1, 2 */
	uint8_t minor;
	bool keep_alive; /* may another message follow on this connection? */
	bool expect_continue;
	enum body_kind body;
	uint64_t body_bytes; /* BODY_LENGTH */
	unsigned fields_count;
	struct field fields[HTTP_FIELDS_MAX];
};

/* First field of that name; none: {NULL,0}. */
struct slice msg_field(const struct msg *m, const char *name);
/* Next one: start with *at = 0; false when there are no more. */
bool msg_field_next(const struct msg *m, const char *name, unsigned *at, struct slice *value);
/* Does a comma separated list in any field of that name hold <token> (case folded)? */
bool msg_has_token(const struct msg *m, const char *name, struct slice token);
/* Reason phrase for the statuses that are registered; "Unknown" else. */
const char *http_reason(int status);
/* Not behind 1xx, 204 (RFC 9110 8.6) and 304, where a length would be another's. */
static inline bool http_may_have_length(int status)
{
	return status >= 200 && status != 204 && status != 304;
}
/* Digits only, no sign, no overflow. */
bool http_parse_uint(struct slice s, uint64_t *out) must_check;
/* IMF-fixdate of <unix_s>, NUL-terminated (RFC 9110 5.6.7). */
void http_format_date(int64_t unix_s, char out[32]);
/* Any of HTTP's three forms of a date. */
bool http_parse_date(struct slice text, int64_t *unix_s) must_check;
