/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/base64.h"

#include <stdlib.h>

#include "test.h"

static char out[64];

static bool is(const char *text, enum base64_digits digits, const char *want)
{
	size_t n = base64_decode(slice_of(text), digits, out, sizeof(out));

	return n == strlen(want) && memcmp(out, want, n) == 0;
}

static bool bad(const char *text, enum base64_digits digits)
{
	return base64_decode(slice_of(text), digits, out, sizeof(out)) == SIZE_MAX;
}

TEST(base64_of_rfc_4648)
{
	for (int d = BASE64_URL; d <= BASE64_EITHER; d++) {
		check(is("", (enum base64_digits)d, ""));
		check(is("Zg==", (enum base64_digits)d, "f"));
		check(is("Zg", (enum base64_digits)d, "f"));
		check(is("Zm8=", (enum base64_digits)d, "fo"));
		check(is("Zm9vYmFy", (enum base64_digits)d, "foobar"));
		check(is("-_8", (enum base64_digits)d, "\xfb\xff"));
	}
	check(is("+/8=", BASE64_EITHER, "\xfb\xff"));
	check(bad("+/8=", BASE64_URL));
}

TEST(base64_that_is_none)
{
	check(bad("Z", BASE64_EITHER));
	check(bad("Zg===", BASE64_EITHER));
	check(bad("Zm9 v", BASE64_EITHER));
	check(bad("Zm=v", BASE64_URL));
	check(bad("Zm9v\n", BASE64_URL));
}

TEST(base64_that_is_too_long)
{
	check_eq(base64_decode(SLICE("Zm9vYmFy"), BASE64_URL, out, 6), 6);
	check_eq(base64_decode(SLICE("Zm9vYmFy"), BASE64_URL, out, 5), SIZE_MAX);
}
