/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/timer.h"

#include <stddef.h>
#include <stdlib.h>

#include "test.h"

enum { TIMERS = 200, STEPS = 20000 };

struct probe {
	struct timer timer;
	uint64_t due_ms; /* what the naive model says; 0: not armed */
	unsigned fired;
};

static struct probe probes[TIMERS];
static struct timers heap;
static uint64_t now_ms;

static void probe_fired(struct timer *t)
{
	struct probe *p = container_of(t, struct probe, timer);

	check(!timer_armed(t));
	check(p->due_ms != 0 && p->due_ms <= now_ms);
	p->due_ms = 0;
	p->fired++;
}

static uint64_t model_next(void)
{
	uint64_t next = UINT64_MAX;

	for (int i = 0; i < TIMERS; i++)
		if (probes[i].due_ms && probes[i].due_ms < next)
			next = probes[i].due_ms;
	return next;
}

TEST(random_operations_agree_with_a_naive_model)
{
	srand(7);
	timers_init(&heap);
	now_ms = 1000;
	for (int i = 0; i < TIMERS; i++)
		timer_init(&probes[i].timer, probe_fired);
	for (int step = 0; step < STEPS && test_bad == 0; step++) {
		struct probe *p = &probes[rand() % TIMERS];

		switch (rand() % 8) {
		case 0:
			timers_clear(&heap, &p->timer);
			p->due_ms = 0;
			break;
		case 1:
			now_ms += (uint64_t)(rand() % 50);
			timers_run(&heap, now_ms, TIMERS);
			check(model_next() > now_ms);
			break;
		default:
			p->due_ms = now_ms + 1 + (uint64_t)(rand() % 500);
			timers_set(&heap, &p->timer, p->due_ms);
		}
		check_eq(timer_armed(&p->timer), p->due_ms != 0);
		/* It may wake too early, for a timer that was moved later, but never too late. */
		if (model_next() != UINT64_MAX && model_next() >= now_ms)
			check(timers_next_ms(&heap, now_ms) <= model_next() - now_ms);
	}
	timers_fini(&heap);
}

TEST(run_fires_at_most_max_and_in_order)
{
	timers_init(&heap);
	for (int i = 0; i < 10; i++) {
		probes[i] = (struct probe){ .due_ms = (uint64_t)(10 - i) };
		timer_init(&probes[i].timer, probe_fired);
		timers_set(&heap, &probes[i].timer, probes[i].due_ms);
	}
	now_ms = 100;
	check_eq(timers_run(&heap, now_ms, 4), 4);
	for (int i = 0; i < 10; i++)
		check_eq(probes[i].fired, i >= 6);
	check_eq(timers_next_ms(&heap, now_ms), 0);
	check_eq(timers_run(&heap, now_ms, 100), 6);
	check_eq(timers_next_ms(&heap, now_ms), UINT64_MAX);
	timers_fini(&heap);
}

TEST(fini_leaves_timers_unarmed)
{
	timers_init(&heap);
	timer_init(&probes[0].timer, probe_fired);
	timers_set(&heap, &probes[0].timer, 5);
	timers_fini(&heap);
	check(!timer_armed(&probes[0].timer));
}
