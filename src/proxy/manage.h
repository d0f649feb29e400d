/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What `sluice ls`, `du`, `pin` and `purge` ask of a running server.  Answers are lines of JSON,
 * whose keys are binding.  All of it may block: on a helper or the main thread, never on a loop.
 */
#pragma once

#include "proxy/pins.h"
#include "proxy/proxy.h"

struct manage {
	struct shared *shared;
	const struct setup *setup; /* held by the caller */
	/* One line, without its newline; false: nobody reads on. */
	bool (*line)(void *ctx, const char *json);
	void *ctx;
	char why[512]; /* of a failure: a sentence */
};

/* False: m->why tells. */
bool manage_status(struct manage *m) must_check;
/* <what>: "images", "blobs", or the name of an image, of which all parts are told. */
bool manage_ls(struct manage *m, const char *what) must_check;
/* Bytes by mirror and by repository: in all, and of these what no other one has, too. */
bool manage_du(struct manage *m) must_check;
/* <name> is an image's.  It may come later. */
bool manage_pin(struct manage *m, const char *name, bool on) must_check;
bool manage_pins(struct manage *m) must_check;
/*
 * <what>: an image, a mirror or a digest.  What another tag leads to, or a pin, stays; who reads
 * something of it has it to the end.
 */
bool manage_purge(struct manage *m, const char *what) must_check;
