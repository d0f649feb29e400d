/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A few helper threads for what blocks: fsync, rename, unlink, scanning folders, password hashes.
 *
 * Invariants: a job runs once, on one helper, in the order of submission per helper set; its done()
 * then runs on the loop that submitted it (or on the helper itself, when there was no loop).  The
 * queue is unbounded by itself: each owner has at most one job of its own in it.
 */
#pragma once

#include <stdbool.h>

#include "io/loop.h"

struct offload;

struct job {
	struct mail mail;              /* private */
	struct job *next;              /* private */
	struct loop *loop;             /* private */
	void (*work)(struct job *job); /* on a helper thread */
	/* On the submitting loop; without a loop on the helper, where it may be NULL. */
	void (*done)(struct job *job);
};

/* 0 or -errno. */
int offload_new(struct offload **out, unsigned threads) must_check;
/* Finishes what is queued, then joins the threads.  The loops that submitted outlive this call. */
void offload_free(struct offload *o);
/*
 * Any thread.  <loop> may be NULL.  <job> stays valid until done(); without a loop and done() it
 * may free itself in work().
 */
void offload_submit(struct offload *o, struct loop *loop, struct job *job);
