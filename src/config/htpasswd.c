/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/htpasswd.h"

#include <ctype.h>

/* "$2y$05$" and 53 of ./A-Za-z0-9 */
static const char *judge_hash(struct slice hash)
{
	static const char bad[] = "is no bcrypt hash; make the line by: htpasswd -nB USER";
	unsigned cost;

	if (hash.len != HTPASSWD_HASH_BYTES || !slice_starts(hash, SLICE("$2")) ||
	    !strchr("aby", hash.ptr[2]) || hash.ptr[3] != '$' || hash.ptr[6] != '$' ||
	    !isdigit((unsigned char)hash.ptr[4]) || !isdigit((unsigned char)hash.ptr[5]))
		return bad;
	for (size_t i = 7; i < hash.len; i++)
		if (!isalnum((unsigned char)hash.ptr[i]) && hash.ptr[i] != '.' &&
		    hash.ptr[i] != '/')
			return bad;
	cost = (unsigned)(hash.ptr[4] - '0') * 10 + (unsigned)(hash.ptr[5] - '0');
	if (cost < HTPASSWD_COST_MIN || cost > HTPASSWD_COST_MAX)
		return "has a cost that is not from 4 to 14; make the line by: htpasswd -nB USER";
	return NULL;
}

static const char *judge_user(struct slice user)
{
	if (user.len == 0 || user.len > HTPASSWD_USER_MAX)
		return "must have a user of 1 to 255 bytes before its ':'";
	for (size_t i = 0; i < user.len; i++)
		if ((unsigned char)user.ptr[i] <= ' ' || user.ptr[i] == 0x7f)
			return "must have a user without spaces and control characters";
	return NULL;
}

enum htpasswd_result htpasswd_next(struct slice *text, struct slice *user, struct slice *hash,
				   unsigned *line, const char **why)
{
	while (text->len) {
		struct slice rest = slice_cut(text, '\n');

		++*line;
		if (slice_ends(rest, SLICE("\r")))
			rest.len--;
		rest = slice_trim(rest);
		if (rest.len == 0 || rest.ptr[0] == '#')
			continue;
		*why = "must be user:hash; there is no ':'";
		if (slice_find(rest, ':') == rest.len)
			return HTPASSWD_BAD;
		*user = slice_cut(&rest, ':');
		*hash = rest;
		*why = judge_user(*user);
		if (!*why)
			*why = judge_hash(*hash);
		return *why ? HTPASSWD_BAD : HTPASSWD_LINE;
	}
	return HTPASSWD_END;
}
