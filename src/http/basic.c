/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/basic.h"

#include "http/base64.h"

bool basic_parse(struct slice value, char mem[BASIC_MAX + 1], struct slice *user,
		 struct slice *password)
{
	struct slice rest = value, all;
	size_t n;

	if (!slice_ieq(slice_cut(&rest, ' '), SLICE("Basic")))
		return false;
	n = base64_decode(slice_trim(rest), BASE64_EITHER, mem, BASIC_MAX);
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
