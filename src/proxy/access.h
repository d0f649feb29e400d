/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The access log: one line per request, and one per pull (tally.h), buffered per worker and
 * written by the loop; a worker never waits for it.  When two buffers are full the line is dropped
 * and counted.
 */
#pragma once

#include <stdint.h>

#include "config/config.h"
#include "io/loop.h"
#include "net/addr.h"

enum { ACCESS_BUF_BYTES = 64 * 1024, ACCESS_FLUSH_MS = 500 };

struct access_log {
	struct loop *loop;
	struct stats *stats;
	int fd; /* -1: off; O_APPEND, shared by all workers, not owned */
	enum conf_format format;
	struct op op;
	struct timer timer;
	unsigned inflight;
	char *mem[2];
	size_t len[2];
	unsigned filling;
	size_t written; /* of the buffer in the write */
};

/* All slices may be none; text from outside is escaped here. */
struct access_line {
	const struct addr *client;
	struct slice host;
	struct slice mirror;
	struct slice tenant;
	struct slice method;
	struct slice target;   /* path and query */
	unsigned major, minor; /* of HTTP */
	int status;
	uint64_t bytes;    /* of the body */
	uint64_t bytes_up; /* of a passthrough, a site */
	uint64_t ms;
	const char *cache;     /* hit miss join revalidated stale negative pass site local - */
	struct slice upstream; /* host that was asked, none if none was */
	const char *end;       /* ok, or why it ended early */
	struct slice user_agent;
	const char *tls; /* "TLSv1.3/AES_128_GCM" or "-" */
};

struct tally;

int access_init(struct access_log *a, struct loop *l, struct stats *st, int fd,
		enum conf_format format) must_check;
void access_line(struct access_log *a, const struct access_line *line);
/* One pull, as a line of its own. */
void access_pull(struct access_log *a, const struct tally *t);
/* Would a line find room now? */
bool access_has_room(struct access_log *a) must_check;
/* Writes what is buffered, waiting for it: when the loop has stopped. */
void access_fini(struct access_log *a);
