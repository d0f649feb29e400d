/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/challenge.h"

#include "test.h"

static struct arena arena;

/* "scheme realm|service|scope|error", or NULL. */
static const char *parsed(const char *value)
{
	static const char *const names[] = { "none", "basic", "bearer" };
	struct challenge c;

	arena_fini(&arena);
	arena_init(&arena, 16 * 1024);
	if (!challenge_parse(&arena, slice_of(value), &c))
		return NULL;
	return arena_printf(&arena, "%s %.*s|%.*s|%.*s|%.*s", names[c.scheme], SLICE_FMT(c.realm),
			    SLICE_FMT(c.service), SLICE_FMT(c.scope), SLICE_FMT(c.error));
}

TEST(challenges_of_registries)
{
	check_str(parsed("Bearer realm=\"https://auth.docker.io/token\","
			 "service=\"registry.docker.io\",scope=\"repository:library/debian:pull\""),
		  "bearer https://auth.docker.io/token|registry.docker.io|"
		  "repository:library/debian:pull|");
	check_str(parsed("Bearer realm=\"r\",service=\"s\",scope=\"repository:a:pull,push\","
			 "error=\"invalid_token\""),
		  "bearer r|s|repository:a:pull,push|invalid_token");
	check_str(parsed("Basic realm=\"Registry Realm\""), "basic Registry Realm|||");
	check_str(parsed("BEARER Realm = r , SERVICE=\"s\""), "bearer r|s||");
	check_str(parsed("Bearer realm=r,scope=repository:a/b:pull"),
		  "bearer r||repository:a/b:pull|");
	check_str(parsed("Bearer realm=\"a\\\"b\\\\c\""), "bearer a\"b\\c|||");
	check_str(parsed("Bearer realm=\"\""), "bearer |||");
	check_str(parsed("Bearer"), "bearer |||");
}

TEST(several_challenges_in_a_field)
{
	check_str(parsed("Basic realm=\"b\", Bearer realm=\"t\",service=\"s\""), "bearer t|s||");
	check_str(parsed("Bearer realm=\"t\", Basic realm=\"b\""), "bearer t|||");
	check_str(parsed("Negotiate, Basic realm=\"b\""), "basic b|||");
	check_str(parsed("Negotiate YWJj==, Basic realm=\"b\""), "basic b|||");
	check_str(parsed("Digest realm=\"d\", nonce=\"a, Bearer realm=x\""), NULL);
	check_str(parsed("Bearer realm=\"1\", Bearer realm=\"2\", realm=\"3\""), "bearer 1|||");
	check_str(parsed("Basic realm=\"1\", realm=\"2\""), "basic 1|||");
	check_str(parsed(",, Basic realm=\"1\" ,,"), "basic 1|||");
}

TEST(challenges_refused)
{
	check_str(parsed(""), NULL);
	check_str(parsed("realm=\"x\""), NULL);
	check_str(parsed("Bearer realm=\"x"), NULL);
	check_str(parsed("Bearer realm=\"x\\"), NULL);
	check_str(parsed("Bearer realm=\"x\\\""), NULL);
	check_str(parsed("Bearer \"x\""), NULL);
	check_str(parsed("Bearer =x"), NULL);
	check_str(parsed("Digest realm=\"x\""), NULL);
}

static const char *basic(const char *user, const char *password)
{
	arena_fini(&arena);
	arena_init(&arena, 1024);
	return basic_credentials(&arena, slice_of(user), slice_of(password));
}

/* RFC 4648 10 and RFC 7617 2. */
TEST(credentials)
{
	check_str(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	check_str(basic("", ""), "Basic Og==");
	check_str(basic("a", ""), "Basic YTo=");
	check_str(basic("a", "b"), "Basic YTpi");
	check_str(basic("\xff\xff", "\xff"), "Basic //86/w==");
	arena_fini(&arena);
	arena_init(&arena, 8);
	check_str(basic_credentials(&arena, SLICE("user"), SLICE("password")), NULL);
	arena_fini(&arena);
}

static const char *next(const char *value)
{
	static char text[128];
	struct slice target;

	if (!link_next(slice_of(value), &target))
		return NULL;
	snprintf(text, sizeof(text), "%.*s", SLICE_FMT(target));
	return text;
}

TEST(links)
{
	check_str(next("</v2/a/tags/list?last=x&n=2>; rel=\"next\""), "/v2/a/tags/list?last=x&n=2");
	check_str(next("</a>;rel=next"), "/a");
	check_str(
		next("</a>; rel=\"prev\", </b,c>; title=\"x, <y>; rel=next\"; REL = \"last Next\""),
		"/b,c");
	check_str(next("</a>; rel=\"nextish\""), NULL);
	check_str(next("</a>"), NULL);
	check_str(next("</a>, </b>; rel=next"), "/b");
	check_str(next("</a; rel=next"), NULL);
	check_str(next("/a; rel=next"), NULL);
	check_str(next("</a>; rel=\"next"), NULL);
	check_str(next("</a>; title=\"x; rel=next"), NULL);
	check_str(next("</a>; =; rel=next"), "/a");
	check_str(next(""), NULL);
	check(!link_next(SLICE("<>;\0"), &(struct slice){ 0 })); /* once looped for ever */
}
