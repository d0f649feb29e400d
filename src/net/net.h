/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What all streams of one worker share: buffers, the sealing slab, the crypto engine, counters.
 *
 * The two slabs are shared by every connection of the worker and hold nothing from one call to the
 * next: plaintext is made in `plain`, sealed into `sealed`, and offered to the kernel at once.
 * They stay in L2; a connection owns memory only for what the kernel would not take.
 */
#pragma once

#include "base/limits.h"
#include "base/pool.h"
#include "base/stat.h"
#include "io/loop.h"
#include "net/pipes.h"

struct aead_engine;
struct ktls;

enum {
	/* Four full records a call: 64 KiB is where read + seal + send cost least per byte here. */
	NET_PLAIN_BYTES = 64 * 1024,
	NET_SEALED_BYTES = NET_PLAIN_BYTES + 8 * 1024,
};

struct net {
	struct loop *loop;
	struct stats *stats;
	struct aead_engine *aead; /* net/aead.h */
	const struct ktls *ktls;  /* net/ktls.h; borrowed; NULL: our own records alone */
	struct pool small;        /* raw input: one record and a receive more (NET_SMALL_BYTES) */
	struct pool big;          /* raw input of upstream connections */
	char *plain;              /* NET_PLAIN_BYTES, for owners to make output in */
	struct pipes pipes;       /* for net/splice.h */
	char *sealed;             /* NET_SEALED_BYTES, private to stream.c */
};

enum { NET_SMALL_BYTES = TLS_RECORD_MAX + 4096, NET_BIG_BYTES = 128 * 1024 };

/* conns_max bounds the buffers out at once.  0 or -errno. */
int net_init(struct net *n, struct loop *l, struct stats *st, unsigned conns_max) must_check;
void net_fini(struct net *n);
/* Which code seals which cipher's records, and how fast. */
void net_log_engines(const struct net *n);
