/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Blobs of which only a beginning is there: partial/<alg>-<hex>, with "private-" before it for a
 * private one, and a small journal beside it that says how much of that had reached the disk.  A
 * fill of a large blob writes there instead of tmp/; when it is given up, or the process dies, the
 * next fill of that blob goes on from there.
 *
 * Invariants
 *  1. The journal is believed about nothing but how far to read: those bytes are hashed again
 *     before any more are added, and what is published has the right digest as always.
 *  2. Who has the file's lock (flock) alone writes it; the lock goes with the process.
 *  3. What has no journal, is old, or is too much, is removed.
 *
 * Private to cache/.  All of it waits for the disk: on a helper, but for partial_name() and
 * partial_new().
 */
#pragma once

#include "cache/store.h"

enum {
	/* Smaller ones are fetched again sooner than they are looked up and hashed. */
	PARTIAL_MIN = 1024 * 1024,
	/* The journal is brought up to date after so many bytes: that much is fetched again. */
	PARTIAL_STEP = 8 * 1024 * 1024,
	/* A node that pulls again does so within minutes; links and tags change within days. */
	PARTIAL_AGE_S = 24 * 3600,
	PARTIAL_SHARE = 8, /* of the cache's size, beside it: so much may wait in partial/ */
	PARTIAL_NAME_MAX = 8 + 128 + 1,
	PARTIAL_PATH_MAX = PARTIAL_NAME_MAX + 16,
};

void partial_name(const struct digest *d, char out[PARTIAL_NAME_MAX]);
/* "partial/NAME", below the cache's folder. */
void partial_path(const char *name, char out[PARTIAL_PATH_MAX]);
/* A new file, locked; -EEXIST: there is one, so somebody else fills it. */
int partial_new(const struct store *s, const char *name) must_check;
/*
 * Of an open file: takes the lock, and hashes what the journal vouches for into <hash>, which was
 * begun.  Gives the blob's size and the bytes hashed.  False: nothing to go on from; then the file
 * was removed, unless somebody else has it.
 */
bool partial_resume(const struct store *s, const char *name, int fd, struct digest_ctx *hash,
		    uint64_t *size, uint64_t *bytes) must_check;
/* Hashes the bytes from <from> up to <upto>; <mem> has FILL_CHUNK bytes.  0 or -errno. */
int partial_hash(int fd, uint64_t from, uint64_t upto, char *mem,
		 struct digest_ctx *hash) must_check;
/* The first <bytes> of <size> are written: brings them to the disk, then says so. 0 or -errno. */
int partial_save(struct store *s, const char *name, int fd, uint64_t size,
		 uint64_t bytes) must_check;
/* After publishing: the journal alone; else both. */
void partial_forget(const struct store *s, const char *name);
void partial_remove(const struct store *s, const char *name);
/* What nobody has locked and is old, has no journal, or, oldest first, is beyond <max> bytes. */
void partial_clean(const struct store *s, uint64_t max);
