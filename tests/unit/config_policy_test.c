/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/policy.h"

#include <stdio.h>
#include <string.h>

#include "config/value.h"
#include "test.h"

static char why[VALUE_WHY_MAX];

/* Does the pattern stand for repository and tag?  -1: it is none. */
static int match(const char *pattern, const char *repo, const char *tag)
{
	struct conf_policy p = { 0 };
	struct arena a;
	int r = -1;

	arena_init(&a, 4096);
	if (policy_pattern(slice_of(pattern), &p, &a, why))
		r = policy_matches(&p, slice_of(repo), slice_of(tag));
	arena_fini(&a);
	return r;
}

static bool refused(const char *rule, const char *words)
{
	struct slice patterns;
	struct conf_policy p;

	if (policy_parse(slice_of(rule), &patterns, &p, why))
		return false;
	if (strstr(why, words))
		return true;
	printf("# %s\n", why);
	return false;
}

TEST(patterns_match_the_whole_tag)
{
	static const struct {
		const char *pattern, *tag;
		int want;
	} t[] = {
		{ "*", "latest", 1 },
		{ "*", "a", 1 },
		{ "latest", "latest", 1 },
		{ "latest", "latest2", 0 },
		{ "latest", "lates", 0 },
		{ "nightly-*", "nightly-2026", 1 },
		{ "nightly-*", "nightly-", 1 },
		{ "nightly-*", "nightly", 0 },
		{ "nightly-*", "x-nightly-1", 0 },
		{ "1.2?", "1.2", 1 },
		{ "1.2?", "1.", 1 },
		{ "1.2?", "1.22", 0 },
		{ "a?ab", "ab", 1 },
		{ "a?ab", "aab", 1 },
		{ "a?ab", "aaab", 0 },
		{ "[0-9]?[0-9]x*", "7x", 1 },
		{ "[0-9]?[0-9]x*", "77xy", 1 },
		{ "[0-9]?[0-9]x*", "777x", 0 },
		{ "*-rc1?", "1.2-rc", 1 },
		{ "*-rc1?", "1.2-rc1", 1 },
		{ "*-rc1?", "1.2-rc2", 0 },
		{ "[0-9]*.[0-9]*.[0-9]*", "1.2.3", 1 },
		{ "[0-9]*.[0-9]*.[0-9]*", "10.20.30-alpine", 1 },
		{ "[0-9]*.[0-9]*.[0-9]*", "v1.2.3", 0 },
		{ "[0-9]*.[0-9]*.[0-9]*", "1.2", 0 },
		{ "[0-9]*.[0-9]*.[0-9]*", "1.2.x", 0 },
		{ "v?[0-9]*.[0-9]*.[0-9]*", "v12.3.4", 1 },
		{ "v?[0-9]*.[0-9]*.[0-9]*", "v1.2.3", 1 },
		{ "v?[0-9]*.[0-9]*.[0-9]*", "1.2.3-slim", 1 },
		{ "v?[0-9]*.[0-9]*.[0-9]*", "vv1.2.3", 0 },
		{ "v?[0-9]*.[0-9]*.[0-9]*", "v1.2", 0 },
		{ "[!v]*", "v1", 0 },
		{ "[!v]*", "x1", 1 },
		{ "[^a-c]", "b", 0 },
		{ "[abc-]x", "-x", 1 },
		{ "*-*-*", "a-b", 0 },
		{ "*-*-*", "a--b", 1 },
		{ "*a*b*c", "aXbXcXbc", 1 },
		{ "*a*b*c", "aXbXcXb", 0 },
	};

	for (size_t i = 0; i < countof(t); i++)
		if (!check_eq(match(t[i].pattern, "r", t[i].tag), t[i].want))
			printf("# %s %s\n", t[i].pattern, t[i].tag);
}

TEST(a_colon_asks_for_the_repository_too)
{
	check_eq(match("library/nginx:1.*", "library/nginx", "1.27"), 1);
	check_eq(match("library/nginx:1.*", "library/nginx", "2.0"), 0);
	check_eq(match("library/nginx:1.*", "other/nginx", "1.27"), 0);
	check_eq(match("*/nginx:*", "a/b/nginx", "x"), 1);
	check_eq(match("[a-z]*/x:*", "9/x", "t"), 0);
	check_eq(match("nginx*", "other", "nginx1"), 1);
}

TEST(what_is_no_pattern_is_refused)
{
	static const char *const bad[] = { "",         "a b", "[",  "[]",  "[!]", "[a",
					   "a]",       ":",   "a:", ":b",  "a/b", "a:b:c",
					   "a:b/c",    "a,b", "%",  "a\n", "[[]", "[a;]",
					   "\xc3\xa4", "?",   "*?", "a??", "r:?" };
	char longest[600];

	for (size_t i = 0; i < countof(bad); i++)
		if (!check_eq(match(bad[i], "r", "t"), -1))
			printf("# %s\n", bad[i]);
	memset(longest, 'a', sizeof(longest));
	longest[599] = '\0';
	check_eq(match(longest, "r", "t"), -1);
	check(strlen(why) < VALUE_WHY_MAX - 1);
}

/* The worst there is for one who would try every way: it has to end in no time. */
TEST(many_stars_take_no_time)
{
	char tag[129];

	memset(tag, 'a', 128);
	tag[128] = '\0';
	check_eq(match("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", "r", tag), 0);
	check_eq(match("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*", "r", tag), 1);
}

TEST(rules_are_read)
{
	struct slice patterns;
	struct conf_policy p;

	require(policy_parse(SLICE("  a b* \t immutable "), &patterns, &p, why));
	check(slice_eq(patterns, SLICE("a b*")));
	check_eq(p.kind, POLICY_IMMUTABLE);
	require(policy_parse(SLICE("nightly-* always"), &patterns, &p, why));
	check_eq(p.kind, POLICY_ALWAYS);
	require(policy_parse(SLICE("* window 60s"), &patterns, &p, why));
	check_eq(p.kind, POLICY_WINDOW);
	check_eq(p.window_ms, 60000);
	check_eq(p.revalidate_ms, 0);
	require(policy_parse(SLICE("* window 0 revalidate 10m"), &patterns, &p, why));
	check_eq(p.window_ms, 0);
	check_eq(p.revalidate_ms, 600000);
}

TEST(wrong_rules_name_the_fix)
{
	check(refused("", "must end with"));
	check(refused("latest", "must end with immutable, always, or window TIME"));
	check(refused("* allways", "did you mean 'always'?"));
	check(refused("v* imutable", "did you mean 'immutable'?"));
	check(refused("* windw 60s", "did you mean 'window'?"));
	check(refused("immutable", "'immutable' needs a pattern before it"));
	check(refused("* window", "behind 'window' must be a time"));
	check(refused("* window 60", "'60' behind 'window' must be a time"));
	check(refused("* window 366d", "from 0s to 365d"));
	check(refused("* window 60s always", "only 'revalidate TIME' may follow"));
	check(refused("* window 60s revalidate", "behind 'revalidate' must be a time"));
	check(refused("* window 60s revalidate 1m x", "'x' stands behind the policy"));
	check(refused("a always b immutable", "'b immutable' stands behind the policy; a ','"));
}

static struct conf_policy rule(const char *pattern, enum conf_policy_kind kind, struct arena *a)
{
	struct conf_policy p = { .kind = kind, .window_ms = 5 };

	check(policy_pattern(slice_of(pattern), &p, a, why));
	return p;
}

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int kind_of(const struct conf_mirror *m, const char *tag)
{
	return (int)policy_of(m, SLICE("r"), slice_of(tag)).kind;
}

TEST(the_first_rule_wins_and_the_star_is_last)
{
	struct conf_mirror m = { .tag_fresh_ms = 60000, .referrers_fresh_ms = 7000 };
	struct conf_policy v[3];
	struct arena a;

	arena_init(&a, 4096);
	check_eq(policy_of(&m, SLICE("r"), SLICE("x")).window_ms, 60000);
	check_eq(policy_of(&m, SLICE("r"), SLICE("sha256-" HEX ".sig")).window_ms, 7000);
	check_eq(policy_of(&m, SLICE("r"), SLICE("sha256-0123")).window_ms, 60000);
	v[0] = rule("*", POLICY_IMMUTABLE, &a);
	v[1] = rule("nightly-*", POLICY_ALWAYS, &a);
	v[2] = rule("nightly-1", POLICY_WINDOW, &a);
	m.tag_policy = (struct conf_policies){ v, 3 };
	check_eq(kind_of(&m, "x"), POLICY_IMMUTABLE);
	check_eq(kind_of(&m, "nightly-1"), POLICY_ALWAYS);
	check_eq(policy_of(&m, SLICE("r"), SLICE("sha256-" HEX)).window_ms, 7000);
	v[2] = rule("sha256-*", POLICY_ALWAYS, &a);
	check_eq(kind_of(&m, "sha256-" HEX), POLICY_ALWAYS);
	arena_fini(&a);
}
