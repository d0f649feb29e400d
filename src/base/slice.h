/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A borrowed run of bytes: pointer and length, no NUL, no ownership.  {NULL, 0} is "none". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
	const char *ptr;
	size_t len;
};

#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })
#define SLICE_NONE ((struct slice){ NULL, 0 })
/* For printf("%.*s"). */
#define SLICE_FMT(s) (int)(s).len, (s).ptr ? (s).ptr : ""

static inline struct slice slice_of(const char *cstr)
{
	return (struct slice){ cstr, cstr ? strlen(cstr) : 0 };
}

static inline struct slice slice_range(const char *from, const char *to)
{
	return (struct slice){ from, (size_t)(to - from) };
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* In a time that depends on the lengths alone: for secrets and what is made of them. */
static inline bool slice_eq_secret(struct slice a, struct slice b)
{
	unsigned char differ = 0;

	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		differ |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
	return differ == 0;
}

/* ASCII case folded: header names, host names. */
static inline bool slice_ieq(struct slice a, struct slice b)
{
	if (a.len != b.len || a.len == 0)
		return a.len == b.len;
	/* Most that have the same length differ here. */
	return ((a.ptr[0] ^ b.ptr[0]) & ~0x20) == 0 && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

static inline bool slice_starts(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && memcmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

static inline bool slice_ends(struct slice s, struct slice suffix)
{
	return s.len >= suffix.len &&
	       memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

static inline struct slice slice_skip(struct slice s, size_t n)
{
	if (n > s.len)
		n = s.len;
	return (struct slice){ n ? s.ptr + n : s.ptr, s.len - n }; /* NULL + 0 is undefined in C */
}

static inline struct slice slice_first(struct slice s, size_t n)
{
	return (struct slice){ s.ptr, n < s.len ? n : s.len };
}

/* Offset of <c>, or s.len. */
static inline size_t slice_find(struct slice s, char c)
{
	const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;

	return p ? (size_t)(p - s.ptr) : s.len;
}

/* Without spaces and tabs at both ends. */
static inline struct slice slice_trim(struct slice s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
		s = slice_skip(s, 1);
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Cuts <s> at the first <sep>: returns what is before it, leaves in *s what is after it. */
static inline struct slice slice_cut(struct slice *s, char sep)
{
	size_t at = slice_find(*s, sep);
	struct slice head = slice_first(*s, at);

	*s = slice_skip(*s, at + 1);
	return head;
}
