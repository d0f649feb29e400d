/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/proof.h"

#include <stdlib.h>
#include <unistd.h>

#include "proxy/body.h"

/* A job compares 8 MiB at most: fills need the helpers, too. */
enum { PROOF_CHUNK = 128 * 1024, PROOF_STEP = 64 };

/* Of segment <i>, how many bytes the reader has. */
static uint64_t taken_of(const struct body *b, unsigned i)
{
	if (i > b->at || i >= b->count || b->segments[i].mem)
		return 0;
	return i < b->at ? b->segments[i].bytes : b->done;
}

/* The end of the furthest byte that the reader has. */
static uint64_t proof_reach(const struct body *b)
{
	uint64_t reach = 0;

	for (unsigned i = 0; i <= b->at && i < b->count; i++) {
		uint64_t n = taken_of(b, i);

		if (n > 0 && b->segments[i].from + n > reach)
			reach = b->segments[i].from + n;
	}
	return reach;
}

static bool read_all(int fd, char *mem, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t got = pread(fd, mem, n, (off_t)at);

		if (got <= 0)
			return false;
		mem += got;
		at += (uint64_t)got;
		n -= (size_t)got;
	}
	return true;
}

/* Goes on in the current segment; false: they differ, or it may not go on. */
static bool same_some(struct proof *p, char *mem)
{
	const struct body *b = p->of;
	uint64_t left = taken_of(b, p->at) - p->done;
	size_t n = left < PROOF_CHUNK ? (size_t)left : PROOF_CHUNK;
	uint64_t from = b->segments[p->at].from + p->done;

	if (__atomic_load_n(&p->stop, __ATOMIC_RELAXED) || !read_all(p->fds[0], mem, n, from) ||
	    !read_all(p->fds[1], mem + PROOF_CHUNK, n, from))
		return false;
	p->done += n;
	return memcmp(mem, mem + PROOF_CHUNK, n) == 0;
}

/* To the next segment of which there is something to compare; false: that was all. */
static bool proof_settle(struct proof *p)
{
	for (; p->at <= p->of->at && p->at < p->of->count; p->at++, p->done = 0)
		if (p->done < taken_of(p->of, p->at))
			return true;
	return false;
}

static void proof_work(struct job *job)
{
	struct proof *p = container_of(job, struct proof, job);
	char *mem = malloc(2 * (size_t)PROOF_CHUNK);

	p->same = mem != NULL;
	for (unsigned i = 0; i < PROOF_STEP && p->same && proof_settle(p); i++)
		p->same = same_some(p, mem);
	free(mem);
}

static void proof_done(struct job *job)
{
	struct proof *p = container_of(job, struct proof, job);
	struct body *b = p->of;

	assert(p->state == PROOF_RUNS);
	if (p->same && proof_settle(p)) {
		offload_submit(b->proxy->shared->helpers, b->proxy->loop, &p->job);
		return;
	}
	p->state = p->same ? PROOF_SAME : PROOF_DIFFERS;
	loop_wake(b->proxy->loop, b->owner);
}

static void proof_start(struct proof *p, struct body *b, int was_fd, int fd)
{
	*p = (struct proof){
		.job = { .work = proof_work, .done = proof_done },
		.state = PROOF_RUNS,
		.of = b,
		.fds = { was_fd, fd },
	};
	offload_submit(b->proxy->shared->helpers, b->proxy->loop, &p->job);
}

enum proof_state proof_step(struct proof *p, struct body *b)
{
	uint64_t reach = proof_reach(b);
	struct blob_view was, v;

	if (p->state != PROOF_IDLE)
		return p->state;
	blob_look(b->was, &was);
	for (;;) {
		blob_look(b->blob, &v);
		if (v.state == BLOB_FAILED || v.damaged ||
		    (was.size != BLOB_SIZE_UNKNOWN && v.size != BLOB_SIZE_UNKNOWN &&
		     was.size != v.size) ||
		    (v.size != BLOB_SIZE_UNKNOWN && reach > v.size)) {
			p->state = PROOF_DIFFERS;
			return p->state;
		}
		if (v.fd >= 0 && v.avail >= reach &&
		    (was.size == BLOB_SIZE_UNKNOWN || was.size == v.size))
			break;
		/* An unknown size is known in the end. */
		if (b->waiter.waiting || blob_wait(b->blob, &b->waiter, &v))
			return PROOF_IDLE;
	}
	if (reach == 0)
		p->state = PROOF_SAME;
	else
		proof_start(p, b, was.fd, v.fd);
	return p->state;
}

bool proof_close(struct proof *p)
{
	__atomic_store_n(&p->stop, true, __ATOMIC_RELAXED);
	return p->state != PROOF_RUNS;
}
