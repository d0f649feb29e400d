/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/indexed.h"

#include "base/assert.h"

#include "test.h"

TEST(what_repeats_is_indexed)
{
	struct indexed x = { 0 };

	check(indexed_field(&x, SLICE("Date"), SLICE("today")));
	check(indexed_field(&x, SLICE("Content-Type"), SLICE("text/plain")));
	check(indexed_field(&x, SLICE("Docker-Distribution-Api-Version"), SLICE("registry/2.0")));
	check(indexed_field(&x, SLICE("X-A-Name-Of-More-Than-Thirty-One-Bytes"), SLICE("x")));
}

TEST(secrets_and_what_differs_are_not)
{
	static const struct slice names[] = { { "location", 8 },
					      { "Set-Cookie", 10 },
					      { "WWW-Authenticate", 16 },
					      { "Content-Range", 13 },
					      { "Link", 4 } };
	struct indexed x = { 0 };

	for (unsigned i = 0; i < countof(names); i++)
		for (unsigned j = 0; j < 3; j++)
			check(!indexed_field(&x, names[i], SLICE("the same")));
}

TEST(a_digest_is_from_the_second_time_on)
{
	struct indexed x = { 0 };

	check(!indexed_field(&x, SLICE("etag"), SLICE("\"sha256:0123456789\"")));
	check(!indexed_field(&x, SLICE("Docker-Content-Digest"), SLICE("sha256:0123456789")));
	check(indexed_field(&x, SLICE("ETag"), SLICE("\"sha256:0123456789\"")));
	check(indexed_field(&x, SLICE("Docker-Content-Digest"), SLICE("sha256:0123456789")));
	check(!indexed_field(&x, SLICE("ETag"), SLICE("\"sha256:0123456788\"")));
	check(!indexed_field(&x, SLICE("ETag"), SLICE("\"sha256:0123456789\"")));
	check(!indexed_field(&x, SLICE("ETag"), SLICE("")));
}
