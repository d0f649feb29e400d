/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the kernel knows of a TCP connection, as a line of a table. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"

enum { TCPINFO_CC_MAX = 16 };

/* Of struct tcp_info, as far as it is shown.  Rates in bytes a second, 0 is unknown. */
struct tcpinfo {
	char cc[TCPINFO_CC_MAX];
	uint64_t rtt_us;
	uint64_t rtt_min_us;
	uint64_t pacing;
	uint64_t delivery;
	uint64_t acked_bytes;
	uint64_t received_bytes;
	uint32_t cwnd;
	uint32_t retransmits; /* segments, since the beginning */
	uint32_t unacked;     /* segments on the way */
};

/* From the kernel's struct, which older kernels give shorter. */
void tcpinfo_take(struct tcpinfo *out, const void *info, size_t bytes);
/* Of a socket; 0 or -errno. */
int tcpinfo_get(int fd, struct tcpinfo *out) must_check;
/* Sets the congestion control; 0 or -errno. */
int tcpinfo_set_cc(int fd, const char *cc) must_check;

/* The columns that both probe and watch have: a head, and the values below it. */
void tcpinfo_head(FILE *to);
void tcpinfo_print(FILE *to, const struct tcpinfo *t);
