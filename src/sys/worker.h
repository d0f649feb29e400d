/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A thread per core.  What it runs is main.c's to say. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/assert.h"
#include "sys/cpus.h"

/* Zeroed: not running.  Stays where it is while it runs. */
struct worker {
	pthread_t thread;
	bool running;
	void (*run)(void *arg);
	void *arg;
};

/*
 * run(arg) on a thread of its own, "sluice/N", with all signals blocked; tied to core N of <pin>
 * unless that is NULL.  0 or -errno.
 */
int worker_start(struct worker *w, unsigned n, const struct cpus *pin, void (*run)(void *arg),
		 void *arg) must_check;
/* true: it has ended, or was never started. */
bool worker_try_join(struct worker *w) must_check;
