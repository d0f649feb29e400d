/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a client has to be told so that it pulls through this mirror: its own configuration files,
 * ready to be put where they belong.  Pure: made of the configuration alone.  `sluice clients`
 * prints it, the page for browsers (guide.h) shows it.
 *
 * A mirror is named by a `host` of its own if it has one, else by a path below a `host` of
 * [server]; a name goes before an IP address, which some clients do not take for TLS.  One that
 * has neither is in no file, and said to be left out.
 */
#pragma once

#include "base/arena.h"
#include "config/config.h"

enum howto_client {
	HOWTO_DOCKER,
	HOWTO_CONTAINERD,
	HOWTO_PODMAN,
	HOWTO_K3S,
	HOWTO_BUILDKIT,
	HOWTO_COUNT
};
/* "docker", ..., as it is written on the command line. */
extern const char *const howto_names[HOWTO_COUNT];

struct howto_file {
	const char *path; /* on the client's machine */
	const char *text; /* whole lines */
};

enum { HOWTO_NOTES_MAX = 6 };

struct howto {
	const char *title;        /* "Docker" */
	struct howto_file *files; /* may be none: then a note says why */
	unsigned files_count;
	const char *notes[HOWTO_NOTES_MAX]; /* sentences: what to do after, and around, the files */
	unsigned notes_count;
};

/* What is said of all clients. */
struct howto_place {
	const char *authority; /* "mirror.example.com:8443" of the first [server] host; or NULL */
	const char **left_out; /* names of mirrors that clients cannot name */
	unsigned left_out_count;
};

/* False: no memory. */
bool howto_make(struct arena *a, const struct config *c, enum howto_client client,
		struct howto *out) must_check;
bool howto_look(struct arena *a, const struct config *c, struct howto_place *out) must_check;
/* Is <host> (no port, any case) one of our names? */
bool howto_is_ours(const struct config *c, struct slice host) must_check;
/* Arena bytes for all of it, by the number of mirrors. */
size_t howto_bytes(const struct config *c) must_check;
