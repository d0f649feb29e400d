/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/challenge.h"

/*
 * A field value holds challenges, and each challenge parameters, both separated by commas: a word
 * with "=" behind it is a parameter of the challenge before it, any other begins a challenge.
 */

/* strchr() would find a NUL in any set. */
static bool is_in(char c, const char *set)
{
	return c != '\0' && strchr(set, c);
}

static struct slice take_until(struct slice *s, const char *stops)
{
	struct slice taken;
	size_t n = 0;

	while (n < s->len && !is_in(s->ptr[n], stops))
		n++;
	taken = slice_first(*s, n);
	*s = slice_skip(*s, n);
	return taken;
}

static void skip_any(struct slice *s, const char *set)
{
	size_t n = 0;

	while (n < s->len && is_in(s->ptr[n], set))
		n++;
	*s = slice_skip(*s, n);
}

/* A quoted-string (RFC 9110 5.6.4) at the head, still escaped, or none: it has no end. */
static struct slice take_quoted(struct slice *s)
{
	struct slice text;
	size_t end = 1;

	assert(s->ptr[0] == '"');
	while (end < s->len && s->ptr[end] != '"')
		end += s->ptr[end] == '\\' ? 2 : 1;
	if (end >= s->len)
		return SLICE_NONE;
	text = slice_range(s->ptr + 1, s->ptr + end);
	*s = slice_skip(*s, end + 1);
	return text;
}

static char *unescape(struct arena *a, struct slice text)
{
	char *p = arena_alloc(a, text.len + 1);
	size_t n = 0;

	for (size_t i = 0; p && i < text.len; i++) {
		if (text.ptr[i] == '\\')
			i++;
		p[n++] = text.ptr[i];
	}
	return p;
}

/* Unquoted values go up to a comma or a space: registries write scopes so, against the RFC. */
static bool take_value(struct arena *a, struct slice *s, struct slice *value)
{
	struct slice text;
	char *p;

	if (s->len > 0 && s->ptr[0] == '"') {
		text = take_quoted(s);
		if (!text.ptr)
			return false;
		p = unescape(a, text);
	} else {
		p = arena_dup(a, take_until(s, " \t,\""));
	}
	*value = slice_of(p);
	return p != NULL;
}

static enum challenge_scheme scheme_of(struct slice word)
{
	if (slice_ieq(word, SLICE("Bearer")))
		return CHALLENGE_BEARER;
	return slice_ieq(word, SLICE("Basic")) ? CHALLENGE_BASIC : CHALLENGE_NONE;
}

static void set_param(struct challenge *c, struct slice name, struct slice value)
{
	struct slice *to = slice_ieq(name, SLICE("realm"))     ? &c->realm
			   : slice_ieq(name, SLICE("service")) ? &c->service
			   : slice_ieq(name, SLICE("scope"))   ? &c->scope
			   : slice_ieq(name, SLICE("error"))   ? &c->error
							       : NULL;

	if (to && !to->ptr)
		*to = value;
}

/* The better of what was chosen and what was just completed; the first of two of a kind stays. */
static void choose(struct challenge *out, const struct challenge *c)
{
	if (c->scheme > out->scheme)
		*out = *c;
}

bool challenge_parse(struct arena *a, struct slice value, struct challenge *out)
{
	struct challenge c = { 0 };

	*out = c;
	for (;;) {
		struct slice word, text;

		skip_any(&value, " \t,");
		if (value.len == 0)
			break;
		word = take_until(&value, " \t,=\"");
		if (word.len == 0)
			return false;
		skip_any(&value, " \t");
		if (value.len == 0 || value.ptr[0] != '=') {
			choose(out, &c);
			c = (struct challenge){ .scheme = scheme_of(word) };
			continue;
		}
		value = slice_skip(value, 1);
		skip_any(&value, " \t");
		if (!take_value(a, &value, &text))
			return false;
		set_param(&c, word, text);
	}
	choose(out, &c);
	return out->scheme != CHALLENGE_NONE;
}

char *basic_credentials(struct arena *a, struct slice user, struct slice password)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const struct slice head = SLICE("Basic ");
	size_t len = user.len + 1 + password.len;
	char *p = arena_alloc(a, head.len + (len + 2) / 3 * 4 + 1);
	char *to = p;
	unsigned bits = 0;

	if (!p)
		return NULL;
	memcpy(to, head.ptr, head.len);
	to += head.len;
	/* The plain text is never put together: one copy of a secret less. */
	for (size_t i = 0; i < (len + 2) / 3 * 3; i++) {
		unsigned char c = 0;

		if (i < user.len)
			c = (unsigned char)user.ptr[i];
		else if (i == user.len)
			c = ':';
		else if (i < len)
			c = (unsigned char)password.ptr[i - user.len - 1];
		bits = bits << 8 | c;
		if (i % 3 != 2)
			continue;
		for (int shift = 18; shift >= 0; shift -= 6)
			*to++ = digits[bits >> shift & 63];
	}
	for (size_t pad = (3 - len % 3) % 3; pad > 0; pad--)
		to[-(ptrdiff_t)pad] = '=';
	return p;
}

/* Does the value of a rel parameter hold "next" among its words (RFC 8288 3.3)? */
static bool rel_is_next(struct slice rel)
{
	while (rel.len > 0)
		if (slice_ieq(slice_trim(slice_cut(&rel, ' ')), SLICE("next")))
			return true;
	return false;
}

/* The parameters of one link, up to the comma behind them. */
static bool link_params_say_next(struct slice *s)
{
	struct slice name, value;
	bool next = false;

	for (;;) {
		skip_any(s, " \t;");
		if (s->len == 0 || s->ptr[0] == ',')
			return next;
		name = take_until(s, " \t=;,");
		skip_any(s, " \t");
		if (s->len == 0 || s->ptr[0] != '=')
			continue;
		*s = slice_skip(*s, 1);
		skip_any(s, " \t");
		value = s->len > 0 && s->ptr[0] == '"' ? take_quoted(s) : take_until(s, " \t;,");
		if (!value.ptr) /* a quote without its end */
			*s = SLICE_NONE;
		next |= slice_ieq(name, SLICE("rel")) && rel_is_next(value);
	}
}

bool link_next(struct slice value, struct slice *target)
{
	for (;;) {
		size_t end;

		skip_any(&value, " \t,");
		end = slice_find(value, '>');
		if (value.len == 0 || value.ptr[0] != '<' || end == value.len)
			return false;
		*target = slice_range(value.ptr + 1, value.ptr + end);
		value = slice_skip(value, end + 1);
		if (link_params_say_next(&value))
			return true;
	}
}
