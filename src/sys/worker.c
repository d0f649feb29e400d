/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sys/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "sys/privs.h"

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	privs_none();
	w->run(w->arg);
	return NULL;
}

int worker_start(struct worker *w, unsigned n, const struct cpus *pin, void (*run)(void *arg),
		 void *arg)
{
	char name[16];
	sigset_t all, before;
	int err;

	assert(!w->running);
	w->run = run;
	w->arg = arg;
	/* Blocked here, so that the thread never runs without. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err < 0)
		return err;
	w->running = true;
	snprintf(name, sizeof(name), "sluice/%u", n % 10000);
	(void)pthread_setname_np(w->thread, name);
	err = pin ? cpus_pin(pin, w->thread, n) : 0;
	if (err < 0) /* slower, not wrong */
		log_warn("worker=%u not tied to a core reason=\"%s\"", n, err_text(err));
	return 0;
}

bool worker_try_join(struct worker *w)
{
	int err;

	if (!w->running)
		return true;
	err = pthread_tryjoin_np(w->thread, NULL);
	assert(err == 0 || err == EBUSY);
	w->running = err != 0;
	return !w->running;
}
