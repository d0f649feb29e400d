/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/howto.h"

#include <arpa/inet.h>

#include "base/buf.h"

/* Of one mirror in one file: its name twice, its host once, 255 bytes each, and words between. */
enum { ENTRY_MAX = 1024, HEAD_MAX = 1024 };

const char *const howto_names[HOWTO_COUNT] = {
	[HOWTO_DOCKER] = "docker", [HOWTO_CONTAINERD] = "containerd", [HOWTO_PODMAN] = "podman",
	[HOWTO_K3S] = "k3s",       [HOWTO_BUILDKIT] = "buildkit",
};

/* ---- names ---- */

static bool is_address(const char *host)
{
	struct in6_addr v6;
	struct in_addr v4;

	return inet_pton(AF_INET, host, &v4) == 1 || inet_pton(AF_INET6, host, &v6) == 1;
}

/* A name if there is one; NULL: there is nothing. */
static const char *best_of(const struct conf_names *hosts)
{
	for (unsigned i = 0; i < hosts->count; i++)
		if (!is_address(hosts->v[i]))
			return hosts->v[i];
	return hosts->count ? hosts->v[0] : NULL;
}

/* That clients use: a balancer that ends TLS before `plain` is at 443. */
static unsigned port_of(const struct config *c)
{
	const struct conf_addr *a = c->server.https.count ? &c->server.https.v[0] : NULL;

	if (!a)
		return 443;
	return ntohs(a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in.sin_port);
}

static const char *authority_of(struct arena *a, const struct config *c, const char *host)
{
	const bool v6 = strchr(host, ':') != NULL;
	const unsigned port = port_of(c);

	if (port == 443)
		return arena_printf(a, "%s%s%s", v6 ? "[" : "", host, v6 ? "]" : "");
	return arena_printf(a, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

/* Where one registry is found. */
struct at {
	const struct conf_mirror *mirror;
	const char *authority; /* "host:port" */
	const char *path;      /* "" or "/quay.io" */
};

enum found { FOUND, FOUND_NO_NAME, FOUND_NO_MEMORY };

static enum found find(struct arena *a, const struct config *c, unsigned i, struct at *out)
{
	const struct conf_mirror *m = &c->mirrors[i];
	const char *own = best_of(&m->hosts);
	const char *host = own ? own : best_of(&c->server.hosts);

	if (!host)
		return FOUND_NO_NAME;
	out->mirror = m;
	out->authority = authority_of(a, c, host);
	out->path = own ? "" : arena_printf(a, "/%s", m->name);
	return out->authority && out->path ? FOUND : FOUND_NO_MEMORY;
}

static bool has(const struct conf_names *names, struct slice host)
{
	for (unsigned i = 0; i < names->count; i++)
		if (slice_ieq(slice_of(names->v[i]), host))
			return true;
	return false;
}

bool howto_is_ours(const struct config *c, struct slice host)
{
	if (has(&c->server.hosts, host))
		return true;
	for (unsigned i = 0; i < c->mirrors_count; i++)
		if (has(&c->mirrors[i].hosts, host))
			return true;
	return false;
}

size_t howto_bytes(const struct config *c)
{
	return HOWTO_COUNT * (HEAD_MAX + (size_t)c->mirrors_count * 2 * ENTRY_MAX);
}

bool howto_look(struct arena *a, const struct config *c, struct howto_place *out)
{
	const char *host = best_of(&c->server.hosts);
	struct at at;

	*out = (struct howto_place){ .left_out = arena_alloc(a, (c->mirrors_count + 1) *
									sizeof(*out->left_out)) };
	if (host)
		out->authority = authority_of(a, c, host);
	if (!out->left_out || (host && !out->authority))
		return false;
	for (unsigned i = 0; i < c->mirrors_count; i++) {
		enum found f = find(a, c, i, &at);

		if (f == FOUND_NO_MEMORY)
			return false;
		if (f == FOUND_NO_NAME)
			out->left_out[out->left_out_count++] = c->mirrors[i].name;
	}
	return true;
}

/* ---- what is common to the files of all clients ---- */

struct making {
	struct arena *arena;
	const struct config *config;
	struct howto *out;
	struct buf text; /* of the one file for all mirrors */
	bool ok;
};

static void note(struct making *m, const char *text)
{
	m->ok = m->ok && text;
	if (!m->ok)
		return;
	assert(m->out->notes_count < HOWTO_NOTES_MAX);
	m->out->notes[m->out->notes_count++] = text;
}

static void file(struct making *m, const char *path, const char *text)
{
	m->ok = m->ok && path && text;
	if (m->ok)
		m->out->files[m->out->files_count++] = (struct howto_file){ path, text };
}

/* Calls for each mirror that clients can name. */
static void each(struct making *m, void (*put)(struct making *m, const struct at *at))
{
	struct at at;

	for (unsigned i = 0; i < m->config->mirrors_count && m->ok; i++) {
		switch (find(m->arena, m->config, i, &at)) {
		case FOUND: put(m, &at); break;
		case FOUND_NO_NAME: break;
		case FOUND_NO_MEMORY: m->ok = false; break;
		}
	}
}

/* All mirrors in one file. */
static void together(struct making *m, const char *path, const char *head,
		     void (*put)(struct making *m, const struct at *at))
{
	const size_t cap = HEAD_MAX + m->config->mirrors_count * (size_t)ENTRY_MAX;
	char *mem = arena_alloc(m->arena, cap);
	size_t empty;

	m->ok = m->ok && mem;
	if (!m->ok)
		return;
	buf_init(&m->text, mem, cap - 1); /* arena memory is zeroed: the NUL is there */
	m->ok = buf_printf(&m->text, "%s", head);
	empty = buf_len(&m->text);
	each(m, put);
	if (buf_len(&m->text) > empty)
		file(m, path, mem);
}

/* The one [host] of ours whose CA is named as an example. */
static const char *example(struct making *m)
{
	struct at at;

	for (unsigned i = 0; i < m->config->mirrors_count; i++)
		if (find(m->arena, m->config, i, &at) == FOUND)
			return at.authority;
	return "HOST";
}

static void note_logins(struct making *m, const char *program)
{
	struct at at;

	for (unsigned i = 0; i < m->config->mirrors_count; i++) {
		if (m->config->mirrors[i].auth != AUTH_CLIENT ||
		    find(m->arena, m->config, i, &at) != FOUND)
			continue;
		note(m, arena_printf(m->arena, "Images of %s need a login of your own: %s login %s",
				     at.mirror->name, program, at.authority));
		return; /* one shows how */
	}
}

/* ---- docker ---- */

static void docker_file(struct making *m, const struct at *at)
{
	if (strcmp(at->mirror->name, "docker.io") != 0)
		return;
	file(m, "/etc/docker/daemon.json",
	     arena_printf(m->arena, "{\n  \"registry-mirrors\": [\"https://%s%s\"]\n}\n",
			  at->authority, at->path));
	note(m, "If there is a daemon.json already, add the key to it. Then: systemctl restart "
		"docker");
	note(m, arena_printf(m->arena,
			     "If the mirror's certificate is from a CA of your own, put that CA "
			     "into /etc/docker/certs.d/%s/ca.crt",
			     at->authority));
	if (at->path[0])
		note(m, "A mirror below a path needs Docker 25 or newer; a `host` of its own in "
			"[mirror docker.io] does for all.");
}

static void docker(struct making *m)
{
	const char *host = best_of(&m->config->server.hosts);

	each(m, docker_file);
	if (m->ok && m->out->files_count == 0)
		note(m, "Docker takes a mirror for docker.io alone, and there is no [mirror "
			"docker.io] with a name here.");
	host = host ? authority_of(m->arena, m->config, host) : NULL;
	if (host)
		note(m, arena_printf(m->arena,
				     "Images of other registries: write the mirror into the name, "
				     "docker pull %s/quay.io/prometheus/busybox",
				     host));
	note_logins(m, "docker");
}

/* ---- containerd ---- */

/* ns= tells the registry, so the name does for all mirrors. */
static void containerd_file(struct making *m, const struct at *at)
{
	file(m, arena_printf(m->arena, "/etc/containerd/certs.d/%s/hosts.toml", at->mirror->name),
	     arena_printf(m->arena,
			  "[host.\"https://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
			  "  # ca = \"/etc/containerd/mirror-ca.pem\"\n",
			  at->authority));
}

static void containerd(struct making *m)
{
	each(m, containerd_file);
	note(m, "For Kubernetes, containerd 1.x needs this in /etc/containerd/config.toml, and a "
		"restart: [plugins.\"io.containerd.grpc.v1.cri\".registry] config_path = "
		"\"/etc/containerd/certs.d\"; for 2.x the section is "
		"[plugins.\"io.containerd.cri.v1.images\".registry].");
	note(m, "By hand: ctr images pull --hosts-dir /etc/containerd/certs.d NAME");
	note(m, "If the mirror's certificate is from a CA of your own, put it where `ca` says, and "
		"take the # away.");
}

/* ---- podman ---- */

static void podman_entry(struct making *m, const struct at *at)
{
	m->ok = buf_printf(&m->text,
			   "\n[[registry]]\nlocation = \"%s\"\n"
			   "[[registry.mirror]]\nlocation = \"%s%s\"\n",
			   at->mirror->name, at->authority, at->path);
}

static void podman(struct making *m)
{
	together(m, "/etc/containers/registries.conf.d/50-sluice.conf",
		 "# Podman, Buildah, CRI-O and skopeo\n", podman_entry);
	note(m, "It counts from the next pull on; CRI-O takes it up by: systemctl reload crio");
	note(m, arena_printf(m->arena,
			     "If the mirror's certificate is from a CA of your own, put that CA "
			     "into /etc/containers/certs.d/%s/ca.crt",
			     example(m)));
	note_logins(m, "podman");
}

/* ---- k3s ---- */

static void k3s_entry(struct making *m, const struct at *at)
{
	m->ok = buf_printf(&m->text, "  \"%s\":\n    endpoint:\n      - \"https://%s\"\n",
			   at->mirror->name, at->authority);
}

static void k3s(struct making *m)
{
	together(m, "/etc/rancher/k3s/registries.yaml", "mirrors:\n", k3s_entry);
	note(m, "On each node; then: systemctl restart k3s, or k3s-agent. For RKE2 the file is "
		"/etc/rancher/rke2/registries.yaml.");
	note(m, arena_printf(m->arena,
			     "If the mirror's certificate is from a CA of your own, add for each "
			     "host: configs: {\"%s\": {tls: {ca_file: /etc/rancher/k3s/ca.pem}}}",
			     example(m)));
}

/* ---- buildkit ---- */

static void buildkit_entry(struct making *m, const struct at *at)
{
	m->ok = buf_printf(&m->text, "\n[registry.\"%s\"]\n  mirrors = [\"%s%s\"]\n",
			   at->mirror->name, at->authority, at->path);
}

static void buildkit(struct making *m)
{
	together(m, "/etc/buildkit/buildkitd.toml",
		 "# docker buildx create --buildkitd-config FILE takes it, too\n", buildkit_entry);
	note(m, "BuildKit inside of Docker takes Docker's daemon.json instead.");
	note(m, arena_printf(m->arena,
			     "If the mirror's certificate is from a CA of your own, add for each "
			     "host: [registry.\"%s\"] ca = [\"/etc/buildkit/ca.pem\"]",
			     example(m)));
}

bool howto_make(struct arena *a, const struct config *c, enum howto_client client,
		struct howto *out)
{
	static const struct {
		const char *title;
		void (*make)(struct making *m);
	} makers[HOWTO_COUNT] = {
		[HOWTO_DOCKER] = { "Docker", docker },
		[HOWTO_CONTAINERD] = { "containerd", containerd },
		[HOWTO_PODMAN] = { "Podman, Buildah, CRI-O, skopeo", podman },
		[HOWTO_K3S] = { "k3s", k3s },
		[HOWTO_BUILDKIT] = { "BuildKit", buildkit },
	};
	struct making m = { .arena = a, .config = c, .out = out, .ok = true };

	*out = (struct howto){ .title = makers[client].title,
			       .files = arena_alloc(a,
						    (c->mirrors_count + 1) * sizeof(*out->files)) };
	if (!out->files)
		return false;
	makers[client].make(&m);
	return m.ok;
}
