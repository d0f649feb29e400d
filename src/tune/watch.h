/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The live connections of all processes named sluice, by INET_DIAG: who, and what TCP_INFO says.
 * Which sockets are theirs stands in /proc/PID/fd, which root and their own user may read.
 */
#pragma once

#include "tune/tune.h"

enum {
	WATCH_SOCKETS_MAX = 64 * 1024, /* descriptors of these processes that are looked at */
	WATCH_LINES_MAX = 1000,        /* connections shown at a time */
	WATCH_PROCESSES_MAX = 64,
};

int watch_run(const struct tune_options *o);
