/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Asks an upstream what a tag points at: HEAD, which costs no Docker Hub quota; GET where HEAD is
 * refused or gives no digest, and then the manifest is stored too.  One question at a time for each
 * tag of a worker, whoever waits.
 */
#pragma once

#include "cache/tag.h"
#include "proxy/fetch.h"

struct tagcheck {
	struct proxy *proxy;
	struct mirror *mirror;
	struct list node;
	struct list waiters; /* struct tagwait.node */
	unsigned refs;
	struct task task;
	struct arena arena;
	struct fetch fetch;
	struct fetch_opts opts;
	struct buf body;
	struct slice repo;
	struct slice tag;
	bool whole; /* GET, not HEAD */
	bool done;
	struct blob_failure why; /* status and err 0: the record is valid */
	struct tag_record record;
	unsigned up; /* index of the upstream that gave it */
};

/* One who waits; lives in its owner. */
struct tagwait {
	struct list node;
	struct task *task;
	struct tagcheck *check; /* NULL: not waiting */
};

/* Joins or begins; w->task is woken when w->check->done.  False: TAGCHECKS_MAX, or no memory. */
bool tagcheck_join(struct proxy *p, struct mirror *m, struct slice repo, struct slice tag,
		   struct tagwait *w) must_check;
void tagcheck_leave(struct tagwait *w);
