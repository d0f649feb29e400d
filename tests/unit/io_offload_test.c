/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/offload.h"

#include <stdlib.h>
#include <unistd.h>

#include "test.h"

enum { JOBS = 200, LIMIT_MS = 10000 };

static struct loop *loop;
static struct offload *pool;
static struct timer watchdog;

static void watchdog_fired(struct timer *t)
{
	(void)t;
	check(!"the jobs came to an end in time");
	loop_stop(loop);
}

static bool start(unsigned threads)
{
	struct loop_opts opts = { .entries = 8 };
	const char *why;

	if (!check(loop_new(&loop, &opts, &why) == 0) || !check(offload_new(&pool, threads) == 0))
		return false;
	timer_init(&watchdog, watchdog_fired);
	loop_timer_set(loop, &watchdog, loop_now_ms(loop) + LIMIT_MS);
	return true;
}

static void finish(void)
{
	offload_free(pool);
	loop_free(loop);
}

struct sum {
	struct job job;
	unsigned nr;
	unsigned square;
};
static struct sum sums[JOBS];
static unsigned finished;
static unsigned worked;

static void sum_work(struct job *job)
{
	struct sum *s = container_of(job, struct sum, job);

	s->square = s->nr * s->nr;
	__atomic_add_fetch(&worked, 1, __ATOMIC_RELAXED);
}

static void sum_done(struct job *job)
{
	struct sum *s = container_of(job, struct sum, job);

	check_eq(s->square, s->nr * s->nr);
	if (++finished == JOBS)
		loop_stop(loop);
}

TEST(jobs_run_once_and_are_done_on_their_loop)
{
	require(start(3));
	finished = worked = 0;
	for (unsigned i = 0; i < JOBS; i++) {
		sums[i] = (struct sum){ .job = { .work = sum_work, .done = sum_done }, .nr = i };
		offload_submit(pool, loop, &sums[i].job);
	}
	loop_run(loop);
	check_eq(finished, JOBS);
	check_eq(worked, JOBS);
	finish();
}

static unsigned order_next;

static void order_work(struct job *job)
{
	struct sum *s = container_of(job, struct sum, job);

	usleep(100);
	check_eq(s->nr, order_next);
	order_next++;
	if (s->nr % 2)
		free(s); /* as a job without a loop and done() may */
}

static void order_done(struct job *job)
{
	free(container_of(job, struct sum, job));
}

TEST(one_helper_keeps_the_order_and_free_finishes_what_is_queued)
{
	require(start(1));
	order_next = 0;
	for (unsigned i = 0; i < 20; i++) {
		struct sum *s = calloc(1, sizeof(*s));

		s->job.work = order_work;
		s->job.done = i % 2 ? NULL : order_done;
		s->nr = i;
		offload_submit(pool, NULL, &s->job);
	}
	finish();
	check_eq(order_next, 20);
}
