/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Pipes of one worker for splice(2): held only while bytes are in them, so that connections that
 * wait cost none.
 *
 * Invariants
 *  1. At most PIPES_MAX are out; PIPES_KEPT idle ones are kept.  Having none is no error: the bytes
 *     are copied then.
 *  2. What is given back is empty, or closed.
 */
#pragma once

#include <stdbool.h>

#include "base/assert.h"

enum {
	/* Of 256 KiB: the kernel lets a user without privileges have about so many. */
	PIPES_MAX = 256,
	PIPES_KEPT = 32,
	PIPE_BYTES = 256 * 1024,
};

struct pipes {
	unsigned out;
	unsigned kept;
	int idle[PIPES_KEPT][2];
};

struct pipe {
	int fds[2]; /* read, write; both non-blocking; zeroed: there is none */
};

static inline bool pipe_is(const struct pipe *p)
{
	return p->fds[1] > 0;
}

void pipes_fini(struct pipes *ps);
/* False: none can be had now. */
bool pipes_get(struct pipes *ps, struct pipe *p) must_check;
/* <empty>: nothing is in it. */
void pipes_put(struct pipes *ps, struct pipe *p, bool empty);
