/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/hot.h"

#include "cache_rig.h"

static char body[HOT_BODY_MAX];

/* The n-th body of that length, and its digest. */
static struct digest make(unsigned n, size_t len)
{
	struct digest d;

	memset(body, 'x', len);
	memcpy(body, &n, len < sizeof(n) ? len : sizeof(n));
	body_make_digest(body, len, &d);
	return d;
}

static bool has(struct hot *h, unsigned n, size_t len)
{
	struct digest d = make(n, len);
	size_t got = 0;
	const char *mem = hot_get(h, &d, &got);

	return mem && got == len && memcmp(mem, body, len) == 0;
}

static bool put(struct hot *h, unsigned n, size_t len)
{
	struct digest d = make(n, len);

	return hot_put(h, &d, body, len);
}

TEST(what_was_put_is_found)
{
	struct hot *h = hot_new();

	require(h);
	check(!has(h, 1, 100));
	check(put(h, 1, 100));
	check(put(h, 2, sizeof(unsigned)));
	check(put(h, 3, HOT_BODY_MAX));
	check(put(h, 1, 100));
	check(has(h, 1, 100) && has(h, 2, sizeof(unsigned)) && has(h, 3, HOT_BODY_MAX));
	check(!has(h, 1, 101));
	hot_free(h);
	hot_free(NULL);
}

TEST(a_wrong_body_is_refused)
{
	struct hot *h = hot_new();
	struct digest d = make(1, 100);

	require(h);
	body[50] ^= 1;
	check(!hot_put(h, &d, body, 100));
	check(!has(h, 1, 100));
	body[50] ^= 1;
	d.alg = DIGEST_SHA512;
	check(!hot_put(h, &d, body, 100));
	hot_free(h);
}

TEST(the_least_recently_used_go)
{
	struct hot *h = hot_new();
	const unsigned fit = HOT_BYTES / HOT_BODY_MAX;

	require(h);
	for (unsigned n = 0; n < fit; n++)
		check(put(h, n, HOT_BODY_MAX));
	check(has(h, 0, HOT_BODY_MAX));
	check(put(h, fit, HOT_BODY_MAX));
	check(has(h, 0, HOT_BODY_MAX));
	check(!has(h, 1, HOT_BODY_MAX));
	check(has(h, 2, HOT_BODY_MAX));
	hot_free(h);
}

TEST(their_number_is_bounded_too)
{
	struct hot *h = hot_new();

	require(h);
	for (unsigned n = 0; n <= HOT_BODIES; n++)
		check(put(h, n, sizeof(n)));
	check(!has(h, 0, sizeof(unsigned)));
	check(has(h, 1, sizeof(unsigned)) && has(h, HOT_BODIES, sizeof(unsigned)));
	hot_free(h);
}
