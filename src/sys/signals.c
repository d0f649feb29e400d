/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sys/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>

static int poll_fd = -1;

static void fill(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGUSR2);
}

int signals_init(void)
{
	sigset_t set;

	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	fill(&set);
	if (poll_fd < 0)
		poll_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (poll_fd < 0)
		return -errno;
	return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int signals_fd(void)
{
	return poll_fd;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The next signal's number, or 0 when there was none until <due_ms>. */
static int take(const sigset_t *set, uint64_t due_ms)
{
	for (;;) {
		uint64_t now = now_ms();
		uint64_t left = due_ms > now ? due_ms - now : 0;
		struct timespec ts = { (time_t)(left / 1000), (long)(left % 1000) * 1000000 };
		int sig = due_ms == UINT64_MAX ? sigwaitinfo(set, NULL)
					       : sigtimedwait(set, NULL, &ts);

		if (sig > 0)
			return sig;
		if (errno == EAGAIN)
			return 0;
		assert(errno == EINTR); /* stopped and continued, or a debugger */
	}
}

enum signals_event signals_wait(uint64_t ms)
{
	sigset_t set;

	fill(&set);
	switch (take(&set, ms == UINT64_MAX ? UINT64_MAX : now_ms() + ms)) {
	case 0: return SIGNALS_NONE;
	case SIGTERM:
	case SIGINT: return SIGNALS_STOP;
	case SIGHUP: return SIGNALS_RELOAD;
	case SIGUSR1: return SIGNALS_REOPEN;
	case SIGUSR2: return SIGNALS_UPGRADE;
	}
	unreachable("a signal that is not in the set");
}
