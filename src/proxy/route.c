/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/route.h"

#include "base/limits.h"
#include "http/uri.h"

/* What a request names, in words that compare with a configuration: lower case, no final dot. */
struct named {
	struct slice text;
	int mirror; /* -1: there is none of this name */
};

static void refuse(struct route *out, int status, const char *code, const char *why)
{
	out->mirror = -1;
	out->status = status;
	out->code = code;
	out->why = why ? why : "out of memory";
}

static struct slice without_dot(struct slice host)
{
	if (host.len > 1 && host.ptr[host.len - 1] == '.')
		host.len--;
	return host;
}

static bool names_have(const struct conf_names *names, struct slice host)
{
	for (unsigned i = 0; i < names->count; i++)
		if (slice_ieq(slice_of(names->v[i]), host))
			return true;
	return false;
}

/* The mirror whose own name the request came to, or -1. */
static int mirror_of_host(const struct config *c, struct slice host)
{
	host = without_dot(host);
	for (unsigned i = 0; i < c->mirrors_count; i++)
		if (names_have(&c->mirrors[i].hosts, host))
			return (int)i;
	return -1;
}

static bool is_docker_hub(struct slice registry)
{
	return slice_ieq(registry, SLICE("docker.io")) ||
	       slice_ieq(registry, SLICE("index.docker.io")) ||
	       slice_ieq(registry, SLICE("registry-1.docker.io"));
}

static bool has_upstream(const struct conf_upstreams *ups, struct slice host)
{
	for (unsigned i = 0; i < ups->count; i++) {
		const struct conf_upstream *up = &ups->v[i];

		if (up->port == (up->https ? 443 : 80) && slice_ieq(slice_of(up->host), host))
			return true;
	}
	return false;
}

/* The mirror that alone has this upstream, at the port of its scheme; or -1. */
static int mirror_of_upstream(const struct config *c, struct slice host)
{
	int found = -1;

	for (unsigned i = 0; i < c->mirrors_count; i++) {
		if (!has_upstream(&c->mirrors[i].upstreams, host))
			continue;
		if (found >= 0)
			return -1;
		found = (int)i;
	}
	return found;
}

/*
 * The mirror of a registry, by its name; else by its upstream's host, which some clients are told
 * instead.  The name goes first: a mirror's upstream may be what another one is called.
 */
static int mirror_of_registry(const struct config *c, struct slice registry)
{
	bool hub;

	registry = without_dot(registry);
	hub = is_docker_hub(registry);
	for (unsigned i = 0; i < c->mirrors_count; i++)
		if (slice_ieq(slice_of(c->mirrors[i].name), registry))
			return (int)i;
	for (unsigned i = 0; hub && i < c->mirrors_count; i++)
		if (is_docker_hub(slice_of(c->mirrors[i].name)))
			return (int)i;
	return mirror_of_upstream(c, registry);
}

static struct named name_it(const struct config *c, struct slice text)
{
	return (struct named){ text, mirror_of_registry(c, text) };
}

/* The last part of "secret/docker.io". */
static struct slice last_segment(struct slice path)
{
	for (size_t at = path.len; at > 0; at--)
		if (path.ptr[at - 1] == '/')
			return slice_skip(path, at);
	return path;
}

/* A dot, a port or "localhost" is how clients tell a registry from a repository. */
static bool looks_like_registry(struct slice s)
{
	return slice_find(s, '.') < s.len || slice_find(s, ':') < s.len ||
	       slice_ieq(s, SLICE("localhost"));
}

/* false: refused. */
static bool find_ns(struct arena *a, const struct oci_path *path, struct route *out)
{
	struct slice raw;
	char *ns;

	if (!query_get(path->query, "ns", &raw))
		return true;
	ns = percent_decode(a, raw);
	if (!ns) {
		refuse(out, 400, "NAME_INVALID", "malformed ns in the query");
		return false;
	}
	out->ns = slice_of(ns);
	return true;
}

static void refuse_unknown(struct arena *a, struct slice registry, struct route *out)
{
	struct slice shown = slice_first(registry, REPO_NAME_MAX);

	refuse(out, 404, "NAME_UNKNOWN",
	       arena_printf(a,
			    "registry \"%.*s\" is not mirrored here; to mirror it, add a section "
			    "[mirror %.*s] to the configuration of sluice",
			    SLICE_FMT(shown), SLICE_FMT(shown)));
}

static void refuse_unnamed(struct arena *a, struct slice host, struct route *out)
{
	refuse(out, 404, "NAME_UNKNOWN",
	       arena_printf(a,
			    "no registry is named; ask for /v2/NAME/...?ns=REGISTRY, "
			    "/REGISTRY/v2/NAME/... or /v2/REGISTRY/NAME/..., or use a host of a "
			    "[mirror] section instead of \"%.*s\"",
			    SLICE_FMT(slice_first(host, REPO_NAME_MAX))));
}

static void refuse_contradiction(struct arena *a, const struct config *c, int mirror,
				 struct slice other, struct route *out)
{
	const char *first = c->mirrors[mirror].name;

	other = slice_first(other, REPO_NAME_MAX);
	refuse(out, 404, "NAME_UNKNOWN",
	       arena_printf(a, "the request names two registries, \"%s\" and \"%.*s\"", first,
			    SLICE_FMT(other)));
}

/* <next> must agree with what was found so far.  false: refused. */
static bool agree(struct arena *a, const struct config *c, struct named next, struct route *out)
{
	if (next.mirror < 0) {
		refuse_unknown(a, next.text, out);
		return false;
	}
	if (out->mirror >= 0 && out->mirror != next.mirror) {
		refuse_contradiction(a, c, out->mirror, next.text, out);
		return false;
	}
	out->mirror = next.mirror;
	return true;
}

/*
 * Takes a registry's name off the repository (a catalogue's is the name alone).  Where the mirror
 * is known already only a configured name counts: "a.b/c" may be a repository there.
 */
static bool strip_registry(struct arena *a, const struct config *c, struct route *out)
{
	struct slice rest = out->repo;
	struct slice first = slice_cut(&rest, '/');
	struct named n = name_it(c, first);

	if (n.mirror < 0 && (out->mirror >= 0 || !looks_like_registry(first)))
		return true;
	if (!agree(a, c, n, out))
		return false;
	out->repo = rest;
	return true;
}

static bool complete_repo(struct arena *a, const struct config *c, struct route *out)
{
	const char *full;

	if (!oci_name_ok(out->repo)) {
		refuse(out, 400, "NAME_INVALID", "malformed repository name");
		return false;
	}
	if (!is_docker_hub(slice_of(c->mirrors[out->mirror].name)) ||
	    slice_find(out->repo, '/') < out->repo.len)
		return true;
	full = arena_printf(a, "library/%.*s", SLICE_FMT(out->repo));
	if (!full) {
		refuse(out, 503, "UNAVAILABLE", NULL);
		return false;
	}
	out->repo = slice_of(full);
	return true;
}

void route_find(struct arena *a, const struct config *c, struct slice host,
		const struct oci_path *path, struct route *out)
{
	struct slice prefix = last_segment(path->prefix);

	assert(path->verb != OCI_PING && path->verb != OCI_NONE && path->verb != OCI_BAD);
	*out = (struct route){ .mirror = mirror_of_host(c, host), .repo = path->name };
	if (!find_ns(a, path, out))
		return;
	if (out->ns.ptr && !agree(a, c, name_it(c, out->ns), out))
		return;
	if (prefix.len > 0 && !agree(a, c, name_it(c, prefix), out))
		return;
	if (!strip_registry(a, c, out))
		return;
	if (out->mirror < 0)
		refuse_unnamed(a, host, out);
	else if (path->verb != OCI_CATALOG)
		(void)complete_repo(a, c, out);
}

int route_ping(struct arena *a, const struct config *c, struct slice host,
	       const struct oci_path *path)
{
	struct slice prefix = last_segment(path->prefix);
	struct route r = { .mirror = mirror_of_host(c, host) };

	if (!find_ns(a, path, &r))
		return -1;
	if (r.ns.ptr && !agree(a, c, name_it(c, r.ns), &r))
		return -1;
	if (prefix.len > 0 && !agree(a, c, name_it(c, prefix), &r))
		return -1;
	return r.mirror;
}
