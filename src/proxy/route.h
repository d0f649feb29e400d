/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which registry a request is for.  Pure: a closed list of mirrors, no dialling, no guessing.
 *
 *  - Host is a mirror's own: that mirror.  `ns`, a path prefix, or a first path component that is a
 *    configured registry's name must name the same one: an image of another registry is never
 *    served under a wrong name.
 *  - Any other Host: `ns`, else the prefix before /v2/, else the first component after it.
 *  - A registry that is not configured: 404 at once.
 *  - docker.io: "busybox" is "library/busybox".
 */
#pragma once

#include "base/arena.h"
#include "config/config.h"
#include "proxy/oci.h"

struct route {
	int mirror;        /* index in config->mirrors, -1: none */
	struct slice repo; /* as upstream knows it */
	struct slice ns;   /* the `ns` that was given, for OCI-Namespace */
	int status;        /* mirror < 0: what to answer */
	const char *code;
	const char *why; /* a sentence for the client, in the arena */
};

/* The mirror that /v2/ is asked of, -1: none in particular, or several. */
int route_ping(struct arena *a, const struct config *c, struct slice host,
	       const struct oci_path *path);
/*
 * <host>: Host without port, any case.  <path> has a verb other than OCI_PING, OCI_NONE and
 * OCI_BAD.
 */
void route_find(struct arena *a, const struct config *c, struct slice host,
		const struct oci_path *path, struct route *out);
