/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/nets.h"

#include <arpa/inet.h>

#include "config/htpasswd.h"
#include "config/value.h"
#include "test.h"

static struct conf_nets nets_of(const char *text, struct arena *a)
{
	struct slice rest = slice_of(text);
	struct conf_nets list = { 0 };

	while (rest.len)
		check(value_add_net(&list, slice_cut(&rest, ' '), a));
	return list;
}

static int match(const struct conf_nets *list, const char *text)
{
	uint8_t ip[16];
	char mapped[64];

	snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
	check_eq(inet_pton(AF_INET6, mapped, ip), 1);
	return nets_match(list, ip);
}

TEST(networks)
{
	struct conf_nets list;
	struct arena a;

	arena_init(&a, 64 * 1024);
	list = nets_of("10.0.0.0/8 10.1.0.0/17 192.0.2.1 2001:db8::/33 ::1", &a);
	check_eq(match(&list, "10.2.3.4"), 104);
	check_eq(match(&list, "10.1.127.4"), 113);
	check_eq(match(&list, "10.1.128.4"), 104);
	check_eq(match(&list, "11.0.0.1"), -1);
	check_eq(match(&list, "192.0.2.1"), 128);
	check_eq(match(&list, "192.0.2.2"), -1);
	check_eq(match(&list, "2001:db8:7fff::1"), 33);
	check_eq(match(&list, "2001:db8:8000::1"), -1);
	check_eq(match(&list, "::1"), 128);
	check_eq(match(&list, "::10.0.0.1"), -1);
	list = nets_of("0.0.0.0/0", &a);
	check_eq(match(&list, "8.8.8.8"), 96);
	check_eq(match(&list, "2001::1"), -1);
	list = nets_of("::/0", &a);
	check_eq(match(&list, "8.8.8.8"), 0);
	arena_fini(&a);
}

TEST(no_networks)
{
	static const char *const bad[] = { "10.0.0.0/33", "::/129",      "10.0.0/8",
					   "10.0.0.0/",   "/8",          "x",
					   "10.0.0.0/8x", "10.0.0.0/-1", "",
					   "[::1]" };
	struct conf_nets list = { 0 };
	struct arena a;

	arena_init(&a, 64 * 1024);
	for (unsigned i = 0; i < countof(bad); i++)
		check(!value_add_net(&list, slice_of(bad[i]), &a));
	arena_fini(&a);
}

TEST(patterns)
{
	static const struct {
		const char *pattern, *text;
		bool is;
	} cases[] = {
		{ "docker.io/library/*", "docker.io/library/alpine", true },
		{ "docker.io/library/*", "docker.io/libraryx", false },
		{ "*", "", true },
		{ "*", "a/b", true },
		{ "", "", true },
		{ "", "a", false },
		{ "a*b*c", "aXbYbZc", true },
		{ "a*b*c", "aXbYbZ", false },
		{ "*/alpine", "ghcr.io/x/alpine", true },
		{ "*/alpine", "alpine", false },
		{ "alpine", "alpines", false },
		{ "**", "x", true },
	};

	for (unsigned i = 0; i < countof(cases); i++)
		if (!check_eq(pattern_is(cases[i].pattern, slice_of(cases[i].text)), cases[i].is))
			printf("# %s %s\n", cases[i].pattern, cases[i].text);
}

#define HASH "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"

static const char *lines(const char *text)
{
	struct slice rest = slice_of(text), user, hash;
	static char out[256];
	const char *why = NULL;
	enum htpasswd_result r;
	unsigned line = 0;
	size_t n = 0;

	out[0] = '\0';
	while ((r = htpasswd_next(&rest, &user, &hash, &line, &why)) == HTPASSWD_LINE) {
		check_eq(hash.len, HTPASSWD_HASH_BYTES);
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%.*s ", SLICE_FMT(user));
	}
	if (r == HTPASSWD_BAD)
		snprintf(out + n, sizeof(out) - n, "%u: %.20s", line, why);
	return out;
}

TEST(password_files)
{
	check_str(lines("alice:" HASH "\n# x\n\nbob:" HASH), "alice bob ");
	check_str(lines("alice:" HASH "\r\n"), "alice ");
	check_str(lines(""), "");
	check_str(lines("alice\n"), "1: must be user:hash; t");
	check_str(lines(":" HASH), "1: must have a user of ");
	check_str(lines("a b:" HASH), "1: must have a user wit");
	check_str(lines("a:" HASH "\nb:$apr1$x$y"), "a 2: is no bcrypt hash; m");
	check_str(lines("a:{SHA}x"), "1: is no bcrypt hash; m");
	check_str(lines("a:$2y$31$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"),
		  "1: has a cost that is n");
	check_str(lines("a:" HASH "x"), "1: is no bcrypt hash; m");
}
