/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A connection to HOST:PORT for each congestion control that the kernel has, one after the other:
 * sends zeros, as many as asked for, and shows what TCP_INFO says of it.  What listens there should
 * take them (nc -l 9000 >/dev/null); a server that closes ends the transfer early.
 */
#pragma once

#include "tune/tune.h"

enum { PROBE_CONNECT_MS = 10 * 1000, PROBE_SEND_MS = 15 * 1000, PROBE_CCS_MAX = 16 };
#define PROBE_BYTES (1ull << 20)
#define PROBE_BYTES_MAX (1ull << 30)

int probe_run(const struct tune_options *o, const char *target);
