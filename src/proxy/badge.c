/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/badge.h"

#include <stdio.h>

#include "base/units.h"
#include "cache/digest.h"

#define HEAD "sluice1."

static void add_part(struct digest_ctx *ctx, struct slice part)
{
	uint64_t len = part.len;

	digest_update(ctx, &len, sizeof(len));
	if (part.len)
		digest_update(ctx, part.ptr, part.len);
}

/* Twice, so that nobody goes on from the first one's end (HMAC's reason, too). */
static void seal(struct slice user, struct slice hash, struct slice end, char out[DIGEST_HEX_MAX])
{
	struct digest_ctx ctx;
	struct digest d;

	digest_begin(&ctx, DIGEST_SHA256);
	add_part(&ctx, SLICE(HEAD));
	add_part(&ctx, hash);
	add_part(&ctx, user);
	add_part(&ctx, end);
	digest_end(&ctx, &d);
	digest_begin(&ctx, DIGEST_SHA256);
	add_part(&ctx, hash);
	add_part(&ctx, (struct slice){ (const char *)d.bytes, digest_bytes(DIGEST_SHA256) });
	digest_end(&ctx, &d);
	digest_format_hex(&d, out);
}

char *badge_make(struct arena *a, struct slice user, struct slice hash, int64_t now_s)
{
	char hex[2 * BADGE_USER_MAX + 1], end[24], sum[DIGEST_HEX_MAX];

	assert(user.len <= BADGE_USER_MAX);
	for (size_t i = 0; i < user.len; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char)user.ptr[i]);
	snprintf(end, sizeof(end), "%lld", (long long)now_s + BADGE_LIFE_S);
	seal(user, hash, slice_of(end), sum);
	return arena_printf(a, HEAD "%.*s.%s.%s", (int)(2 * user.len), hex, end, sum);
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What is behind the head; none: it is not ours. */
static struct slice body_of(struct slice value)
{
	if (!slice_ieq(slice_cut(&value, ' '), SLICE("Bearer")))
		return SLICE_NONE;
	value = slice_trim(value);
	return slice_starts(value, SLICE(HEAD)) ? slice_skip(value, strlen(HEAD)) : SLICE_NONE;
}

bool badge_user(struct slice value, char user[BADGE_USER_MAX + 1])
{
	struct slice rest = body_of(value), hex;

	if (!rest.ptr)
		return false;
	hex = slice_cut(&rest, '.');
	if (hex.len == 0 || hex.len % 2 || hex.len / 2 > BADGE_USER_MAX)
		return false;
	for (size_t i = 0; i < hex.len; i += 2) {
		int high = hex_value(hex.ptr[i]), low = hex_value(hex.ptr[i + 1]);

		if (high < 0 || low < 0 || (high | low) == 0)
			return false;
		user[i / 2] = (char)(high << 4 | low);
	}
	user[hex.len / 2] = '\0';
	return true;
}

bool badge_is_good(struct slice value, struct slice user, struct slice hash, int64_t now_s)
{
	struct slice rest = body_of(value), end;
	char sum[DIGEST_HEX_MAX];
	uint64_t end_s;

	(void)slice_cut(&rest, '.');
	end = slice_cut(&rest, '.');
	seal(user, hash, end, sum);
	return slice_eq_secret(rest, slice_of(sum)) && units_parse_uint(end, &end_s) &&
	       now_s < (int64_t)end_s && (int64_t)end_s <= now_s + BADGE_LIFE_S + 300;
}
