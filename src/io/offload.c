/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/offload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct offload {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct job *first;
	struct job **last;
	bool closing;
	unsigned threads_count;
	pthread_t threads[];
};

static void job_deliver(struct mail *m)
{
	struct job *job = container_of(m, struct job, mail);

	job->done(job);
}

/* Without a loop and done(), the job may be gone after work(). */
static void job_run(struct job *job)
{
	struct loop *loop = job->loop;
	void (*done)(struct job * job) = job->done;

	job->work(job);
	if (loop)
		loop_post(loop, &job->mail);
	else if (done)
		done(job);
}

static void *helper(void *arg)
{
	struct offload *o = arg;

	pthread_mutex_lock(&o->lock);
	for (;;) {
		struct job *job = o->first;

		if (!job) {
			if (o->closing)
				break;
			pthread_cond_wait(&o->more, &o->lock);
			continue;
		}
		o->first = job->next;
		if (!o->first)
			o->last = &o->first;
		pthread_mutex_unlock(&o->lock);
		job_run(job);
		pthread_mutex_lock(&o->lock);
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

/* Signals are for the main thread. */
static int helpers_start(struct offload *o, unsigned threads)
{
	sigset_t all, before;
	int err = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	while (err == 0 && o->threads_count < threads) {
		err = -pthread_create(&o->threads[o->threads_count], NULL, helper, o);
		if (err == 0)
			o->threads_count++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

int offload_new(struct offload **out, unsigned threads)
{
	struct offload *o = calloc(1, sizeof(*o) + threads * sizeof(o->threads[0]));
	int err;

	assert(threads > 0);
	*out = NULL;
	if (!o)
		return -ENOMEM;
	o->last = &o->first;
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->more, NULL);
	err = helpers_start(o, threads);
	if (err < 0) {
		offload_free(o);
		return err;
	}
	*out = o;
	return 0;
}

void offload_free(struct offload *o)
{
	if (!o)
		return;
	pthread_mutex_lock(&o->lock);
	o->closing = true;
	pthread_cond_broadcast(&o->more);
	pthread_mutex_unlock(&o->lock);
	for (unsigned i = 0; i < o->threads_count; i++)
		pthread_join(o->threads[i], NULL);
	assert(o->first == NULL);
	pthread_cond_destroy(&o->more);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

void offload_submit(struct offload *o, struct loop *loop, struct job *job)
{
	assert(job->work != NULL);
	assert(job->done != NULL || loop == NULL);
	job->loop = loop;
	job->mail.deliver = job_deliver;
	job->next = NULL;
	pthread_mutex_lock(&o->lock);
	assert(!o->closing);
	*o->last = job;
	o->last = &job->next;
	pthread_cond_signal(&o->more);
	pthread_mutex_unlock(&o->lock);
}
