/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/form.h"

#include <stdlib.h>

#include "test.h"

static bool parse(const char *text, struct form_field *fields, unsigned count)
{
	static char mem[256];

	snprintf(mem, sizeof(mem), "%s", text);
	return form_parse(mem, strlen(mem), fields, count);
}

TEST(fields_are_found_and_decoded)
{
	struct form_field f[] = { { .name = "scope" }, { .name = "password" }, { .name = "none" } };

	check(parse("grant_type=password&scope=a%3Ab+c%20d&&password=%26%3d%2B%C3%A4&x", f, 3));
	check(slice_eq(f[0].value, SLICE("a:b c d")));
	check(slice_eq(f[1].value, SLICE("&=+\xc3\xa4")));
	check(!f[2].value.ptr);
	check(parse("scop%65=1", f, 3));
	check(slice_eq(f[0].value, SLICE("1")));
	check(parse("scope=&password", f, 3));
	check(f[0].value.ptr && f[0].value.len == 0);
	check(f[1].value.ptr && f[1].value.len == 0);
	check(parse("scope=a=b", f, 3));
	check(slice_eq(f[0].value, SLICE("a=b")));
	check(parse("", f, 3));
	check(!f[0].value.ptr);
}

TEST(bad_forms_are_refused)
{
	static const char *const bad[] = {
		"scope=%",     "scope=%2",    "scope=%zz",       "scope=a%00b", "scope=a%0d%0ab",
		"scope=a\r\n", "scope=a\x7f", "scope=1&scope=2", "%=1",         "x=%0a",
	};
	struct form_field f[] = { { .name = "scope" } };

	for (unsigned i = 0; i < countof(bad); i++)
		if (!check(!parse(bad[i], f, 1)))
			printf("# %s\n", bad[i]);
}

TEST(what_is_added_is_read_again)
{
	char mem[64], small[8];
	struct buf b;
	struct form_field f[] = { { .name = "a" }, { .name = "b" } };

	buf_init(&b, mem, sizeof(mem));
	check(form_add(&b, "a", SLICE("x y&=%+~")));
	check(form_add(&b, "b", SLICE("\xc3\xa4")));
	check(slice_eq(buf_data(&b), SLICE("a=x%20y%26%3D%25%2B~&b=%C3%A4")));
	require(form_parse(mem, buf_len(&b), f, 2));
	check(slice_eq(f[0].value, SLICE("x y&=%+~")));
	check(slice_eq(f[1].value, SLICE("\xc3\xa4")));
	buf_init(&b, small, sizeof(small));
	check(!form_add(&b, "a", SLICE("12345 ")));
}
