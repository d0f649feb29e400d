/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of a fill share.  Private to them. */
#pragma once

#include "cache/fill.h"

enum {
	/*
	 * A file that takes longer to open, or 256 KiB to be written: the disk is stuck.  (One that
	 * is only slow, down to 26 KB/s, slows the upstream down.)
	 */
	FILL_STUCK_MS = 10 * 1000,
};

void fill_chunk_put(struct fill *f, struct buf *b);
void fill_hash_end(struct fill *f, struct digest *found);
void fill_lose(struct fill *f, const struct blob_failure *why);
void fill_lose_disk(struct fill *f, const char *what, int err);
/* FILL_STUCK_MS are over. */
void fill_lose_stuck(struct fill *f);
/* The disk has FILL_STUCK_MS for what is asked of it now. */
void fill_limit(struct fill *f);
/* How much of what is written readers may have. */
uint64_t fill_avail(const struct fill *f);
/* The journal, if enough has been written since. */
void fill_save_due(struct fill *f);
/* What is in memory goes to the disk, if it can now. */
void fill_write(struct fill *f);
/* Everything is hashed: is it what it should be? */
void fill_check(struct fill *f);

/* fill_wide.c: hashes on, if there is enough to; or what there is, when its end is waited for. */
void fill_wide_hash(struct fill *f);
