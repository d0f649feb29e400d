/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * HTTP/1.1 to the running server by a connection that its control socket gives (proxy/guest.h): how
 * a subcommand pulls like a client.  Blocking, one request at a time; opens again by itself.
 */
#pragma once

#include "base/buf.h"
#include "cache/digest.h"
#include "cli/cli.h"

enum {
	CHANNEL_IDLE_S = 120, /* the server has its own limits, which are shorter */
	CHANNEL_BUF = 64 * 1024,
};

struct channel {
	const struct cli_args *args;
	int fd; /* -1: none */
	char *mem;
	size_t len; /* of what came and was not used yet */
};

struct channel_answer {
	int status; /* 0: there was none */
	unsigned retry_after_s;
	char cache[16]; /* X-Cache, or "" */
	char digest[DIGEST_TEXT_MAX];
	uint64_t bytes; /* of the body */
	char why[512];  /* of what is no 2xx: a sentence */
};

/* False: no memory.  Connects at the first request. */
bool channel_init(struct channel *c, const struct cli_args *args) must_check;
void channel_fini(struct channel *c);
/* Connects now.  False: it was printed why not. */
bool channel_reach(struct channel *c) must_check;
/*
 * <more>: header fields, each with its line end.  The body is kept in <body> if that is not NULL
 * (an answer that does not fit fails), and <seen> is told as it comes, which may be NULL.  False:
 * no answer, or not all of it; a->why tells.
 */
bool channel_ask(struct channel *c, const char *method, const char *path, const char *more,
		 struct buf *body, void (*seen)(void *ctx, size_t bytes), void *ctx,
		 struct channel_answer *a) must_check;
