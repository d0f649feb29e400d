/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/nets.h"

static bool net_has(const struct conf_net *n, const uint8_t ip[16])
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	if (memcmp(n->ip, ip, whole) != 0)
		return false;
	return rest == 0 || (n->ip[whole] ^ ip[whole]) >> (8 - rest) == 0;
}

int nets_match(const struct conf_nets *list, const uint8_t ip[16])
{
	int best = -1;

	for (unsigned i = 0; i < list->count; i++)
		if ((int)list->v[i].bits > best && net_has(&list->v[i], ip))
			best = (int)list->v[i].bits;
	return best;
}

/* The last '*' alone has to be gone back to: bytes of the one times bytes of the other at most. */
bool pattern_is(const char *pattern, struct slice text)
{
	const char *star = NULL;
	size_t at = 0, from = 0;

	while (at < text.len) {
		if (*pattern == '*') {
			star = pattern++;
			from = at;
		} else if (*pattern && *pattern == text.ptr[at]) {
			pattern++;
			at++;
		} else if (star) {
			pattern = star + 1;
			at = ++from;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

bool patterns_have(const struct conf_names *list, struct slice text)
{
	for (unsigned i = 0; i < list->count; i++)
		if (pattern_is(list->v[i], text))
			return true;
	return false;
}
