/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sys/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "test.h"

static void *wait_a_little(void *arg)
{
	(void)arg;
	usleep(20000); /* EINTR would end it early: the signals go to the main thread alone */
	kill(getpid(), SIGHUP);
	return NULL;
}

TEST(signals_come_as_events)
{
	require(signals_init() == 0);
	check_eq(signals_wait(0), SIGNALS_NONE);
	kill(getpid(), SIGTERM);
	check_eq(signals_wait(1000), SIGNALS_STOP);
	kill(getpid(), SIGINT);
	check_eq(signals_wait(UINT64_MAX), SIGNALS_STOP);
	kill(getpid(), SIGUSR1);
	check_eq(signals_wait(1000), SIGNALS_REOPEN);
	check_eq(signals_wait(10), SIGNALS_NONE);
}

TEST(threads_do_not_take_them)
{
	pthread_t t;

	require(signals_init() == 0);
	require(pthread_create(&t, NULL, wait_a_little, NULL) == 0);
	check_eq(signals_wait(10000), SIGNALS_RELOAD);
	pthread_join(t, NULL);
}

TEST(a_closed_pipe_does_not_kill)
{
	int p[2];

	require(signals_init() == 0);
	require(pipe(p) == 0);
	close(p[0]);
	check_eq(write(p[1], "x", 1), -1);
	close(p[1]);
}
