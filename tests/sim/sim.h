/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A world for one worker in one thread: io/ring and io/offload are replaced at link time, the
 * clock is a variable, and the peers (an upstream, clients) take their turns while the worker
 * waits.
 *
 * Sockets and files are real ones, tried without waiting; what is simulated is the kernel's
 * freedom: which operation ends first, how short a read or a send is, and which operation fails.
 *
 * Invariants
 *  1. What a run does is decided by its seed and the number of the operation that fails alone, as
 *     far as the machine's loopback is quick (one that is not makes a timeout earlier: legal too).
 *  2. Operations are counted where they end; the failing one has done its work (a connection is
 *     made, bytes were taken) or not, as in life.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SIM_END_TURNS_MAX = 3000,       /* to stop in, once it was found wedged */
	SIM_TURNS_MAX = 100 * 1000,     /* more: it is wedged */
	SIM_CLOCK_MAX_MS = 3600 * 1000, /* the same, for one that only waits */
	SIM_STUCK_MS = 60 * 1000,
};

enum sim_fault {
	SIM_NONE,
	SIM_IO,     /* operations of the ring and of the helpers */
	SIM_MEMORY, /* malloc and its kin */
	SIM_STUCK,  /* the disk: from then on it does not answer for SIM_STUCK_MS */
};

struct sim {
	const char *name; /* of the scenario */
	uint64_t seed;
	enum sim_fault fault;
	unsigned fail_at;   /* the Nth of its kind fails, N from 1; 0: none */
	unsigned fail_more; /* and so many after it */
	bool armed;         /* counting */
	unsigned count;
	unsigned failed; /* how many did */
	const char *failed_what;
	uint64_t stuck_ms; /* the disk answers again from then on; 0: it has not been stuck */
	uint64_t clock_ms;
	uint64_t begun_ms;
	unsigned turns;
	bool wedged;
	unsigned turns_wedged;
	bool (*step)(void *arg); /* the peers' turn; false: nothing moved */
	void *arg;
};

extern struct sim sim;

void sim_begin(uint64_t seed, enum sim_fault fault, unsigned fail_at, unsigned fail_more);
/* From 0 to below <n>, by the seed. */
unsigned sim_random(unsigned n);
/* Counts one operation; true: it is to fail. */
bool sim_hit(enum sim_fault kind, const char *what);
/* Counts what is asked of the disk; true: that is stuck, ask again. */
bool sim_disk_is_stuck(const char *what);
/* Runs the helpers' queue; false: it was empty. */
bool sim_jobs_run(void);
/* From now on a job runs where it is submitted: no loop runs any more. */
void sim_jobs_direct(bool direct);
