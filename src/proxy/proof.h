/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A blob came wrong and is fetched once more (blob_successor): may one of its readers go on with
 * the second?  Only if what he has of the first is the same there, byte for byte, and the blob is
 * as long as he was told.  Both files are read on a helper.
 *
 * Invariant: SAME is said only after the second has all that was taken of the first.
 */
#pragma once

#include "cache/cache.h"
#include "io/loop.h"
#include "io/offload.h"

struct body;

enum proof_state { PROOF_IDLE, PROOF_RUNS, PROOF_SAME, PROOF_DIFFERS };

struct proof {
	struct job job;
	enum proof_state state;
	bool stop;       /* atomic: nobody wants the answer any more */
	bool same;       /* the job's, as the next two */
	unsigned at;     /* segment */
	uint64_t done;   /* bytes of it */
	struct body *of; /* which does not move while it runs */
	int fds[2];      /* borrowed, as the blobs are */
};

/* Of a body whose blob was followed by another: b->blob, after b->was. */
enum proof_state proof_step(struct proof *p, struct body *b) must_check;
/* True: nothing runs.  False: the body's owner will be woken, call again. */
bool proof_close(struct proof *p) must_check;
