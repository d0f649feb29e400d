/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What loop.c and ops.c share. */
#pragma once

#include "io/loop.h"
#include "io/ring.h"

enum {
	/* Completions taken from the ring before any callback runs; the rest waits a turn. */
	LOOP_BATCH = 256,
	LOOP_TIMERS_PER_TURN = 256,
	LOOP_TASKS_PER_TURN = 1024,
};

/* A completion.  Copied out of the ring, since a callback that submits may need its room there. */
struct ready {
	struct op *op;
	int res;
	uint32_t flags;
};

struct loop {
	struct ring ring;
	uint64_t now_ms;
	bool stopping;
	unsigned inflight; /* operations, the loop's own included */
	unsigned own_inflight;
	struct timers timers;
	struct task *task_first;
	struct task **task_last;
	uint32_t task_round;
	struct mail *mail; /* latest first; pushed by any thread, taken whole by ours */
	int event_fd;      /* written when mail stops being empty */
	struct op event_op;
	struct ready ready[LOOP_BATCH];
};

/* Runs the callback of a completion, or lets the operation go on where it has to. */
void op_complete(struct loop *l, const struct ready *done);
