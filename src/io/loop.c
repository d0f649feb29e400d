/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "io/loop_private.h"

static uint64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 + 1;
}

/* Mail has come (it is taken once a turn anyway); this only ended the wait. */
static void loop_event_done(struct op *op, int res)
{
	struct loop *l = container_of(op, struct loop, event_op);
	eventfd_t count;

	if (res == -ECANCELED)
		return;
	assert(res > 0);
	(void)eventfd_read(l->event_fd, &count);
	loop_poll(l, op, l->event_fd, POLLIN);
}

int loop_new(struct loop **out, const struct loop_opts *opts, const char **why)
{
	struct loop *l = calloc(1, sizeof(*l));
	int err;

	*out = NULL;
	*why = "no memory for an event loop";
	if (!l)
		return -ENOMEM;
	l->task_last = &l->task_first;
	l->now_ms = clock_ms();
	timers_init(&l->timers);
	op_init(&l->event_op, &l->own_inflight, loop_event_done);
	l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*why = "no file descriptor left for an event loop: raise the limit of open files (ulimit "
	       "-n, LimitNOFILE= of the unit)";
	err = l->event_fd < 0 ? -errno : ring_init(&l->ring, opts, why);
	if (err < 0) {
		if (l->event_fd >= 0) {
			ring_fini(&l->ring);
			close(l->event_fd);
		}
		free(l);
		return err;
	}
	*why = NULL;
	*out = l;
	return 0;
}

/*
 * The poll on event_fd may still be in flight.  It writes to no memory, and its completion is never
 * looked at, so the ring may go with it.
 */
void loop_free(struct loop *l)
{
	if (!l)
		return;
	assert(loop_inflight(l) == 0);
	ring_fini(&l->ring);
	close(l->event_fd);
	timers_fini(&l->timers);
	free(l);
}

unsigned loop_inflight(const struct loop *l)
{
	assert(l->inflight >= l->own_inflight);
	return l->inflight - l->own_inflight;
}

uint64_t loop_now_ms(const struct loop *l)
{
	return l->now_ms;
}

void loop_stop(struct loop *l)
{
	l->stopping = true;
}

static void loop_run_completions(struct loop *l)
{
	struct io_uring_cqe *cqe;
	unsigned head;
	unsigned n = 0;

	io_uring_for_each_cqe(&l->ring.uring, head, cqe)
	{
		if (n == LOOP_BATCH)
			break;
		l->ready[n++] = (struct ready){
			.op = io_uring_cqe_get_data(cqe),
			.res = cqe->res,
			.flags = cqe->flags,
		};
	}
	io_uring_cq_advance(&l->ring.uring, n);
	for (unsigned i = 0; i < n; i++)
		if (l->ready[i].op) /* NULL: what became of a cancel; its victim tells */
			op_complete(l, &l->ready[i]);
}

static void loop_run_mail(struct loop *l)
{
	struct mail *latest = __atomic_exchange_n(&l->mail, NULL, __ATOMIC_ACQUIRE);
	struct mail *first = NULL;

	while (latest) {
		struct mail *before = latest->next;

		latest->next = first;
		first = latest;
		latest = before;
	}
	while (first) {
		struct mail *m = first;

		first = m->next;
		m->deliver(m);
	}
}

static void loop_run_tasks(struct loop *l)
{
	l->task_round++;
	for (unsigned n = 0; n < LOOP_TASKS_PER_TURN; n++) {
		struct task *t = l->task_first;

		if (!t || t->round == l->task_round)
			return;
		loop_unwake(l, t);
		t->run(t);
	}
}

static void loop_turn(struct loop *l)
{
	l->now_ms = clock_ms();
	loop_run_completions(l);
	loop_run_mail(l);
	timers_run(&l->timers, l->now_ms, LOOP_TIMERS_PER_TURN);
	loop_run_tasks(l);
	ring_submit(&l->ring,
		    l->task_first || l->stopping ? 0 : timers_next_ms(&l->timers, l->now_ms));
}

void loop_run(struct loop *l)
{
	ring_own(&l->ring);
	if (!op_busy(&l->event_op))
		loop_poll(l, &l->event_op, l->event_fd, POLLIN);
	while (!l->stopping)
		loop_turn(l);
	l->stopping = false;
	ring_disown(&l->ring);
}

void loop_wake(struct loop *l, struct task *t)
{
	assert(t->run != NULL);
	if (t->queued)
		return;
	t->queued = true;
	t->round = l->task_round;
	t->next = NULL;
	*l->task_last = t;
	l->task_last = &t->next;
}

void loop_unwake(struct loop *l, struct task *t)
{
	struct task **at = &l->task_first;

	if (!t->queued)
		return;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	if (!t->next)
		l->task_last = at;
	t->queued = false;
	t->next = NULL;
}

void loop_timer_set(struct loop *l, struct timer *t, uint64_t due_ms)
{
	timers_set(&l->timers, t, due_ms);
}

void loop_timer_clear(struct loop *l, struct timer *t)
{
	timers_clear(&l->timers, t);
}

void loop_post(struct loop *l, struct mail *m)
{
	struct mail *latest = __atomic_load_n(&l->mail, __ATOMIC_RELAXED);

	do
		m->next = latest;
	while (!__atomic_compare_exchange_n(&l->mail, &latest, m, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED));
	if (!latest)
		(void)eventfd_write(l->event_fd, 1);
}
