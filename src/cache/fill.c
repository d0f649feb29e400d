/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The file side of a fill.  Memory:
 *
 *   fill_room() -> chunk[filling] -> loop_write() of the other -> file -> blob_advance() -> readers
 *
 * A write takes the whole of a chunk and begins when it is full, or holds anything and the owner
 * says that no more comes for now while a reader waits; with one in flight, the other chunk fills.
 * So a stalled disk stops the upstream after two chunks, and a stalled upstream holds at most one
 * chunk.  Chunks end at multiples of FILL_CHUNK in the file: whole pages, and the page cache takes
 * them as large ones.
 *
 * What makes, saves, publishes or removes a file is a helper's.  fallocate() of the announced size
 * is left out: it gains little on ext4 and XFS, whose delayed allocation sees 128 KiB at a time
 * anyway, and it can take a network file system seconds.
 */
#include "cache/fill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "cache/cache_private.h"
#include "cache/fill_private.h"
#include "cache/partial.h"

_Static_assert(sizeof(((struct fill *)0)->path) >= STORE_PATH_MAX, "a blob's path must fit");
_Static_assert(sizeof(((struct fill *)0)->tmp_name) >= STORE_TMP_MAX, "a temporary name must fit");
_Static_assert(sizeof(((struct fill *)0)->part_name) >= PARTIAL_NAME_MAX, "a name must fit");

static void fill_look(struct fill *f);
static void fill_wrote(struct op *op, int res);
static void fill_stuck(struct timer *t);

static void fill_enter(struct fill *f, enum fill_state state)
{
	static const uint16_t legal[] = {
		[FILL_IDLE] = 1 << FILL_DISK,
		[FILL_DISK] = 1 << FILL_FOUND | 1 << FILL_ABSENT | 1 << FILL_LOST,
		[FILL_FOUND] = 0,
		[FILL_ABSENT] = 1 << FILL_OPENING | 1 << FILL_FLOWING | 1 << FILL_LOST,
		[FILL_OPENING] = 1 << FILL_FLOWING | 1 << FILL_LOST,
		[FILL_FLOWING] = 1 << FILL_FLUSHING | 1 << FILL_LOST,
		[FILL_FLUSHING] = 1 << FILL_DONE | 1 << FILL_LOST,
		[FILL_DONE] = 0,
		[FILL_LOST] = 0,
	};

	assert(legal[f->state] & 1 << state);
	f->state = state;
	loop_wake(f->loop, f->owner);
}

void fill_chunk_put(struct fill *f, struct buf *b)
{
	if (b->mem)
		cache_chunk_put(f->cache, b->mem);
	*b = (struct buf){ 0 };
}

/* The chunk of a write in flight is the kernel's until fill_wrote(). */
static void fill_chunks_put(struct fill *f)
{
	fill_chunk_put(f, &f->chunk[f->filling]);
	if (!op_busy(&f->file_op))
		fill_chunk_put(f, &f->chunk[!f->filling]);
}

/* One at a time: looking at a beginning, making a file, then saves, then publishing. */
static void fill_job(struct fill *f, void (*work)(struct job *job), void (*done)(struct job *job))
{
	assert(!f->job_busy);
	f->job.work = work;
	f->job.done = done;
	f->job_busy = true;
	offload_submit(f->cache->helpers, f->loop, &f->job);
}

static void fill_save(struct fill *f);

void fill_save_due(struct fill *f)
{
	if (f->partial && f->written - f->saved >= PARTIAL_STEP)
		fill_save(f);
}

void fill_hash_end(struct fill *f, struct digest *found)
{
	mill_leave(f);
	if (f->hashing)
		digest_end(&f->hash, found);
	f->hashing = false;
}

static void fill_file_remove(struct fill *f)
{
	if (f->partial)
		partial_remove(&f->cache->store, f->part_name);
	else
		store_tmp_remove(&f->cache->store, f->tmp_name);
}

static void fill_remove_work(struct job *job)
{
	struct fill *f = container_of(job, struct fill, job);

	fill_file_remove(f);
	if (f->made_fd >= 0)
		close(f->made_fd);
	f->made_fd = -1;
}

static void fill_removed(struct job *job)
{
	struct fill *f = container_of(job, struct fill, job);

	f->job_busy = false;
	loop_wake(f->loop, f->owner);
}

/* The file of a fill that is lost, when no save runs. */
static cold void fill_file_end(struct fill *f)
{
	assert(!f->job_busy);
	if (!f->keep)
		fill_job(f, fill_remove_work, fill_removed);
	else if (f->written > f->saved)
		fill_save(f);
}

/* The blob has failed; so does its fill. */
static cold void fill_end_lost(struct fill *f, const struct blob_failure *why)
{
	struct digest unused;

	assert(!f->whole);
	loop_timer_clear(f->loop, &f->stuck);
	mill_leave(f);
	if (f->state != FILL_DISK && !f->wide.busy) /* there a helper may be at it */
		fill_hash_end(f, &unused);
	f->err = why->err;
	f->failure = *why;
	fill_chunks_put(f);
	fill_enter(f, FILL_LOST);
	if (f->flowed && !f->job_busy)
		fill_file_end(f);
}

cold void fill_lose(struct fill *f, const struct blob_failure *why)
{
	if (f->state >= FILL_OPENING)
		stat_inc(f->stats, STAT_FILLS_FAILED);
	blob_fail(f->blob, why);
	fill_end_lost(f, why);
}

static cold void fill_lose_corrupt(struct fill *f, int err)
{
	const struct blob_failure why = { .err = err };

	stat_inc(f->stats, STAT_FILLS_CORRUPT);
	f->keep = false;
	f->next = f->again ? blob_supersede(f->blob, &why) : NULL;
	if (!f->next) {
		fill_lose(f, &why);
		return;
	}
	stat_inc(f->stats, STAT_FILLS_FAILED);
	fill_end_lost(f, &why);
	fill_limit(f);
}

cold void fill_lose_disk(struct fill *f, const char *what, int err)
{
	disk_failed(f->cache, what, f->path, err);
	f->keep = false;
	fill_lose(f, &(struct blob_failure){ .err = err, .disk = true });
}

static const char stuck_text[] = "stuck for 10 s";
_Static_assert(FILL_STUCK_MS == 10 * 1000, "the text says so");

cold void fill_lose_stuck(struct fill *f)
{
	fill_lose_disk(f, stuck_text, ERR_STUCK);
}

/* Before each thing that is asked of the disk while readers wait. */
void fill_limit(struct fill *f)
{
	loop_timer_set(f->loop, &f->stuck, loop_now_ms(f->loop) + FILL_STUCK_MS);
}

/* What was asked comes back some day, and is cleared up then. */
static cold void fill_stuck(struct timer *t)
{
	struct fill *f = container_of(t, struct fill, stuck);

	if (f->state == FILL_LOST) { /* and nothing can take its place before it is back */
		disk_failed(f->cache, stuck_text, f->path, ERR_STUCK);
		blob_fail(f->next, &(struct blob_failure){ .err = ERR_STUCK, .disk = true });
		blob_unref(f->next);
		f->next = NULL;
		return;
	}
	assert(op_busy(&f->file_op) || f->job_busy || f->wide.busy);
	fill_lose_stuck(f);
}

void fill_begin(struct fill *f, struct cache *c, struct blob *b, struct loop *l, struct stats *st,
		struct mill *mill, struct task *owner)
{
	assert(blob_state(b) == BLOB_EMPTY);
	*f = (struct fill){
		.cache = c,
		.blob = blob_ref(b),
		.loop = l,
		.owner = owner,
		.stats = st,
		.mill = mill,
		.state = FILL_IDLE,
		.fd = -1,
		.made_fd = -1,
		.part_fd = -1,
		.size = BLOB_SIZE_UNKNOWN,
		.type = cache_kind_is_blob(b->kind) ? 0 : 1,
	};
	timer_init(&f->stuck, fill_stuck);
	list_init(&f->milling);
	blob_set_filler(b, true);
	fill_enter(f, FILL_DISK);
	fill_look(f);
}

static void fill_absent(struct fill *f)
{
	loop_timer_clear(f->loop, &f->stuck);
	fill_enter(f, FILL_ABSENT);
}

static void fill_found(struct fill *f, int fd, uint64_t size)
{
	loop_timer_clear(f->loop, &f->stuck);
	f->fd = fd;
	blob_found(f->blob, fd, size, f->type);
	fill_enter(f, FILL_FOUND);
	index_trim_fds(&f->cache->index);
}

/* ---- a beginning that is there from before ---- */

static void fill_resume_work(struct job *job)
{
	struct fill *f = container_of(job, struct fill, job);

	digest_begin(&f->hash, (enum digest_alg)f->blob->digest.alg);
	if (!partial_resume(&f->cache->store, f->part_name, f->part_fd, &f->hash, &f->part_size,
			    &f->part_bytes))
		f->part_bytes = 0;
}

static void fill_part_drop(struct fill *f)
{
	struct digest unused;

	fill_hash_end(f, &unused);
	if (f->part_fd >= 0)
		close(f->part_fd);
	f->part_fd = -1;
	f->part_bytes = 0;
}

static void fill_resume_done(struct job *job)
{
	struct fill *f = container_of(job, struct fill, job);

	f->job_busy = false;
	f->hashing = true;
	if (f->state == FILL_LOST || f->part_bytes == 0)
		fill_part_drop(f);
	if (f->state == FILL_DISK)
		fill_absent(f);
	loop_wake(f->loop, f->owner);
}

static void fill_part_looked(struct op *op, int res)
{
	struct fill *f = container_of(op, struct fill, file_op);

	if (f->state == FILL_LOST || res < 0) {
		if (res >= 0)
			close(res);
		if (f->state == FILL_DISK)
			fill_absent(f);
		loop_wake(f->loop, f->owner);
		return;
	}
	f->part_fd = res;
	loop_timer_clear(f->loop, &f->stuck); /* how long hashing takes depends on how much it is */
	fill_job(f, fill_resume_work, fill_resume_done);
}

static void fill_look_part(struct fill *f)
{
	_Static_assert(sizeof(f->path) >= PARTIAL_PATH_MAX, "it must fit");
	partial_name(&f->blob->digest, f->part_name);
	partial_path(f->part_name, f->path);
	op_init(&f->file_op, &f->inflight, fill_part_looked);
	fill_limit(f);
	loop_openat(f->loop, &f->file_op, f->cache->store.root_fd, f->path,
		    O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
}

/* A manifest's type is in its name, which we do not know: the next, until all were tried. */
static void fill_look_next(struct fill *f)
{
	/* Of a private blob nothing may come to who asks for it by another way: no partial/. */
	if (f->type == 0 && cache_kind_owner(f->blob->kind) == 0) {
		fill_look_part(f);
		return;
	}
	if (f->type != 0 && f->type + 1U < f->cache->store.suffixes_count) {
		f->type++;
		fill_look(f);
		return;
	}
	fill_absent(f);
}

static void fill_looked(struct op *op, int res)
{
	struct fill *f = container_of(op, struct fill, file_op);
	uint64_t size;

	if (f->state == FILL_LOST) {
		if (res >= 0)
			close(res);
		loop_wake(f->loop, f->owner);
		return;
	}
	assert(f->state == FILL_DISK);
	if (res >= 0 && store_is_file(res, &size)) {
		fill_found(f, res, size);
		return;
	}
	if (res >= 0)
		close(res);
	else if (res != -ENOENT)
		cache_fault(f->cache, "cannot look for a file", f->path, res);
	fill_look_next(f);
}

/* On the loop, through io_uring: the folder may lie on a network file system. */
static void fill_look(struct fill *f)
{
	const struct store *s = &f->cache->store;

	store_path(s, f->blob->kind, &f->blob->digest, f->type, f->path);
	op_init(&f->file_op, &f->inflight, fill_looked);
	fill_limit(f);
	loop_openat(f->loop, &f->file_op, s->root_fd, f->path,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
}

static void fill_flow(struct fill *f, int fd, uint64_t size, uint8_t type)
{
	f->fd = fd;
	f->flowed = true;
	f->size = size;
	op_init(&f->file_op, &f->inflight, fill_wrote);
	mill_enter(f);
	blob_start(f->blob, fd, size, type);
	fill_enter(f, FILL_FLOWING);
}

void fill_resume(struct fill *f)
{
	assert(f->state == FILL_ABSENT);
	assert(f->part_bytes > 0 && f->part_bytes < f->part_size);
	stat_inc(f->stats, STAT_FILLS);
	stat_inc(f->stats, STAT_FILLS_RESUMED);
	store_path(&f->cache->store, CACHE_BLOB, &f->blob->digest, 0, f->path);
	f->partial = true;
	f->keep = true;
	f->received = f->written = f->saved = f->part_bytes;
	fill_flow(f, f->part_fd, f->part_size, 0);
	f->part_fd = -1;
	blob_advance(f->blob, fill_avail(f));
}

/*
 * On a helper.  What is large goes where it can be gone on with.  A beginning that was found and is
 * not wanted makes way first: its lock is ours.
 */
static void fill_make_work(struct job *job)
{
	struct fill *f = container_of(job, struct fill, job);
	struct store *s = &f->cache->store;

	if (f->part_fd >= 0) {
		partial_remove(s, f->part_name);
		close(f->part_fd);
		f->part_fd = -1;
	}
	f->made_fd = f->partial ? partial_new(s, f->part_name) : -EEXIST;
	if (f->made_fd == -EEXIST) {
		f->partial = false;
		f->made_fd = store_tmp_new(s, f->tmp_name);
	}
}

static void fill_make_done(struct job *job)
{
	struct fill *f = container_of(job, struct fill, job);
	int fd = f->made_fd;

	f->job_busy = false;
	if (f->state == FILL_LOST) {
		loop_wake(f->loop, f->owner);
		if (fd >= 0)
			fill_job(f, fill_remove_work, fill_removed);
		return;
	}
	loop_timer_clear(f->loop, &f->stuck);
	if (fd < 0) {
		fill_lose_disk(f, "cannot make a temporary file for", fd);
		return;
	}
	f->made_fd = -1;
	f->keep = f->partial;
	digest_begin(&f->hash, (enum digest_alg)f->blob->digest.alg);
	f->hashing = true;
	fill_flow(f, fd, f->size, f->type);
}

void fill_open(struct fill *f, uint64_t size, uint8_t type)
{
	struct digest unused;

	assert(f->state == FILL_ABSENT);
	stat_inc(f->stats, STAT_FILLS);
	store_path(&f->cache->store, f->blob->kind, &f->blob->digest, type, f->path);
	fill_hash_end(f, &unused); /* of a beginning that is not wanted */
	f->part_bytes = 0;
	f->size = size;
	f->type = type;
	fill_enter(f, FILL_OPENING);
	if (size != BLOB_SIZE_UNKNOWN && !disk_has_room(f->cache, size)) {
		fill_lose(f, &(struct blob_failure){ .err = -ENOSPC, .disk = true });
		return;
	}
	f->partial = f->part_name[0] && size != BLOB_SIZE_UNKNOWN && size >= PARTIAL_MIN;
	fill_limit(f);
	fill_job(f, fill_make_work, fill_make_done);
}

struct buf *fill_room(struct fill *f)
{
	struct buf *b = &f->chunk[f->filling];

	assert(!f->wide.on);
	if (f->state == FILL_LOST || f->state == FILL_OPENING)
		return NULL;
	assert(f->state == FILL_FLOWING);
	if (!b->mem) {
		char *mem = cache_chunk_get(f->cache);

		if (!mem) {
			fill_lose(f, &(struct blob_failure){ .err = -ENOMEM });
			return NULL;
		}
		buf_init(b, mem, FILL_CHUNK - f->received % FILL_CHUNK);
	}
	if (buf_room(b) > 0)
		return b;
	/* It is full, so only a write in flight can hold it back. */
	assert(op_busy(&f->file_op));
	return NULL;
}

void fill_added(struct fill *f, size_t bytes)
{
	struct buf *b = &f->chunk[f->filling];

	if (f->state == FILL_LOST || bytes == 0)
		return;
	assert(f->state == FILL_FLOWING);
	assert(bytes <= buf_len(b));
	f->received += bytes;
	assert(f->received >= f->written);
	if (f->received > f->size) {
		fill_lose_corrupt(f, ERR_LONG);
		return;
	}
	fill_write(f);
}

void fill_flush(struct fill *f)
{
	struct buf *b = &f->chunk[f->filling];

	if (f->state != FILL_FLOWING || buf_len(b) == 0)
		return;
	f->flush = true;
	fill_write(f);
}

static void fill_write_to_disk(struct fill *f, const struct buf *b)
{
	fill_limit(f);
	loop_write(f->loop, &f->file_op, f->fd, b->mem + b->head, buf_len(b), f->written);
}

/* Hands chunk[filling] to the kernel, if the other is back and there is reason to. */
void fill_write(struct fill *f)
{
	struct buf *b = &f->chunk[f->filling];

	if (op_busy(&f->file_op) || buf_len(b) == 0)
		return;
	if (buf_room(b) > 0 && !f->flush && !f->finish)
		return;
	assert(!f->chunk[!f->filling].mem);
	f->flush = false;
	f->filling = !f->filling;
	fill_write_to_disk(f, b);
}

/* The last byte is kept back until the digest was found right. */
uint64_t fill_avail(const struct fill *f)
{
	if (f->size != BLOB_SIZE_UNKNOWN && f->written < f->size)
		return f->written;
	return f->written > 0 ? f->written - 1 : 0;
}

/*
 * On a helper.  What is larger than the whole cache would drive out all else: it goes with its
 * readers.
 */
static void fill_publish_work(struct job *job)
{
	struct fill *f = container_of(job, struct fill, job);
	const struct store *s = &f->cache->store;
	char from[PARTIAL_PATH_MAX];

	if (f->received > cache_size(f->cache)) {
		fill_file_remove(f);
		return;
	}
	evict_for(f->cache, f->received);
	if (f->partial)
		partial_path(f->part_name, from);
	else
		snprintf(from, sizeof(from), "tmp/%s", f->tmp_name);
	f->err = store_publish(s, f->fd, from, f->path);
	if (f->err < 0)
		fill_file_remove(f);
	else if (f->partial)
		partial_forget(s, f->part_name);
}

/* Its readers have the whole, verified: the blob goes with them. */
static cold void fill_unpublished(struct fill *f)
{
	disk_failed(f->cache, "cannot publish", f->path, f->err);
	stat_inc(f->stats, STAT_FILLS_FAILED);
	blob_publish(f->blob, false);
	fill_enter(f, FILL_DONE);
}

static void fill_publish_done(struct job *job)
{
	struct fill *f = container_of(job, struct fill, job);

	assert(f->job_busy);
	f->job_busy = false;
	if (f->err < 0) {
		fill_unpublished(f);
		return;
	}
	blob_publish(f->blob, f->received <= cache_size(f->cache));
	stat_inc(f->stats, STAT_FILLS_OK);
	fill_enter(f, FILL_DONE);
	index_trim_fds(&f->cache->index);
	cache_house(f->cache, HOUSE_EVICT);
}

/* Readers get the rest now; that it lasts is the disk's business, and a helper's. */
static void fill_publish(struct fill *f)
{
	assert(f->state == FILL_FLUSHING);
	assert(f->written == f->received);
	f->whole = true;
	if (!f->publish_due)
		blob_verified(f->blob, f->received);
	f->publish_due = f->job_busy; /* a save: it is soon over */
	if (f->publish_due)
		return;
	fill_job(f, fill_publish_work, fill_publish_done);
}

static void fill_save_work(struct job *job)
{
	struct fill *f = container_of(job, struct fill, job);

	f->save_err = partial_save(&f->cache->store, f->part_name, f->fd, f->size, f->saving);
}

/* A journal that could not be written costs bytes after a restart, and nothing else. */
static void fill_save_done(struct job *job)
{
	struct fill *f = container_of(job, struct fill, job);

	f->job_busy = false;
	if (f->save_err < 0)
		cache_fault(f->cache, "cannot note how far it is", f->part_name, f->save_err);
	f->saved = f->saving;
	loop_wake(f->loop, f->owner);
	if (f->state == FILL_LOST)
		fill_file_end(f);
	else if (f->publish_due)
		fill_publish(f);
	else if (f->state == FILL_FLOWING)
		fill_save_due(f);
}

static void fill_save(struct fill *f)
{
	f->saving = f->written;
	fill_job(f, fill_save_work, fill_save_done);
}

static void fill_wrote(struct op *op, int res)
{
	struct fill *f = container_of(op, struct fill, file_op);
	struct buf *b = &f->chunk[!f->filling];

	loop_wake(f->loop, f->owner);
	if (f->state == FILL_LOST) {
		fill_chunk_put(f, b);
		return;
	}
	loop_timer_clear(f->loop, &f->stuck);
	if (res <= 0) {
		fill_lose_disk(f, "cannot write", res < 0 ? res : -EIO);
		return;
	}
	mill_run(f, f->received - buf_len(&f->chunk[f->filling]));
	buf_take(b, (size_t)res);
	f->written += (uint64_t)res;
	if (buf_len(b) > 0) {
		fill_write_to_disk(f, b);
		return;
	}
	fill_chunk_put(f, b);
	if (f->finish && f->written == f->received) {
		fill_publish(f);
		return;
	}
	blob_advance(f->blob, fill_avail(f));
	if (!f->job_busy)
		fill_save_due(f);
	fill_write(f);
}

void fill_check(struct fill *f)
{
	struct digest found;

	if (!f->wide.on)
		mill_run(f, f->received);
	fill_hash_end(f, &found);
	if (f->size != BLOB_SIZE_UNKNOWN && f->received < f->size) {
		fill_lose_corrupt(f, ERR_SHORT);
		return;
	}
	if (!digest_eq(&found, &f->blob->digest)) {
		fill_lose_corrupt(f, ERR_DIGEST);
		return;
	}
	fill_write(f);
	if (f->written == f->received)
		fill_publish(f);
}

void fill_finish(struct fill *f)
{
	if (f->state == FILL_LOST)
		return;
	assert(f->state == FILL_FLOWING);
	fill_enter(f, FILL_FLUSHING);
	f->finish = true;
	if (f->wide.on && (f->wide.busy || f->wide.hashed < f->written)) {
		fill_limit(f);
		fill_wide_hash(f);
		return;
	}
	fill_check(f);
}

void fill_fail(struct fill *f, const struct blob_failure *why)
{
	assert(f->state != FILL_IDLE);
	if (!f->whole && !fill_is_over(f))
		fill_lose(f, why);
}

bool fill_drop(struct fill *f)
{
	const struct blob_failure why = { .err = ERR_UNWANTED };

	if (f->state != FILL_FLOWING || !blob_fail_unread(f->blob, &why))
		return false;
	stat_inc(f->stats, STAT_FILLS_DROPPED);
	fill_end_lost(f, &why);
	return true;
}

bool fill_close(struct fill *f)
{
	assert(fill_is_over(f));
	if (f->inflight > 0 || f->job_busy || f->wide.busy)
		return false;
	loop_timer_clear(f->loop, &f->stuck);
	/* Of a fill that was lost: what was being filled, or on its way to the disk. */
	for (unsigned i = 0; i < 2; i++)
		if (f->chunk[i].mem)
			fill_chunk_put(f, &f->chunk[i]);
	fill_part_drop(f);
	blob_set_filler(f->blob, false);
	blob_unref(f->blob);
	f->blob = NULL;
	return true;
}
