/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/known.h"

#include <string.h>

#include "base/assert.h"

/* Token servers as their challenges named them in 2026; lscr.io is a front of ghcr.io. */
static const struct known_registry known[] = {
	{ "docker.io", "registry-1.docker.io", "auth.docker.io" },
	{ "gcr.io", "gcr.io", NULL },
	{ "k8s.gcr.io", "k8s.gcr.io", NULL },
	{ "registry.k8s.io", "registry.k8s.io", NULL },
	{ "quay.io", "quay.io", NULL },
	{ "ghcr.io", "ghcr.io", NULL },
	{ "mcr.microsoft.com", "mcr.microsoft.com", NULL },
	/* The first challenge names nvcr.io itself, one for an expired token this. */
	{ "nvcr.io", "nvcr.io", "authn.nvidia.com" },
	{ "public.ecr.aws", "public.ecr.aws", NULL },
	{ "registry.gitlab.com", "registry.gitlab.com", "gitlab.com" },
	{ "lscr.io", "lscr.io", "ghcr.io" },
	{ "docker.elastic.co", "docker.elastic.co", "docker-auth.elastic.co" },
};

const struct known_registry *known_by_name(const char *name)
{
	for (size_t i = 0; i < countof(known); i++)
		if (strcmp(known[i].name, name) == 0)
			return &known[i];
	return NULL;
}

const struct known_registry *known_by_host(const char *host)
{
	for (size_t i = 0; i < countof(known); i++)
		if (strcmp(known[i].host, host) == 0)
			return &known[i];
	return NULL;
}
