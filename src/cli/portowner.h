/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which program of this machine listens at an address: from /proc, as ss does it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/assert.h"
#include "config/config.h"

enum port_state {
	PORT_FREE,
	PORT_TAKEN,   /* by <pid>; 0: which one could not be seen, that needs root */
	PORT_UNKNOWN, /* /proc does not tell */
};

struct port_owner {
	pid_t pid;
	char name[64]; /* of its program */
};

/* Addresses overlap when they are the same, or one of them is "all". */
enum port_state port_look(const struct conf_addr *at, struct port_owner *out) must_check;
