/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Asks an upstream what a tag points at: HEAD, which costs no Docker Hub quota; GET where HEAD is
 * refused or gives no digest, and then the manifest is stored too.  One question at a time for each
 * tag of a worker, whoever waits.
 *
 * What it says is recorded here, since nobody may be waiting any more: the answer as the tag's
 * record; after a 401, 403 or 404 there is none, and a 404 is kept (small.h).
 */
#pragma once

#include "cache/tag.h"
#include "proxy/fetch.h"

struct tagcheck {
	struct proxy *proxy;
	struct mirror *mirror;
	struct list node;
	struct list waiters; /* struct tagwait.node */
	unsigned refs;       /* who waits, and the check itself when it is a refresh */
	struct task task;
	struct arena arena;
	struct fetch fetch;
	struct fetch_opts opts;
	struct buf body;
	struct slice repo;
	struct slice tag;
	bool whole; /* GET, not HEAD */
	bool done;
	bool refresh;            /* goes on though nobody waits */
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
/* Asks, unless that is being done, with nobody waiting: its answer goes into the record. */
void tagcheck_refresh(struct proxy *p, struct mirror *m, struct slice repo, struct slice tag);
/* When the worker stops. */
void tagchecks_drop_refreshes(struct proxy *p);
