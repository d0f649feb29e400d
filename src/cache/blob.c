/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/blob.h"

#include <stdlib.h>
#include <unistd.h>

#include "cache/cache_private.h"

enum { BLOB_MAGIC = 0x424c };

#define PUT(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
#define GET(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)

struct blob *blob_new(uint32_t kind, const struct digest *d, bool live)
{
	struct blob *b = calloc(1, sizeof(*b));

	if (b && live)
		b->live = calloc(1, sizeof(*b->live));
	if (!b || (live && !b->live)) {
		free(b);
		return NULL;
	}
	if (live) {
		list_init(&b->live->waiters);
		b->live->blob = b;
	}
	b->magic = BLOB_MAGIC;
	b->refs = 1;
	b->kind = kind;
	b->digest = *d;
	b->state = BLOB_EMPTY;
	b->size = BLOB_SIZE_UNKNOWN;
	b->fd = -1;
	list_init(&b->lru);
	list_init(&b->fds);
	return b;
}

static void blob_free(struct blob *b)
{
	assert(b->magic == BLOB_MAGIC);
	assert(!b->indexed);
	assert(!b->live || list_empty(&b->live->waiters));
	if (b->fd >= 0)
		close(b->fd);
	b->magic = 0;
	free(b->live);
	free(b);
}

static void blob_free_work(struct job *job)
{
	struct blob_live *live = container_of(job, struct blob_live, free_job);
	struct cache *c = cache_of(live->blob);

	blob_free(live->blob);
	cache_job_ended(c);
}

/*
 * Whoever has a file open and still has `live` was never published: its file is unlinked, and
 * closing the last fd gives back gigabytes of blocks, which takes the kernel too long for a loop.
 */
static cold void blob_release(struct blob *b)
{
	if (b->live && b->live->successor)
		blob_unref(b->live->successor);
	if (!b->live || b->fd < 0) {
		blob_free(b);
		return;
	}
	b->live->free_job.work = blob_free_work;
	cache_job_start(cache_of(b), &b->live->free_job);
}

struct blob *blob_ref(struct blob *b)
{
	uint32_t was = __atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED);

	assert(b->magic == BLOB_MAGIC);
	assert(was > 0);
	return b;
}

void blob_unref(struct blob *b)
{
	uint32_t was;

	assert(b->magic == BLOB_MAGIC);
	/*
	 * Else nobody is left to fill what CACHE_MISS made, and all who come would wait for ever.
	 */
	assert(GET(b->refs) != 2 || blob_state(b) != BLOB_EMPTY || GET(b->has_filler));
	was = __atomic_fetch_sub(&b->refs, 1, __ATOMIC_ACQ_REL);
	assert(was > 0);
	if (was == 1)
		blob_release(b);
}

unsigned blob_readers(const struct blob *b)
{
	unsigned others = (unsigned)GET(b->indexed) + (unsigned)GET(b->has_filler);
	unsigned refs = GET(b->refs);

	/* The three are not read at once; a count that is about to change may be off by one. */
	return refs > others ? refs - others : 0;
}

/*
 * The state is read first, and written last but for `avail`, which is written after the size that
 * it may reach: what is read here is a view that was true at some time since the call began.
 */
void blob_look(struct blob *b, struct blob_view *out)
{
	assert(b->magic == BLOB_MAGIC);
	out->state = blob_state(b);
	out->damaged = GET(b->damaged);
	if (out->state == BLOB_EMPTY) {
		*out = (struct blob_view){ .size = BLOB_SIZE_UNKNOWN, .fd = -1 };
		return;
	}
	out->avail = GET(b->avail);
	out->size = GET(b->size);
	out->fd = GET(b->fd);
	out->type = GET(b->type);
	assert(out->state != BLOB_READY || out->avail == out->size);
}

const struct digest *blob_digest(const struct blob *b)
{
	return &b->digest;
}

void blob_failure(struct blob *b, struct blob_failure *out)
{
	assert(blob_state(b) == BLOB_FAILED);
	*out = b->live->failure;
}

static void blob_waiter_deliver(struct mail *mail)
{
	struct blob_waiter *w = container_of(mail, struct blob_waiter, mail);

	assert(w->waiting);
	assert(w->posted);
	w->posted = false;
	w->waiting = false;
	w->blob = NULL;
	loop_wake(w->loop, w->task);
}

void blob_waiter_init(struct blob_waiter *w, struct loop *l, struct task *task)
{
	*w = (struct blob_waiter){
		.mail.deliver = blob_waiter_deliver,
		.loop = l,
		.task = task,
	};
	list_init(&w->node);
}

bool blob_wait(struct blob *b, struct blob_waiter *w, const struct blob_view *seen)
{
	struct blob_view now;
	bool same;

	assert(!w->waiting);
	assert(seen->state == BLOB_EMPTY || seen->state == BLOB_FILLING);
	index_lock(b);
	blob_look(b, &now);
	same = now.state == seen->state && now.size == seen->size && now.avail == seen->avail;
	if (same) {
		w->waiting = true;
		w->blob = b;
		list_push(&b->live->waiters, &w->node);
	}
	index_unlock(b);
	return same;
}

bool blob_unwait(struct blob_waiter *w)
{
	struct blob *b = w->blob;
	bool gone = true;

	if (!w->waiting)
		return true;
	index_lock(b);
	if (w->posted)
		gone = false;
	else
		list_remove(&w->node);
	index_unlock(b);
	if (gone) {
		w->waiting = false;
		w->blob = NULL;
	}
	return gone;
}

/* Under the lock.  A waiter whose mail was posted may be gone before loop_post() returns here. */
static void blob_wake_all(struct blob *b)
{
	struct list *n;

	while ((n = list_pop(&b->live->waiters))) {
		struct blob_waiter *w = container_of(n, struct blob_waiter, node);

		w->posted = true;
		loop_post(w->loop, &w->mail);
	}
}

static void blob_set_state(struct blob *b, enum blob_state state)
{
	static const uint8_t legal[] = {
		[BLOB_EMPTY] = 1 << BLOB_FILLING | 1 << BLOB_READY | 1 << BLOB_FAILED,
		[BLOB_FILLING] = 1 << BLOB_READY | 1 << BLOB_FAILED,
		[BLOB_READY] = 0,
		[BLOB_FAILED] = 0,
	};

	assert(legal[b->state] & 1 << state);
	PUT(b->state, (uint8_t)state);
}

void blob_set_ready(struct blob *b, int fd, uint64_t size, uint8_t type)
{
	PUT(b->fd, fd);
	PUT(b->type, type);
	PUT(b->size, size);
	PUT(b->avail, size);
	blob_set_state(b, BLOB_READY);
}

void blob_start(struct blob *b, int fd, uint64_t size, uint8_t type)
{
	assert(fd >= 0);
	index_lock(b);
	PUT(b->fd, fd);
	PUT(b->type, type);
	PUT(b->size, size);
	blob_set_state(b, BLOB_FILLING);
	blob_wake_all(b);
	index_unlock(b);
}

void blob_advance(struct blob *b, uint64_t avail)
{
	assert(blob_state(b) == BLOB_FILLING);
	index_lock(b);
	assert(avail >= b->avail);
	assert(avail < b->size || avail == 0);
	if (avail > b->avail) {
		PUT(b->avail, avail);
		blob_wake_all(b);
	}
	index_unlock(b);
}

void blob_verified(struct blob *b, uint64_t size)
{
	assert(blob_state(b) == BLOB_FILLING);
	index_lock(b);
	assert(b->size == size || b->size == BLOB_SIZE_UNKNOWN);
	PUT(b->size, size);
	PUT(b->avail, size);
	blob_wake_all(b);
	index_unlock(b);
}

/* Under the lock: nobody waits any more for what is READY and kept. */
static void blob_end_live(struct blob *b)
{
	blob_wake_all(b);
	free(b->live);
	b->live = NULL;
}

void blob_publish(struct blob *b, bool keep)
{
	bool was_indexed = false;

	index_lock(b);
	assert(b->avail == b->size);
	blob_set_state(b, BLOB_READY);
	if (keep) {
		blob_end_live(b);
		index_enter_ready(b, cache_now_s(), cache_now_s());
	} else {
		blob_wake_all(b);
		was_indexed = index_drop(b);
	}
	index_unlock(b);
	if (was_indexed)
		blob_unref(b);
}

void blob_found(struct blob *b, int fd, uint64_t size, uint8_t type)
{
	assert(fd >= 0);
	index_lock(b);
	blob_set_ready(b, fd, size, type);
	blob_end_live(b);
	index_enter_ready(b, cache_now_s(), 0);
	index_unlock(b);
}

/* Under the lock; index_drop()'s answer. */
static bool blob_fail_locked(struct blob *b, const struct blob_failure *why)
{
	b->live->failure = *why;
	blob_set_state(b, BLOB_FAILED);
	blob_wake_all(b);
	return index_drop(b);
}

void blob_fail(struct blob *b, const struct blob_failure *why)
{
	bool was_indexed;

	index_lock(b);
	was_indexed = blob_fail_locked(b, why);
	index_unlock(b);
	if (was_indexed)
		blob_unref(b);
}

struct blob *blob_supersede(struct blob *b, const struct blob_failure *why)
{
	struct blob *next = blob_new(b->kind, &b->digest, true);
	bool was_indexed;

	if (!next)
		return NULL;
	index_lock(b);
	b->live->successor = blob_ref(next);
	was_indexed = blob_fail_locked(b, why);
	assert(was_indexed); /* until it is READY nobody takes it out */
	index_put(b->shard, blob_ref(next));
	index_unlock(b);
	blob_unref(b);
	return next;
}

struct blob *blob_successor(struct blob *b)
{
	struct blob *next;

	assert(blob_state(b) == BLOB_FAILED);
	/* FAILED is seen before the successor is in the index and may be waited for. */
	index_lock(b);
	next = b->live->successor;
	if (next)
		blob_ref(next);
	index_unlock(b);
	return next;
}

bool blob_fail_unread(struct blob *b, const struct blob_failure *why)
{
	bool was_indexed = false;
	bool unread;

	/* A first reader comes through the index alone, so through this lock: none can slip in. */
	index_lock(b);
	unread = blob_readers(b) == 0;
	if (unread)
		was_indexed = blob_fail_locked(b, why);
	index_unlock(b);
	if (was_indexed)
		blob_unref(b);
	return unread;
}

void blob_set_filler(struct blob *b, bool has)
{
	assert(b->has_filler != has);
	PUT(b->has_filler, has);
}
