/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * All published files of a store, one after another, as the folders give them: for the scan, the
 * scrub and `sluice verify`.  On a helper: it reads folders.  Private to cache/.
 */
#pragma once

#include <sys/stat.h>

#include "cache/store.h"

struct walk {
	const struct store *store;
	unsigned next; /* of an owner's kinds and algorithms */
	uint32_t owner;
	uint32_t kind;
	enum digest_alg alg;
	DIR *owners; /* private */
	DIR *outer;  /* blobs/sha256 */
	DIR *inner;  /* blobs/sha256/ab */
	char two[3];
	unsigned strange; /* names that are not ours */
};

struct walk_file {
	uint32_t kind;
	uint8_t type;
	struct digest digest;
	struct stat st;
};

void walk_begin(struct walk *w, const struct store *s);
/* False: that was all. */
bool walk_next(struct walk *w, struct walk_file *out) must_check;
/* At any time; legal on a zeroed struct. */
void walk_end(struct walk *w);
