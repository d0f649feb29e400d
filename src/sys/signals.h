/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Signals are taken by the main thread alone, one after the other, in ordinary code; no handler
 * runs.  (Not sys/signal.h: that would hide the C library's header of this name.)
 */
#pragma once

#include <stdint.h>

#include "base/assert.h"

enum signals_event {
	SIGNALS_NONE,    /* the time is over */
	SIGNALS_STOP,    /* SIGTERM, SIGINT */
	SIGNALS_RELOAD,  /* SIGHUP */
	SIGNALS_REOPEN,  /* SIGUSR1 */
	SIGNALS_UPGRADE, /* SIGUSR2 */
};

/* Before the first thread is made: threads inherit that these are blocked, and SIGPIPE ignored. */
int signals_init(void) must_check;

/* Waits for the next one at most <ms> milliseconds; UINT64_MAX: for ever. */
enum signals_event signals_wait(uint64_t ms);
/* Readable while one waits, for poll(); signals_wait(0) takes it. */
int signals_fd(void) must_check;
