/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From one process to the next, with the listening sockets handed over.
 *
 * The old one starts the program at its path again, with the sockets, and goes on serving.  The
 * new one, the heir, comes up as ever, says so when it serves, and takes the control socket's name;
 * the old one drains only then.  An heir that fails, or is not ready within UPGRADE_MAX_MS, is put
 * away, and nothing has happened.
 *
 * What the heir prints while it comes up goes through the old one, who tells it to who asked.
 * Both use the cache's folder for a while: files in use there are locked (cache/store.h).
 *
 * Environment: SLUICE_HEIR=<status fd>,<stderr fd>,<socket>,...
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/assert.h"

struct server;
struct control_call;

enum { UPGRADE_MAX_MS = 60 * 1000, UPGRADE_LINE_MAX = 1024 };

enum upgrade_state {
	UPGRADE_NONE,
	UPGRADE_RUNS, /* the heir comes up */
	UPGRADE_DONE, /* it serves; we are to drain */
};

/* Zeroed: nothing of the kind. */
struct upgrade {
	enum upgrade_state state;
	char *program; /* our own path, taken at the start: it may be replaced since */
	/* Of the old one, while it runs. */
	pid_t pid;
	int status_fd; /* a byte when the heir is ready, the end when it is not to be */
	int said_fd;
	uint64_t due_ms;
	struct control_call *call; /* who asked, or NULL */
	char line[UPGRADE_LINE_MAX];
	size_t line_len;
	/* Of the heir. */
	bool heir;
	int ready_fd;
	int stderr_fd;
};

/* Before anything else: takes what the process before us left, if we are an heir. */
void upgrade_inherit(struct server *s);
/* The heir serves. */
void upgrade_done(struct server *s);
/* On the main thread; <call> may be NULL.  A status, or CONTROL_LATER. */
int upgrade_start(struct server *s, struct control_call *call);
/* For poll(); -1: none. */
int upgrade_status_fd(const struct upgrade *u) must_check;
int upgrade_said_fd(const struct upgrade *u) must_check;
/* Takes what the heir said. */
void upgrade_look(struct server *s);
void upgrade_fini(struct upgrade *u);
