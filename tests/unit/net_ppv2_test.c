/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ppv2.h"

#include <string.h>

#include "net/addr.h"
#include "test.h"

static bool is_header(const char *from, const char *to, const char *want, size_t len)
{
	struct addr a, b;
	char out[PPV2_MAX];

	return addr_parse(slice_of(from), &a) == 0 && addr_parse(slice_of(to), &b) == 0 &&
	       ppv2_make(&a, &b, out) == len && memcmp(out, want, len) == 0;
}

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

TEST(headers_are_as_the_specification_has_them)
{
	check(is_header("192.0.2.1:258", "127.0.0.1:443",
			SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\x7f\0\0\1\1\2\1\xbb", 28));
	check(is_header("[::ffff:192.0.2.1]:258", "[::ffff:127.0.0.1]:443",
			SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\x7f\0\0\1\1\2\1\xbb", 28));
	check(is_header("[2001:db8::1]:258", "[::1]:443",
			SIGNATURE "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
				  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\2\1\xbb",
			52));
	check(is_header("192.0.2.1:258", "[::1]:443", SIGNATURE "\x21\0\0\0", 16));
}
