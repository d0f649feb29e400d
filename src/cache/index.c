/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/index.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cache/stock.h"

enum { BUCKETS_MIN = 64 };

int index_init(struct index *ix, unsigned fds_max)
{
	*ix = (struct index){ .fds_max = fds_max };
	hash_seed_make(&ix->seed);
	for (unsigned i = 0; i < INDEX_SHARDS; i++) {
		struct shard *sh = &ix->shards[i];

		pthread_mutex_init(&sh->lock, NULL);
		sh->index = ix;
		list_init(&sh->lru);
		list_init(&sh->fds);
		sh->buckets = calloc(BUCKETS_MIN, sizeof(*sh->buckets));
		if (sh->buckets)
			sh->buckets_count = BUCKETS_MIN;
	}
	for (unsigned i = 0; i < INDEX_SHARDS; i++)
		if (!ix->shards[i].buckets)
			return -ENOMEM;
	return 0;
}

static void shard_fini(struct shard *sh)
{
	for (uint32_t i = 0; i < sh->buckets_count; i++) {
		while (sh->buckets[i]) {
			struct blob *b = sh->buckets[i];
			bool removed = index_remove(b);

			assert(removed);
		}
	}
	assert(sh->blobs_count == 0);
	free(sh->buckets);
	pthread_mutex_destroy(&sh->lock);
}

void index_fini(struct index *ix)
{
	for (unsigned i = 0; i < INDEX_SHARDS; i++)
		shard_fini(&ix->shards[i]);
	assert(ix->bytes == 0);
	assert(ix->blobs == 0);
	assert(ix->fds_open == 0);
}

static uint64_t index_hash(const struct index *ix, uint32_t kind, const struct digest *d)
{
	return hash_bytes(&ix->seed, d, sizeof(*d)) ^ (uint64_t)kind;
}

static struct shard *index_shard(struct index *ix, uint64_t hash)
{
	return &ix->shards[hash >> 58];
}
_Static_assert(INDEX_SHARDS == 1 << 6, "index_shard() takes the top six bits");

static struct blob **shard_bucket(struct shard *sh, uint64_t hash)
{
	return &sh->buckets[hash & (sh->buckets_count - 1)];
}

static struct blob *shard_find(struct shard *sh, uint64_t hash, uint32_t kind,
			       const struct digest *d)
{
	struct blob *b = *shard_bucket(sh, hash);

	while (b && !(b->kind == kind && digest_eq(&b->digest, d)))
		b = b->next;
	return b;
}

/* Without memory the chains just grow. */
static cold void shard_grow(struct shard *sh)
{
	struct blob **old = sh->buckets;
	uint32_t old_count = sh->buckets_count;
	struct blob **bigger = calloc(2 * (size_t)old_count, sizeof(*bigger));

	if (!bigger)
		return;
	sh->buckets = bigger;
	sh->buckets_count = 2 * old_count;
	for (uint32_t i = 0; i < old_count; i++) {
		while (old[i]) {
			struct blob *b = old[i];
			struct blob **at;

			old[i] = b->next;
			at = shard_bucket(sh, index_hash(sh->index, b->kind, &b->digest));
			b->next = *at;
			*at = b;
		}
	}
	free(old);
}

/* Takes the caller's reference. */
static void shard_insert(struct shard *sh, uint64_t hash, struct blob *b)
{
	struct blob **at;

	if (sh->blobs_count >= sh->buckets_count)
		shard_grow(sh);
	at = shard_bucket(sh, hash);
	b->shard = sh;
	b->next = *at;
	*at = b;
	sh->blobs_count++;
	__atomic_store_n(&b->indexed, true, __ATOMIC_RELEASE);
}

static void blob_mark_used(struct blob *b, uint32_t now_s)
{
	struct timespec ts;

	if (now_s < b->used_s)
		return;
	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	b->used_s = now_s;
	b->used_ms = (uint16_t)(ts.tv_nsec / 1000000);
}

static void shard_touch(struct shard *sh, struct blob *b, uint32_t now_s)
{
	blob_mark_used(b, now_s);
	list_remove(&b->lru);
	list_push_front(&sh->lru, &b->lru);
	if (b->fd < 0)
		return;
	list_remove(&b->fds);
	list_push_front(&sh->fds, &b->fds);
}

struct blob *index_get(struct index *ix, uint32_t kind, const struct digest *d, uint32_t now_s,
		       bool make, bool *made)
{
	uint64_t hash = index_hash(ix, kind, d);
	struct shard *sh = index_shard(ix, hash);
	struct blob *b;

	pthread_mutex_lock(&sh->lock);
	b = shard_find(sh, hash, kind, d);
	*made = !b && make;
	if (*made) {
		b = blob_new(kind, d, true);
		if (b)
			shard_insert(sh, hash, b);
	}
	if (b) {
		blob_ref(b);
		if (blob_state(b) == BLOB_READY)
			shard_touch(sh, b, now_s);
	}
	pthread_mutex_unlock(&sh->lock);
	return b;
}

void index_put(struct shard *sh, struct blob *b)
{
	shard_insert(sh, index_hash(sh->index, b->kind, &b->digest), b);
}

static void index_count(struct index *ix, const struct blob *b, int sign)
{
	__atomic_fetch_add(&ix->bytes, sign > 0 ? b->size : -b->size, __ATOMIC_RELAXED);
	__atomic_fetch_add(&ix->blobs, sign > 0 ? 1 : UINT64_MAX, __ATOMIC_RELAXED);
}

bool index_add_old(struct index *ix, struct blob *b)
{
	uint32_t kind = b->kind;
	uint64_t hash = index_hash(ix, kind, &b->digest);
	struct shard *sh = index_shard(ix, hash);
	bool fresh;

	assert(blob_state(b) == BLOB_READY);
	assert(b->fd < 0);
	pthread_mutex_lock(&sh->lock);
	fresh = !shard_find(sh, hash, kind, &b->digest);
	if (fresh) {
		shard_insert(sh, hash, b);
		list_push(&sh->lru, &b->lru);
		index_count(ix, b, 1);
	}
	pthread_mutex_unlock(&sh->lock);
	return fresh;
}

void index_lock(const struct blob *b)
{
	pthread_mutex_lock(&b->shard->lock);
}

void index_unlock(const struct blob *b)
{
	pthread_mutex_unlock(&b->shard->lock);
}

static void index_fd_opened(struct shard *sh, struct blob *b)
{
	list_push_front(&sh->fds, &b->fds);
	__atomic_fetch_add(&sh->index->fds_open, 1, __ATOMIC_RELAXED);
}

/* The fd itself is still the blob's. */
static void index_fd_leaves(struct shard *sh, struct blob *b)
{
	list_remove(&b->fds);
	__atomic_fetch_sub(&sh->index->fds_open, 1, __ATOMIC_RELAXED);
}

/* A blob that became READY in the index: it counts, and may be evicted when nobody holds it. */
void index_enter_ready(struct blob *b, uint32_t used_s, uint32_t saved_s)
{
	assert(b->indexed);
	assert(b->fd >= 0);
	blob_mark_used(b, used_s);
	b->saved_s = saved_s;
	list_push_front(&b->shard->lru, &b->lru);
	index_count(b->shard->index, b, 1);
	index_fd_opened(b->shard, b);
}

bool index_drop(struct blob *b)
{
	struct shard *sh = b->shard;
	struct blob **at;

	if (!b->indexed)
		return false;
	at = shard_bucket(sh, index_hash(sh->index, b->kind, &b->digest));
	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	sh->blobs_count--;
	if (!list_empty(&b->lru)) {
		list_remove(&b->lru);
		index_count(sh->index, b, -1);
	}
	if (!list_empty(&b->fds))
		index_fd_leaves(sh, b);
	__atomic_store_n(&b->indexed, false, __ATOMIC_RELEASE);
	return true;
}

bool index_remove(struct blob *b)
{
	bool removed;

	index_lock(b);
	removed = index_drop(b);
	index_unlock(b);
	if (removed)
		blob_unref(b);
	return removed;
}

bool index_set_fd(struct blob *b, int fd)
{
	bool taken;

	assert(blob_state(b) == BLOB_READY);
	index_lock(b);
	taken = b->fd < 0;
	if (taken)
		__atomic_store_n(&b->fd, fd, __ATOMIC_RELEASE);
	if (taken && b->indexed)
		index_fd_opened(b->shard, b);
	index_unlock(b);
	return taken;
}

/*
 * What is being read is being used: it goes to the front, so that thousands of readers of old blobs
 * are walked over once and not for each that is evicted.  What is pinned is walked over.
 */
static struct blob *shard_oldest_idle(struct shard *sh)
{
	struct list *n = sh->lru.prev;

	for (uint32_t tries = sh->blobs_count; tries > 0 && n != &sh->lru; tries--) {
		struct blob *b = container_of(n, struct blob, lru);

		n = n->prev;
		if (b->pinned)
			continue;
		if (blob_is_idle(b))
			return b;
		shard_touch(sh, b, (uint32_t)time(NULL));
	}
	return NULL;
}

uint32_t index_count_of(struct index *ix, unsigned shard)
{
	struct shard *sh = &ix->shards[shard];
	uint32_t count;

	pthread_mutex_lock(&sh->lock);
	count = sh->blobs_count;
	pthread_mutex_unlock(&sh->lock);
	return count;
}

size_t index_copy(struct index *ix, unsigned shard, struct cache_item *out, size_t max)
{
	struct shard *sh = &ix->shards[shard];
	size_t count = 0;

	pthread_mutex_lock(&sh->lock);
	list_for_each(n, &sh->lru) {
		const struct blob *b = container_of(n, struct blob, lru);

		if (count == max)
			break;
		out[count++] = (struct cache_item){
			.kind = b->kind,
			.type = b->type,
			.pinned = b->pinned,
			.used_s = b->used_s,
			.size = b->size,
			.digest = b->digest,
		};
	}
	pthread_mutex_unlock(&sh->lock);
	return count;
}

struct blob *index_take(struct index *ix, uint32_t kind, const struct digest *d)
{
	uint64_t hash = index_hash(ix, kind, d);
	struct shard *sh = index_shard(ix, hash);
	struct blob *b;

	pthread_mutex_lock(&sh->lock);
	b = shard_find(sh, hash, kind, d);
	if (b && (blob_state(b) != BLOB_READY || !index_drop(b)))
		b = NULL;
	pthread_mutex_unlock(&sh->lock);
	return b;
}

bool index_pin(struct index *ix, uint32_t kind, const struct digest *d, bool on)
{
	uint64_t hash = index_hash(ix, kind, d);
	struct shard *sh = index_shard(ix, hash);
	struct blob *b;

	pthread_mutex_lock(&sh->lock);
	b = shard_find(sh, hash, kind, d);
	if (b)
		b->pinned = on;
	pthread_mutex_unlock(&sh->lock);
	return b != NULL;
}

/* Unix time in milliseconds; UINT64_MAX: none. */
static uint64_t shard_oldest_ms(struct shard *sh)
{
	const struct blob *b;
	uint64_t used_ms;

	pthread_mutex_lock(&sh->lock);
	b = shard_oldest_idle(sh);
	used_ms = b ? b->used_s * (uint64_t)1000 + b->used_ms : UINT64_MAX;
	pthread_mutex_unlock(&sh->lock);
	return used_ms;
}

struct blob *index_take_oldest(struct index *ix)
{
	struct shard *oldest = NULL;
	uint64_t oldest_ms = UINT64_MAX;
	struct blob *b;

	for (unsigned i = 0; i < INDEX_SHARDS; i++) {
		uint64_t used_ms = shard_oldest_ms(&ix->shards[i]);

		if (used_ms < oldest_ms) {
			oldest_ms = used_ms;
			oldest = &ix->shards[i];
		}
	}
	if (!oldest)
		return NULL;
	pthread_mutex_lock(&oldest->lock);
	b = shard_oldest_idle(oldest);
	if (b && !index_drop(b))
		unreachable("a blob in the order of use is in the index");
	pthread_mutex_unlock(&oldest->lock);
	return b;
}

/* An fd for the caller to close, or -1. */
static int shard_take_idle_fd(struct shard *sh)
{
	int fd = -1;

	pthread_mutex_lock(&sh->lock);
	for (struct list *n = sh->fds.prev; n != &sh->fds && fd < 0; n = n->prev) {
		struct blob *b = container_of(n, struct blob, fds);

		if (blob_is_idle(b)) {
			fd = b->fd;
			index_fd_leaves(sh, b);
			__atomic_store_n(&b->fd, -1, __ATOMIC_RELAXED);
			break;
		}
	}
	pthread_mutex_unlock(&sh->lock);
	return fd;
}

/* saved_s: the file tells when the other used it, and no less. */
bool index_put_back(struct index *ix, struct blob *b, uint32_t now_s)
{
	uint64_t hash = index_hash(ix, b->kind, &b->digest);
	struct shard *sh = index_shard(ix, hash);
	bool fresh;

	assert(blob_state(b) == BLOB_READY && !b->indexed);
	pthread_mutex_lock(&sh->lock);
	fresh = !shard_find(sh, hash, b->kind, &b->digest);
	if (fresh) {
		blob_mark_used(b, now_s);
		b->saved_s = b->used_s;
		shard_insert(sh, hash, b);
		list_push_front(&sh->lru, &b->lru);
		index_count(ix, b, 1);
		if (b->fd >= 0)
			index_fd_opened(sh, b);
	}
	pthread_mutex_unlock(&sh->lock);
	return fresh;
}

/*
 * Goes round the shards, so the order of use decides within each only; all closed are idle anyway.
 */
void index_trim_fds(struct index *ix)
{
	for (unsigned i = 0; i < INDEX_SHARDS; i++) {
		unsigned at;
		int fd;

		if (__atomic_load_n(&ix->fds_open, __ATOMIC_RELAXED) <= ix->fds_max)
			return;
		at = __atomic_fetch_add(&ix->fds_hand, 1, __ATOMIC_RELAXED) % INDEX_SHARDS;
		fd = shard_take_idle_fd(&ix->shards[at]);
		if (fd >= 0)
			close(fd);
	}
}

unsigned index_take_due(struct index *ix, unsigned shard, uint32_t since_s, uint32_t every_s,
			struct index_due *out, unsigned max)
{
	struct shard *sh = &ix->shards[shard];
	unsigned count = 0;

	pthread_mutex_lock(&sh->lock);
	list_for_each(n, &sh->lru) {
		struct blob *b = container_of(n, struct blob, lru);

		if (b->used_s < since_s || count == max)
			break;
		if (b->used_s - b->saved_s < every_s)
			continue;
		b->saved_s = b->used_s;
		out[count++] = (struct index_due){
			.digest = b->digest,
			.kind = b->kind,
			.type = b->type,
			.used_s = b->used_s,
		};
	}
	pthread_mutex_unlock(&sh->lock);
	return count;
}
