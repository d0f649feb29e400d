/* SPDX-License-Identifier: GPL-3.0-or-later */
/* io/offload.h without threads: jobs run while the worker waits. */
#include "io/offload.h"

#include <stdlib.h>

#include "sim.h"

struct offload {
	int unused;
};

static struct job *first, *last;
static bool direct;

static void deliver(struct mail *m)
{
	struct job *job = container_of(m, struct job, mail);

	job->done(job);
}

static void run(struct job *job)
{
	struct loop *loop = job->loop;
	void (*done)(struct job * job) = job->done;

	job->work(job);
	if (loop)
		loop_post(loop, &job->mail);
	else if (done)
		done(job);
}

int offload_new(struct offload **out, unsigned threads)
{
	static struct offload one;

	(void)threads;
	*out = &one;
	return 0;
}

void offload_free(struct offload *o)
{
	(void)o;
	assert(!first);
}

void offload_submit(struct offload *o, struct loop *loop, struct job *job)
{
	(void)o;
	job->loop = loop;
	job->mail.deliver = deliver;
	job->next = NULL;
	if (direct) {
		run(job);
		return;
	}
	if (first)
		last->next = job;
	else
		first = job;
	last = job;
}

/* A job of which the disk is stuck holds up those behind it: there is one helper. */
bool sim_jobs_run(void)
{
	bool any = false;

	while (first && (direct || !sim_disk_is_stuck("job"))) {
		struct job *job = first;

		first = job->next;
		run(job);
		any = true;
	}
	return any;
}

void sim_jobs_direct(bool yes)
{
	direct = true;
	sim_jobs_run();
	direct = yes;
}
