/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The OCI distribution API as paths, names, media types and errors.  Pure.
 *
 * A request's path gives candidates, because four clients spell a path prefix in four ways:
 *   /v2/<name>/<verb>/<ref>            by host name or ?ns=
 *   /v2/<registry>/<name>/<verb>/<ref> BuildKit, containerd with override_path, podman
 *   /<registry>/v2/<name>/<verb>/<ref> Docker's registry-mirrors with a path
 * oci_parse() gives the pieces and leaves it to route.c which of them is a registry.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"

enum oci_verb {
	OCI_NONE, /* not under /v2/ at all */
	OCI_PING, /* /v2/ or /v2, also behind a prefix */
	OCI_MANIFEST,
	OCI_BLOB,
	OCI_TAGS,
	OCI_REFERRERS,
	OCI_CATALOG,
	OCI_UPLOAD, /* blobs/uploads: pushes */
	OCI_BAD,    /* under /v2/, but no such endpoint, or a bad name, tag or digest */
};

struct oci_path {
	enum oci_verb verb;
	struct slice prefix; /* before /v2/, without slashes at its ends; "" if none */
	struct slice name;   /* between /v2/ and the verb; may begin with a registry's name */
	struct slice ref;    /* tag or digest */
	bool ref_is_digest;
	struct slice query; /* without '?' */
	const char *code;   /* OCI_BAD: the error code to answer, e.g. NAME_INVALID */
	const char *why;    /* OCI_BAD: a sentence */
};

/* <target> is "/path?query"; percent-encoded paths are decoded once (bad escapes: OCI_BAD). */
void oci_parse(struct arena *a, struct slice target, struct oci_path *out);

bool oci_name_ok(struct slice name);
bool oci_tag_ok(struct slice tag);
/* "sha256:64 hex" and "sha512:128 hex" in lower case. */
bool oci_digest_ok(struct slice digest);

/* The Accept value to send upstream: every manifest type that we know. */
extern const char oci_accept_manifests[];

/* Known manifest media types; index 0 is "application/octet-stream" (a blob). */
enum { OCI_TYPES = 9 };
struct oci_type {
	const char *media_type;
	const char *suffix; /* for cache file names: "oci-index" ... */
};
extern const struct oci_type oci_types[OCI_TYPES];
/* Parameters ("; charset") ignored; -1: not one of them. */
int oci_type_of(struct slice content_type);
/*
 * From the JSON itself: mediaType, else its shape (manifests: index; config and layers: manifest;
 * schemaVersion 1).  -1: no manifest.
 */
int oci_type_of_json(const char *json, size_t len);

/* What upstream calls it, if that is a manifest's type, else what it is; -1: no manifest. */
int oci_manifest_type(struct slice content_type, struct slice json);
/*
 * What to ask for next to see that an image can be pulled: of an index one of its manifests, for
 * Linux on amd64 if there is one; of a manifest its first layer, or its configuration.
 */
struct oci_piece {
	bool child;          /* a manifest */
	struct slice digest; /* as it is written; none: there is nothing */
	uint64_t bytes;      /* as the manifest says; 0: it does not */
};
struct oci_piece oci_manifest_piece(struct arena *a, struct slice json) must_check;
/* "repository:NAME:pull", the scope of a token for one repository; NULL: no memory. */
char *oci_pull_scope(struct arena *a, struct slice repo) must_check;

/* {"errors":[{"code":..,"message":..,"detail":..}]}; detail may be none.  NULL: no memory. */
char *oci_error_json(struct arena *a, const char *code, struct slice message,
		     struct slice detail) must_check;
/*
 * The code that suits a status: 404 by verb, 401 UNAUTHORIZED, 403 DENIED, 429 TOOMANYREQUESTS,
 * else UNKNOWN ...
 */
const char *oci_code_of(int status, enum oci_verb verb);
/* The first error's message of an upstream error body, or none; memory from <a>. */
struct slice oci_error_message(struct arena *a, struct slice json);
