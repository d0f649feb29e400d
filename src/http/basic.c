/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/basic.h"

static int digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* Base64 with or without its padding; SIZE_MAX: it is none, or too long. */
static size_t decode(struct slice s, char *out, size_t room)
{
	unsigned bits = 0, have = 0;
	size_t n = 0;

	for (unsigned i = 0; i < 2 && slice_ends(s, SLICE("=")); i++)
		s.len--;
	for (size_t i = 0; i < s.len; i++) {
		int v = digit_value(s.ptr[i]);

		if (v < 0)
			return SIZE_MAX;
		bits = (bits << 6 | (unsigned)v) & 0xffff;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (n == room)
			return SIZE_MAX;
		out[n++] = (char)(bits >> have);
	}
	return have < 6 ? n : SIZE_MAX;
}

bool basic_parse(struct slice value, char mem[BASIC_MAX + 1], struct slice *user,
		 struct slice *password)
{
	struct slice rest = value, all;
	size_t n;

	if (!slice_ieq(slice_cut(&rest, ' '), SLICE("Basic")))
		return false;
	n = decode(slice_trim(rest), mem, BASIC_MAX);
	if (n == SIZE_MAX || memchr(mem, '\0', n))
		return false;
	mem[n] = '\0';
	all = (struct slice){ mem, n };
	if (slice_find(all, ':') == n)
		return false;
	*user = slice_cut(&all, ':');
	*password = all;
	mem[user->len] = '\0';
	return user->len > 0;
}
