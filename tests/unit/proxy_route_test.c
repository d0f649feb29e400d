/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/route.h"

#include "test.h"

static const char *docker_hosts[] = { "docker.example.com" };
static const char *quay_hosts[] = { "quay.example.com" };
static struct conf_mirror mirrors[] = {
	{ .name = "docker.io",
	  .hosts = { docker_hosts, 1 },
	  .upstreams = { (struct conf_upstream[]){
				 { .host = "registry-1.docker.io", .port = 443, .https = true } },
			 1 } },
	{ .name = "quay.io",
	  .hosts = { quay_hosts, 1 },
	  .upstreams = { (struct conf_upstream[]){
				 { .host = "first.quay.test", .port = 443 },
				 { .host = "up.quay.test", .port = 443, .https = true } },
			 2 } },
	{ .name = "a.test",
	  .upstreams = { (struct conf_upstream[]){
				 { .host = "shared.test", .port = 443, .https = true } },
			 1 } },
	{ .name = "localhost:5000",
	  .upstreams = { (struct conf_upstream[]){
				 { .host = "shared.test", .port = 443, .https = true } },
			 1 } },
	{ .name = "odd.test",
	  .upstreams = { (struct conf_upstream[]){ { .host = "127.0.0.1", .port = 5000 } }, 1 } },
};
static const struct config config = { .mirrors = mirrors, .mirrors_count = countof(mirrors) };

static struct arena arena;
static struct route route;

/* "registry repo", or "status CODE". */
static const char *routed(const char *host, const char *target)
{
	struct oci_path p;

	arena_fini(&arena);
	arena_init(&arena, 64 * 1024);
	oci_parse(&arena, slice_of(target), &p);
	if (p.verb == OCI_BAD)
		return "bad";
	route_find(&arena, &config, slice_of(host), &p, &route);
	if (route.mirror < 0)
		return arena_printf(&arena, "%d %s", route.status, route.code);
	return arena_printf(&arena, "%s %.*s", mirrors[route.mirror].name, SLICE_FMT(route.repo));
}

#define GENERAL "mirror.example.com"

TEST(every_spelling_finds_the_registry)
{
	const char *want = "quay.io a/b";

	check_str(routed("quay.example.com", "/v2/a/b/manifests/x"), want);
	check_str(routed("QUAY.example.com.", "/v2/a/b/manifests/x"), want);
	check_str(routed(GENERAL, "/v2/a/b/manifests/x?ns=quay.io"), want);
	check_str(routed(GENERAL, "/v2/a/b/manifests/x?ns=QUAY%2Eio."), want);
	check_str(routed(GENERAL, "/quay.io/v2/a/b/manifests/x"), want);
	check_str(routed(GENERAL, "/secret/quay.io/v2/a/b/manifests/x"), want);
	check_str(routed(GENERAL, "/v2/quay.io/a/b/manifests/x"), want);
	check_str(routed(GENERAL, "/v2/quay.io/a/b/manifests/x?ns=quay.io"), want);
	check_str(routed(GENERAL, "/quay.io/v2/quay.io/a/b/manifests/x"), want);
	check_str(routed("quay.example.com", "/v2/quay.io/a/b/tags/list?ns=quay.io"), want);
	check_str(routed(GENERAL, "/v2/localhost:5000/a/tags/list"), "localhost:5000 a");
}

TEST(an_upstream_is_an_alias_where_it_is_clear)
{
	check_str(routed(GENERAL, "/v2/x/y/tags/list?ns=registry-1.docker.io"), "docker.io x/y");
	check_str(routed(GENERAL, "/v2/x/y/tags/list?ns=index.docker.io"), "docker.io x/y");
	check_str(routed(GENERAL, "/v2/x/y/tags/list?ns=up.quay.test"), "quay.io x/y");
	check_str(routed(GENERAL, "/v2/x/y/tags/list?ns=shared.test"), "404 NAME_UNKNOWN");
	check_str(routed(GENERAL, "/v2/x/y/tags/list?ns=127.0.0.1"), "404 NAME_UNKNOWN");
}

TEST(docker_hub_alone_has_a_library)
{
	check_str(routed("docker.example.com", "/v2/busybox/manifests/x"),
		  "docker.io library/busybox");
	check_str(routed(GENERAL, "/v2/docker.io/busybox/manifests/x"),
		  "docker.io library/busybox");
	check_str(routed(GENERAL, "/v2/docker.io/a/b/manifests/x"), "docker.io a/b");
	check_str(routed(GENERAL, "/v2/quay.io/busybox/manifests/x"), "quay.io busybox");
}

TEST(what_is_not_configured_is_refused_by_name)
{
	check_str(routed(GENERAL, "/v2/a/b/manifests/x?ns=evil.test"), "404 NAME_UNKNOWN");
	check(strstr(route.why, "evil.test") && strstr(route.why, "[mirror "));
	check_str(routed(GENERAL, "/v2/evil.test/a/b/manifests/x"), "404 NAME_UNKNOWN");
	check(strstr(route.why, "evil.test") != NULL);
	check_str(routed(GENERAL, "/evil.test/v2/a/b/manifests/x"), "404 NAME_UNKNOWN");
	check_str(routed("quay.example.com", "/v2/a/manifests/x?ns=evil.test"), "404 NAME_UNKNOWN");
	check_str(routed(GENERAL, "/v2/a/b/manifests/x?ns="), "404 NAME_UNKNOWN");
	check_str(routed(GENERAL, "/v2/a/b/manifests/x?ns=quay.io%00"), "400 NAME_INVALID");
	check_str(routed(GENERAL, "/v2/a/b/manifests/x"), "404 NAME_UNKNOWN");
	check(strstr(route.why, "?ns=") != NULL);
}

TEST(two_registries_in_one_request_are_refused)
{
	check_str(routed("quay.example.com", "/v2/a/b/manifests/x?ns=docker.io"),
		  "404 NAME_UNKNOWN");
	check_str(routed("quay.example.com", "/v2/docker.io/b/manifests/x"), "404 NAME_UNKNOWN");
	check_str(routed("quay.example.com", "/docker.io/v2/b/manifests/x"), "404 NAME_UNKNOWN");
	check_str(routed(GENERAL, "/v2/docker.io/a/manifests/x?ns=quay.io"), "404 NAME_UNKNOWN");
	check_str(routed(GENERAL, "/docker.io/v2/a/manifests/x?ns=quay.io"), "404 NAME_UNKNOWN");
}

TEST(repositories_that_look_like_registries)
{
	check_str(routed("quay.example.com", "/v2/my.org/x/manifests/y"), "quay.io my.org/x");
	check_str(routed("quay.example.com", "/v2/UPPER/x/manifests/y"), "400 NAME_INVALID");
	check_str(routed(GENERAL, "/v2/_catalog?ns=quay.io"), "quay.io ");
	check_str(routed(GENERAL, "/v2/quay.io/_catalog"), "quay.io ");
}
