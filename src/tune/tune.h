/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line of sluice-tune. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tune/settings.h"

enum { EXIT_DONE = 0, EXIT_TO_APPLY = 1, EXIT_IMPOSSIBLE = 2, EXIT_FAILED = 3, EXIT_USAGE = 100 };

struct tune_options {
	const char *root; /* "" */
	uint64_t rtt_ms;
	uint64_t bandwidth;
	bool json;
	bool persist;
	bool dry_run;
	uint64_t bytes;       /* of probe */
	uint64_t interval_ms; /* of watch */
	uint64_t count;       /* 0: without end */
};
