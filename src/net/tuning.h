/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a configuration wants of a TCP socket and the kernel may refuse: its own default goes then.
 * Set on a listening socket, what is accepted from it inherits it all.
 */
#pragma once

#include <stdint.h>

#include "base/assert.h"

/* NULL, 0: the kernel's. */
struct tuning {
	const char *congestion; /* borrowed */
	unsigned sndbuf_bytes;
	unsigned rcvbuf_bytes;
	unsigned notsent_bytes;
	uint64_t pacing_bytes; /* a second */
	unsigned fastopen;     /* of a listening socket: connections that wait in its SYN queue */
};

/*
 * NULL, or the key of one that was refused, and -errno; it is taken out of *t, and the call is to
 * be made again for the rest.
 */
const char *tuning_set(int fd, struct tuning *t, int *err) must_check;
