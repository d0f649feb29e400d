/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The io_uring of one loop and its provided receive buffers: set-up, submission entries, waiting.
 * Private to io/: loop.c turns it, ops.c fills it.
 *
 * Invariants
 *  1. The ring is made disabled, by any thread; the thread that calls ring_own() is the only one
 *     that enters it afterwards (SINGLE_ISSUER).
 *  2. Each receive buffer is either the kernel's or that of the one completion being run.
 */
#pragma once

#include <liburing.h>

#include "io/loop.h"

enum { RING_RX_GROUP = 1 };

struct ring {
	struct io_uring uring;
	struct io_uring_buf_ring *rx_ring;
	char *rx_mem;
	unsigned rx_bufs;
	unsigned rx_buf_bytes;
	bool enabled;
};

/* 0 or -errno with the cause in *why.  ring_fini() is legal after a failure. */
int ring_init(struct ring *r, const struct loop_opts *opts, const char **why) must_check;
void ring_fini(struct ring *r);

/* The calling thread takes the ring, and lets it go before it ends or before ring_fini(). */
void ring_own(struct ring *r);
void ring_disown(struct ring *r);

/* Never NULL: a full queue is submitted first. */
struct io_uring_sqe *ring_sqe(struct ring *r);
/* Submits, then waits for a completion, at most wait_ms. */
void ring_submit(struct ring *r, uint64_t wait_ms);

/* The buffer of a completion, and its way back to the kernel. */
char *ring_rx_data(const struct ring *r, uint32_t cqe_flags);
void ring_rx_recycle(struct ring *r, uint32_t cqe_flags);
