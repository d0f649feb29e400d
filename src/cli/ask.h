/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What subcommands ask of the server that runs, by its control socket: server/control.h. */
#pragma once

#include <cjson/cJSON.h>

#include "cli/cli.h"

enum { ASK_FAILED = 1 }; /* exit status: no server, or no answer */

/* One line of the answer, parsed; <text> is the line as it came. */
typedef void (*ask_line)(void *ctx, const cJSON *line, const char *text);

/*
 * Sends the words (the first is the command; none has a tab or line end) to the server of
 * args->file, gives each line of its answer but the last to <line>, and returns the exit status
 * that the last one tells; ASK_FAILED: stderr says why.  <quiet_s>: how long the server may say
 * nothing.  NULL for <line>: with --json lines are printed as they are; else "message" to stdout,
 * "warning" and "error" to stderr, and other lines as they are.
 */
int cli_ask(const struct cli_args *args, const char *const *words, unsigned count, unsigned quiet_s,
	    ask_line line, void *ctx);

/* A connection to a worker, to speak HTTP: proxy/guest.h.  -1: stderr says why. */
int cli_channel(const struct cli_args *args) must_check;
