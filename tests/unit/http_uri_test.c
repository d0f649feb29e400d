/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/uri.h"

#include "test.h"

static struct arena arena;

static void fresh(void)
{
	arena_fini(&arena);
	arena_init(&arena, 64 * 1024);
}

static const char *text_of(const struct uri *u)
{
	return arena_printf(&arena, "%s://%s%.*s", u->https ? "https" : "http",
			    uri_authority(&arena, u), SLICE_FMT(u->target));
}

static const char *parsed(const char *text)
{
	struct uri u;

	return uri_parse(&arena, slice_of(text), &u) ? text_of(&u) : NULL;
}

TEST(absolute_uris)
{
	struct uri u;

	fresh();
	check_str(parsed("https://Registry-1.Docker.IO/v2/?a=b#c"),
		  "https://registry-1.docker.io/v2/?a=b");
	check_str(parsed("HTTP://h"), "http://h/");
	check_str(parsed("http://h?q"), "http://h/?q");
	check_str(parsed("http://h#q"), "http://h/");
	check_str(parsed("https://h:443/"), "https://h/");
	check_str(parsed("https://h:80/"), "https://h:80/");
	check_str(parsed("http://[FE80::1]:5000/x"), "http://[fe80::1]:5000/x");
	require(uri_parse(&arena, SLICE("https://[::1]/a/../b"), &u));
	check(slice_eq(u.host, SLICE("::1")));
	check_eq(u.port, 443);
	check(slice_eq(u.target, SLICE("/a/../b")));
}

TEST(uris_refused)
{
	static const char *const texts[] = {
		"",
		"h",
		"/x",
		"//h/x",
		"ftp://h/",
		"http:/h",
		"http://",
		"http:///x",
		"http://u@h/",
		"http://u:p@h/",
		"http://h:/",
		"http://h:0/",
		"http://h:65536",
		"http://h:+1/",
		"http://h:80:80/",
		"http://a b/",
		"http://h/a b",
		"http://h/\r\n",
		"http://h/\x80",
		"http://[::1/",
		"http://::1/",
		"http://[]/",
		"http://[h]/",
		"http://h%20/",
		"http://h\\x/",
		"http://?x",
		"http://[::1]x",
		"http://h/\x7f",
		" http://h/",
	};

	fresh();
	for (size_t i = 0; i < countof(texts); i++)
		check_str(parsed(texts[i]), NULL);
}

TEST(hosts_are_bounded)
{
	char text[300];
	struct uri u;

	fresh();
	memset(text, 'a', sizeof(text));
	memcpy(text, "http://", 7);
	check(uri_parse(&arena, (struct slice){ text, 7 + 253 }, &u));
	check(!uri_parse(&arena, (struct slice){ text, 7 + 254 }, &u));
}

/* RFC 3986 5.4, as far as the scheme http goes. */
TEST(references_resolve_as_in_the_rfc)
{
	static const struct {
		const char *ref, *want;
	} cases[] = {
		{ "g", "http://a/b/c/g" },
		{ "./g", "http://a/b/c/g" },
		{ "g/", "http://a/b/c/g/" },
		{ "/g", "http://a/g" },
		{ "//g", "http://g/" },
		{ "?y", "http://a/b/c/d;p?y" },
		{ "g?y", "http://a/b/c/g?y" },
		{ "#s", "http://a/b/c/d;p?q" },
		{ "g#s", "http://a/b/c/g" },
		{ "g?y#s", "http://a/b/c/g?y" },
		{ ";x", "http://a/b/c/;x" },
		{ "g;x?y#s", "http://a/b/c/g;x?y" },
		{ "", "http://a/b/c/d;p?q" },
		{ ".", "http://a/b/c/" },
		{ "./", "http://a/b/c/" },
		{ "..", "http://a/b/" },
		{ "../", "http://a/b/" },
		{ "../g", "http://a/b/g" },
		{ "../..", "http://a/" },
		{ "../../", "http://a/" },
		{ "../../g", "http://a/g" },
		{ "../../../g", "http://a/g" },
		{ "../../../../g", "http://a/g" },
		{ "/./g", "http://a/g" },
		{ "/../g", "http://a/g" },
		{ "g.", "http://a/b/c/g." },
		{ ".g", "http://a/b/c/.g" },
		{ "g..", "http://a/b/c/g.." },
		{ "..g", "http://a/b/c/..g" },
		{ "./../g", "http://a/b/g" },
		{ "./g/.", "http://a/b/c/g/" },
		{ "g/./h", "http://a/b/c/g/h" },
		{ "g/../h", "http://a/b/c/h" },
		{ "g;x=1/./y", "http://a/b/c/g;x=1/y" },
		{ "g?y/../x", "http://a/b/c/g?y/../x" },
		{ "https://G/x/../y?../z", "https://g/y?../z" },
		{ "//g:81/..", "http://g:81/" },
		{ "/a//b/../c", "http://a/a//c" },
		{ "ftp://g/", NULL },
		{ "http:g", NULL },
		{ "mailto:x", NULL },
		{ "//u@g/", NULL },
		{ "a b", NULL },
		{ "//", NULL },
	};
	struct uri base, u;

	fresh();
	require(uri_parse(&arena, SLICE("http://a/b/c/d;p?q"), &base));
	for (size_t i = 0; i < countof(cases); i++) {
		bool ok = uri_resolve(&arena, &base, slice_of(cases[i].ref), &u);

		if (!check_str(ok ? text_of(&u) : NULL, cases[i].want))
			printf("# reference: %s\n", cases[i].ref);
	}
}

TEST(no_memory_is_a_refusal)
{
	struct uri base, u;

	fresh();
	require(uri_parse(&arena, SLICE("http://a/b"), &base));
	for (size_t limit = 1; limit < 40; limit++) {
		struct arena small;

		arena_init(&small, limit);
		if (uri_resolve(&small, &base, SLICE("http://g/x"), &u))
			check(slice_eq(u.target, SLICE("/x")));
		arena_fini(&small);
	}
	arena_fini(&arena);
	arena_init(&arena, 1);
	check(!percent_encode(&arena, SLICE("abc"), ""));
	check(!query_without(&arena, SLICE("abc"), "x"));
}

TEST(origins)
{
	struct uri a, b;

	fresh();
	require(uri_parse(&arena, SLICE("https://h/x"), &a));
	require(uri_parse(&arena, SLICE("https://H:443/y"), &b));
	check(uri_same_origin(&a, &b));
	require(uri_parse(&arena, SLICE("http://h:443/"), &b));
	check(!uri_same_origin(&a, &b));
	require(uri_parse(&arena, SLICE("https://h:444/"), &b));
	check(!uri_same_origin(&a, &b));
	require(uri_parse(&arena, SLICE("https://h.h/"), &b));
	check(!uri_same_origin(&a, &b));
}

TEST(authorities_are_split)
{
	struct slice host;
	uint16_t port = 1;

	check(authority_split(SLICE("Mirror.example"), &host, &port));
	check(slice_eq(host, SLICE("Mirror.example")));
	check_eq(port, 0);
	check(authority_split(SLICE("[::1]:5000"), &host, &port));
	check(slice_eq(host, SLICE("::1")));
	check_eq(port, 5000);
	check(!authority_split(SLICE_NONE, NULL, NULL));
	check(!authority_split(SLICE(":80"), NULL, NULL));
	check(!authority_split(SLICE("h:000080"), NULL, NULL));
	check(!authority_split(SLICE("[::1]80"), NULL, NULL));
}

TEST(queries)
{
	struct slice raw;

	fresh();
	check(query_get(SLICE("a=1&ns=docker.io&b"), "ns", &raw));
	check(slice_eq(raw, SLICE("docker.io")));
	check(query_get(SLICE("a=1&b"), "b", &raw) && raw.len == 0);
	check(query_get(SLICE("n=1=2"), "n", &raw) && slice_eq(raw, SLICE("1=2")));
	check(!query_get(SLICE("xns=1&ns2=2"), "ns", &raw));
	check(!query_get(SLICE_NONE, "ns", &raw));
	check_str(query_without(&arena, SLICE("a=1&ns=x&b=2"), "ns"), "a=1&b=2");
	check_str(query_without(&arena, SLICE("ns=x&a=1&ns=y"), "ns"), "a=1");
	check_str(query_without(&arena, SLICE("ns=x"), "ns"), "");
	check_str(query_without(&arena, SLICE("a&&b"), "ns"), "a&b");
	check_str(query_without(&arena, SLICE_NONE, "ns"), "");
}

TEST(percent_coding)
{
	fresh();
	check_str(percent_decode(&arena, SLICE("a%2Fb%3a+")), "a/b:+");
	check_str(percent_decode(&arena, SLICE("")), "");
	check_str(percent_decode(&arena, SLICE("%2525")), "%25");
	check_str(percent_decode(&arena, SLICE("%")), NULL);
	check_str(percent_decode(&arena, SLICE("%2")), NULL);
	check_str(percent_decode(&arena, SLICE("%2g")), NULL);
	check_str(percent_decode(&arena, SLICE("%00")), NULL);
	check_str(percent_decode(&arena, SLICE("a\0b")), NULL);
	check_str(percent_encode(&arena, SLICE("repository:a/b:pull x%\xc3"), "/:"),
		  "repository:a/b:pull%20x%25%C3");
	check_str(percent_encode(&arena, SLICE("a-._~/"), ""), "a-._~%2F");
	arena_fini(&arena);
}
