/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bytes of one blob straight from upstream, for one client, while the cache cannot hold or give
 * them: from the first byte on, or from where the disk failed under a reader.  Nothing is buffered:
 * bytes go where the client's are sent from.  Driven by its owner's task, as a body is.
 *
 * Invariants
 *  1. Upstream's bytes go on exactly behind those that the client has: a right 206, or a 200 of
 *     which those are passed by.
 *  2. A body that is the whole blob is hashed, what the client had before included; its last bytes
 *     are given only when the digest is right.  (A range of it goes unhashed, as it does from a
 *     fill: the client has asked for a part, and checks the whole itself.)
 *  3. Each has a fetch of its own; the bound is that of upstream connections.
 */
#pragma once

#include "proxy/fetch.h"

struct bypass_opts {
	struct mirror *mirror;
	struct slice repo; /* borrowed, as the rest */
	const struct digest *digest;
	const char *authorization; /* as in fetch_opts */
};

struct bypass;

enum bypass_head { BYPASS_WAITS, BYPASS_THERE, BYPASS_REFUSED };

/*
 * From the first byte; <head>: only the size is asked for now, since what is read will not begin
 * there.  NULL: no memory.
 */
struct bypass *bypass_new(struct proxy *p, struct task *owner, const struct bypass_opts *o,
			  bool head) must_check;
/*
 * Goes on at <from> with a blob of <size> (BLOB_SIZE_UNKNOWN).  <blob>: whose file gave the bytes
 * before, borrowed until it is closed; NULL: the body is not the whole blob, and not hashed.
 */
struct bypass *bypass_resume(struct proxy *p, struct task *owner, const struct bypass_opts *o,
			     uint64_t from, uint64_t size, struct blob *blob) must_check;
/* After bypass_new().  THERE: *size is known or BLOB_SIZE_UNKNOWN.  REFUSED: *why says it. */
enum bypass_head bypass_head(struct bypass *bp, struct buf *words, uint64_t *size,
			     struct blob_failure *why);
uint64_t bypass_size(const struct bypass *bp);
/* Before the first read: what will be read is the whole blob. */
void bypass_hash(struct bypass *bp);
/* > 0: bytes from position <from> on; else as body_read(). */
int bypass_read(struct bypass *bp, uint64_t from, char *dst, size_t cap) must_check;
/* Frees it. */
void bypass_close(struct bypass *bp);
