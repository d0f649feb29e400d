/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The public registries, so that "[mirror docker.io]" needs no further word. */
#pragma once

#include <stddef.h>

struct known_registry {
	const char *name;
	const char *host;  /* of its API, by https */
	const char *realm; /* host of its token server; NULL: the same, or there is none */
	const char *image; /* small, public and there for long: for a look at it; NULL: none */
};

/* NULL: not known. */
const struct known_registry *known_by_name(const char *name);
const struct known_registry *known_by_host(const char *host);
