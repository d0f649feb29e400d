/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Images as people name them, and what a manifest is made of.  Pure.
 */
#pragma once

#include "base/arena.h"
#include "cache/digest.h"
#include "config/config.h"

struct image_name {
	int mirror; /* index in config->mirrors */
	struct slice repo;
	struct slice ref; /* tag or digest */
	bool ref_is_digest;
};

/*
 * "nginx", "docker.io/library/nginx:1.25", "quay.io/a/b@sha256:...": as docker takes them, so
 * without a registry it is docker.io, and without a tag "latest".  False: *why is a sentence.
 */
bool image_name_parse(struct arena *a, const struct config *c, struct slice text,
		      struct image_name *out, const char **why) must_check;

enum { IMAGE_PARTS_MAX = 4096 }; /* of one manifest */

struct image_part {
	struct digest digest;
	uint64_t size; /* 0: not said */
	bool manifest;
	char platform[64]; /* of a manifest in an index: "linux/arm64/v8", or "" */
};

/*
 * What a manifest names: of an index its manifests, else configuration and layers, in its order;
 * malloc'ed.  Layers that lie elsewhere ("urls") are left out.  -1: it is none, or too much.
 */
int image_parts_parse(struct slice json, struct image_part **out) must_check;
