/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/base64.h"

static int digit_value(char c, enum base64_digits digits)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-' || c == '_')
		return c == '-' ? 62 : 63;
	if (digits == BASE64_EITHER && (c == '+' || c == '/'))
		return c == '+' ? 62 : 63;
	return -1;
}

size_t base64_decode(struct slice s, enum base64_digits digits, char *out, size_t room)
{
	unsigned bits = 0, have = 0;
	size_t n = 0;

	for (unsigned i = 0; i < 2 && slice_ends(s, SLICE("=")); i++)
		s.len--;
	for (size_t i = 0; i < s.len; i++) {
		int v = digit_value(s.ptr[i], digits);

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
