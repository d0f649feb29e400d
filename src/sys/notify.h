/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the service manager is told, by the protocol of sd_notify(3), without its library: one
 * datagram for each message.  Silent where NOTIFY_SOCKET is not set.  From the main thread alone:
 * a manager that does not read holds it up for NOTIFY_WAIT_MS.
 */
#pragma once

#include <stdint.h>

#include "base/assert.h"

/* It serves; also when a reload is over, whatever came of it. */
int notify_ready(const char *status);
/* A reload begins. */
int notify_reloading(void);
/* It ends, which takes <ms> at most. */
int notify_stopping(uint64_t ms);
/*
 * Lines as "MAINPID=1234".  All of these: 0, also when nobody wants to know; -errno; -ENAMETOOLONG
 * also for a message of NOTIFY_MAX bytes or more.
 */
int notify_send(const char *fmt, ...) printf_like(1, 2);

enum { NOTIFY_MAX = 512, NOTIFY_WAIT_MS = 2000 };
