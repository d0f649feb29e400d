/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sys/worker.h"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "test.h"

struct seen {
	char name[16];
	cpu_set_t cores;
	sigset_t blocked;
	int go; /* read end */
};

static void look(void *arg)
{
	struct seen *s = arg;
	char byte;

	if (read(s->go, &byte, 1) != 1)
		return;
	pthread_getname_np(pthread_self(), s->name, sizeof(s->name));
	pthread_getaffinity_np(pthread_self(), sizeof(s->cores), &s->cores);
	pthread_sigmask(SIG_SETMASK, NULL, &s->blocked);
}

static bool join(struct worker *w)
{
	for (int i = 0; i < 1000; i++) {
		if (worker_try_join(w))
			return true;
		usleep(5000);
	}
	return false;
}

TEST(a_worker_is_named_pinned_and_takes_no_signal)
{
	struct worker w = { 0 };
	struct seen s = { 0 };
	struct cpus cpus;
	sigset_t mine;
	int ends[2];

	cpus_find(&cpus);
	require(pipe(ends) == 0);
	s.go = ends[0];
	require(worker_start(&w, 0, &cpus, look, &s) == 0);
	check(!worker_try_join(&w));
	check_eq(write(ends[1], "x", 1), 1);
	require(join(&w));
	check_str(s.name, "sluice/0");
	check_eq(CPU_COUNT(&s.cores), 1);
	check(CPU_ISSET(cpus.ids[0], &s.cores));
	check(sigismember(&s.blocked, SIGTERM) == 1);
	check(sigismember(&s.blocked, SIGUSR2) == 1);
	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	check(sigismember(&mine, SIGTERM) == 0);
	close(ends[0]);
	close(ends[1]);
}

TEST(one_that_was_never_started_has_ended)
{
	struct worker w = { 0 };

	check(worker_try_join(&w));
}
