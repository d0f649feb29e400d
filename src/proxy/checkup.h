/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One upstream of one mirror asked as a pull would ask it, one step after another: its name, /v2/,
 * a token, the HEAD of an image's tag, that manifest, and a few bytes of one of its blobs.  For
 * `sluice doctor`: it finds out, and decides and prints nothing.
 *
 * Invariants
 *  1. It uses fetch.h and uppool.h with the mirror's own settings, and no cache.
 *  2. No more of a blob is read than BLOB_BYTES, whatever upstream sends; of manifests at most two.
 *  3. It ends within CHECKUP_MS: the step that it is in then has failed with -ETIMEDOUT.
 *  4. No other upstream is asked in its place (fetch_opts.only).
 */
#pragma once

#include "net/addr.h"
#include "proxy/fetch.h"

enum checkup_step {
	CHECKUP_NAME,
	CHECKUP_PING,
	CHECKUP_TOKEN,
	CHECKUP_HEAD,
	CHECKUP_MANIFEST,
	CHECKUP_BLOB,
	CHECKUP_STEPS
};

enum checkup_verdict {
	CHECKUP_SKIPPED, /* not needed, or what it needs is not there */
	CHECKUP_WELL,
	CHECKUP_FAILED,
};

enum { CHECKUP_MS = 30 * 1000, CHECKUP_ADDRS = 4, CHECKUP_ARENA = 64 * 1024 };

struct checkup_result {
	enum checkup_verdict verdict;
	uint64_t ms;
	int err;        /* 0: a status was told */
	int status;     /* 0: none */
	char said[520]; /* upstream's own words */
};

struct checkup {
	struct proxy *proxy;
	struct mirror *mirror;
	unsigned up;       /* index in mirror->ups */
	const char *image; /* "library/hello-world:latest"; NULL: no image is known there */
	void (*done)(struct checkup *c);

	/* What was found. */
	struct checkup_result results[CHECKUP_STEPS];
	unsigned addrs_count; /* all of them */
	char addrs[CHECKUP_ADDRS][ADDR_TEXT_MAX];
	bool by_via;         /* an outgoing proxy resolves the name */
	char realm[256];     /* host of the token server; "": none is asked */
	bool basic;          /* it wants a login by Basic instead */
	char blob_host[256]; /* where the blob came from; "": the upstream itself */
	bool ranges;         /* it gave the range that was asked for */
	int64_t date_s;      /* its clock when ... */
	int64_t asked_s;     /* ... ours said that; both 0: it did not tell */

	/* Private. */
	enum checkup_step step;
	bool child; /* the manifest that is asked for is one of an index */
	uint64_t begun_ms;
	struct task task;
	struct timer timer;
	struct arena arena;
	struct uppool *pool;
	struct uppool_wait wait;
	struct fetch fetch;
	struct fetch_opts opts;
	struct buf body; /* malloc'ed */
	struct slice repo;
	struct slice tag;
	const char *scope;
	struct digest digest; /* of the manifest, then of the blob */
	uint64_t blob_bytes;
};

/* <c>: zeroed but for proxy, mirror, up, image and done, which is called once, on the loop. */
void checkup_start(struct checkup *c);
/* When it is done. */
void checkup_fini(struct checkup *c);

/* "REPOSITORY[:TAG]"; <tag> is "latest" if there is none.  False: it is not. */
bool checkup_image(struct slice image, struct slice *repo, struct slice *tag) must_check;
