/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The body of one answer: pieces of memory and ranges of one blob, in order, read by whoever sends
 * it.  Hides whether the blob is complete, still being filled, or on a disk that has to be waited
 * for; a fill that came wrong and is done once more (proof.h); and a disk that fails: then upstream
 * gives the rest (bypass.h).
 */
#pragma once

#include <sys/uio.h>

#include "cache/cache.h"
#include "io/loop.h"
#include "proxy/bypass.h"
#include "proxy/diskread.h"
#include "proxy/proof.h"
#include "proxy/proxy.h"

struct segment {
	const char *mem; /* NULL: from the blob */
	uint64_t from;
	uint64_t bytes; /* BLOB_SIZE_UNKNOWN: to the blob's end, whatever it will be */
};

enum { BODY_PLACES_MAX = 4 };

enum body_wait { BODY_WAIT = 0, BODY_END = -1, BODY_BROKEN = -2 };

struct body {
	struct proxy *proxy;
	struct task *owner;       /* woken when a read that gave BODY_WAIT may go on */
	struct segment *segments; /* borrowed */
	unsigned count;
	unsigned at;       /* segment */
	uint64_t done;     /* bytes of it that were taken */
	uint64_t total;    /* taken in all */
	bool counted;      /* in the statistics, as it is taken */
	bool from_cache;   /* there it is of a file that was complete */
	struct blob *blob; /* a reference, or NULL */
	struct blob *was;  /* the one before it, which was wrong: what was taken came from there */
	struct proof proof;
	struct blob_waiter waiter;
	struct diskread *read; /* one that waits for the disk, or what it brought */
	size_t read_used;
	const struct bypass_opts *rest; /* borrowed; NULL: nobody else has the blob */
	struct bypass *bypass;          /* once there: the blob is not read any more */
	struct visit *visit;            /* borrowed: the body is what a site answers */
	int err;
};

void body_init(struct body *b, struct proxy *p, struct task *owner);
/* Takes over the blob reference. */
void body_set(struct body *b, struct segment *segments, unsigned count, struct blob *blob);
/* Where the blob can be had if the cache fails; before the first read. */
void body_set_rest(struct body *b, const struct bypass_opts *rest);
/* > 0: bytes copied to <dst>; else enum body_wait. */
int body_read(struct body *b, char *dst, size_t cap) must_check;
/* The same for 1 to BODY_PLACES_MAX places; from a file, all of them are filled at once. */
int body_readv(struct body *b, const struct iovec *to, unsigned count) must_check;
/* Is nothing left?  (Of a blob of unknown size, body_read() tells.) */
bool body_is_over(struct body *b);
/* The file range that body_read() would read next, for a stream that takes files; false: none. */
bool body_file(struct body *b, int *fd, uint64_t *off, size_t *len);
/* That many bytes of it were sent. */
void body_skip(struct body *b, size_t n);
/* True: all is given back.  False: something is in flight; the owner will be woken, call again. */
bool body_close(struct body *b) must_check;
