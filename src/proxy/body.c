/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/body.h"

#include <errno.h>

#include "base/err.h"
#include "base/log.h"
#include "cache/hot.h"
#include "proxy/visit.h"

void body_init(struct body *b, struct proxy *p, struct task *owner)
{
	memset(b, 0, sizeof(*b));
	b->proxy = p;
	b->owner = owner;
	blob_waiter_init(&b->waiter, p->loop, owner);
}

/* All of the blob and nothing else, so that its digest says whether it is right. */
static bool body_is_whole(const struct body *b)
{
	const struct segment *s = &b->segments[0];
	struct blob_view v = { .size = BLOB_SIZE_UNKNOWN };

	if (b->count != 1 || s->mem || s->from != 0)
		return false;
	if (b->bypass)
		v.size = bypass_size(b->bypass);
	else
		blob_look(b->blob, &v);
	return s->bytes == BLOB_SIZE_UNKNOWN || s->bytes == v.size;
}

void body_set(struct body *b, struct segment *segments, unsigned count, struct blob *blob)
{
	assert(!b->blob);
	b->segments = segments;
	b->count = count;
	b->at = 0;
	b->done = 0;
	b->blob = blob;
	if (b->bypass && body_is_whole(b))
		bypass_hash(b->bypass);
}

void body_set_rest(struct body *b, const struct bypass_opts *rest)
{
	b->rest = rest;
}

static void body_took(struct body *b, uint64_t n)
{
	b->done += n;
	b->total += n;
	if (b->counted)
		stat_add(&b->proxy->stats, STAT_BYTES_DOWN, (int64_t)n);
	if (b->counted && b->from_cache)
		stat_add(&b->proxy->stats, STAT_BYTES_CACHE, (int64_t)n);
}

/* What of the current segment may be read now; 0: BODY_WAIT, END or BROKEN is in *why. */
static uint64_t body_window(struct body *b, struct blob_view *v, int *why)
{
	struct segment *s = &b->segments[b->at];
	uint64_t from = s->from + b->done;
	uint64_t end;

	for (;;) {
		blob_look(b->blob, v);
		if (v->state == BLOB_FAILED || v->damaged) {
			*why = BODY_BROKEN;
			return 0;
		}
		end = s->bytes == BLOB_SIZE_UNKNOWN ? v->size : s->from + s->bytes;
		if (v->avail > from)
			return (v->avail < end ? v->avail : end) - from;
		if (v->size != BLOB_SIZE_UNKNOWN && from >= v->size) {
			*why = BODY_END;
			return 0;
		}
		if (b->waiter.waiting || blob_wait(b->blob, &b->waiter, v)) {
			*why = BODY_WAIT;
			return 0;
		}
	}
}

static void body_read_end(struct body *b)
{
	if (b->read)
		diskread_end(b->read);
	b->read = NULL;
	b->read_used = 0;
}

static int body_copy_read(struct body *b, char *dst, size_t cap)
{
	size_t n = (size_t)b->read->got - b->read_used;

	if (n > cap)
		n = cap;
	memcpy(dst, b->read->mem + b->read_used, n);
	b->read_used += n;
	if (b->read_used == (size_t)b->read->got)
		body_read_end(b);
	body_took(b, n);
	return (int)n;
}

/* The pages are not in memory: an asynchronous read waits for the disk, not the loop. */
static int body_read_disk(struct body *b, uint64_t off, uint64_t len)
{
	b->read = diskread_start(b->proxy, b->owner, b->blob, off, len);
	if (b->read)
		return BODY_WAIT;
	b->err = ERR_LIMIT;
	return BODY_BROKEN;
}

static int body_read_bypass(struct body *b, char *dst, size_t cap)
{
	int n = bypass_read(b->bypass, b->segments[b->at].from + b->done, dst, cap);

	if (n > 0)
		body_took(b, (uint64_t)n);
	return n;
}

static int body_read_visit(struct body *b, char *dst, size_t cap)
{
	int n = visit_read(b->visit, dst, cap);

	if (n > 0)
		body_took(b, (uint64_t)n);
	return n;
}

/* Does the disk alone stand between the reader and the rest? */
static bool body_may_pass(struct body *b)
{
	struct blob_failure why = { .disk = true };
	struct blob_view v;

	blob_look(b->blob, &v);
	if (v.state == BLOB_FAILED)
		blob_failure(b->blob, &why);
	return b->rest && (b->err || why.disk);
}

/* The blob came wrong and is filled once more: its readers go there, and have to prove that. */
static cold bool body_follow(struct body *b)
{
	struct blob_view v;
	struct blob *next;

	blob_look(b->blob, &v);
	if (b->was || v.state != BLOB_FAILED)
		return false;
	next = blob_successor(b->blob);
	if (!next)
		return false;
	b->was = b->blob;
	b->blob = next;
	b->proof = (struct proof){ .state = PROOF_IDLE };
	return true;
}

/* 1: what was taken is as <blob> has it, and the rest can be read there. */
static cold int body_prove(struct body *b)
{
	if (!blob_unwait(&b->waiter))
		return BODY_WAIT;
	switch (proof_step(&b->proof, b)) {
	case PROOF_IDLE:
	case PROOF_RUNS: return BODY_WAIT;
	case PROOF_DIFFERS: return BODY_BROKEN;
	case PROOF_SAME: break;
	}
	blob_unref(b->was);
	b->was = NULL;
	return 1;
}

/* The cache gives no more; upstream goes on behind what was taken. */
static cold int body_pass(struct body *b, char *dst, size_t cap)
{
	uint64_t from = b->segments[b->at].from + b->done;
	struct blob_view v;

	/* Of a blob that came wrong, nobody knows whether what was taken is right. */
	if (b->was || !body_may_pass(b))
		return BODY_BROKEN;
	blob_look(b->blob, &v);
	b->bypass = bypass_resume(b->proxy, b->owner, b->rest, from, v.size,
				  body_is_whole(b) ? b->blob : NULL);
	if (!b->bypass)
		return BODY_BROKEN;
	b->err = 0;
	return body_read_bypass(b, dst, cap);
}

static cold int body_read_failed(struct body *b, char *dst, size_t cap)
{
	stat_inc(&b->proxy->stats, STAT_CACHE_ERRORS);
	body_read_end(b);
	blob_damaged(b->blob, b->err);
	return body_pass(b, dst, cap);
}

/* Bytes that can be read now; 0: BODY_WAIT, END or BROKEN is in *why. */
static uint64_t body_find(struct body *b, struct blob_view *v, int *why)
{
	uint64_t window;

	do {
		if (b->was && (*why = body_prove(b)) <= 0)
			return 0;
		window = body_window(b, v, why);
	} while (window == 0 && *why == BODY_BROKEN && body_follow(b));
	return window;
}

/* Is the blob one that is kept in memory (hot.h)? */
static bool body_is_small(const struct blob_view *v)
{
	return v->state == BLOB_READY && v->size <= HOT_BODY_MAX;
}

/* Bytes of a small body that is in memory, 0 if it is not. */
static size_t body_read_hot(struct body *b, const struct blob_view *v, uint64_t from, char *dst,
			    size_t len)
{
	const char *body;
	size_t size;

	if (!body_is_small(v))
		return 0;
	body = hot_get(b->proxy->hot, blob_digest(b->blob), &size);
	if (!body || size != v->size)
		return 0;
	if (from == 0)
		stat_inc(&b->proxy->stats, STAT_HITS_MEMORY);
	memcpy(dst, body + from, len);
	return len;
}

/* A small body that was read as a whole is kept; false: it is not what was published. */
static bool body_keep_hot(struct body *b, const struct blob_view *v, uint64_t from,
			  const char *bytes, size_t len)
{
	if (!body_is_small(v) || from != 0 || len != v->size)
		return true;
	return hot_put(b->proxy->hot, blob_digest(b->blob), bytes, len);
}

/* The first <bytes> of <to>; returns how many places that is. */
static unsigned places_cut(const struct iovec *to, unsigned count, uint64_t bytes,
			   struct iovec *cut)
{
	unsigned n = 0;

	assert(count <= BODY_PLACES_MAX);
	while (n < count && bytes > 0) {
		cut[n] = to[n];
		if (cut[n].iov_len > bytes)
			cut[n].iov_len = (size_t)bytes;
		bytes -= cut[n++].iov_len;
	}
	return n;
}

static int body_read_blob(struct body *b, const struct iovec *to, unsigned count, uint64_t most)
{
	char *dst = to->iov_base;
	size_t cap = to->iov_len < most ? to->iov_len : (size_t)most;
	struct blob_view v;
	struct iovec cut[BODY_PLACES_MAX];
	uint64_t from = b->segments[b->at].from + b->done;
	uint64_t window;
	ssize_t n;
	int why = BODY_WAIT;

	if (b->read && b->read->got == 0)
		return BODY_WAIT;
	if (b->read && b->read->got < 0)
		b->err = b->read->got;
	if (b->err)
		return body_read_failed(b, dst, cap);
	if (b->read)
		return body_copy_read(b, dst, cap);
	window = body_find(b, &v, &why);
	if (window == 0)
		return why == BODY_BROKEN ? body_pass(b, dst, cap) : why;
	n = (ssize_t)body_read_hot(b, &v, from, dst, window < cap ? (size_t)window : cap);
	if (n > 0) {
		body_took(b, (uint64_t)n);
		return (int)n;
	}
	count = places_cut(to, count, window < most ? window : most, cut);
	n = preadv2(v.fd, cut, (int)count, (off_t)from, RWF_NOWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EOPNOTSUPP))
		return body_read_disk(b, from, window);
	if (n > 0 && !body_keep_hot(b, &v, from, dst, (size_t)n))
		b->err = -EUCLEAN;
	else if (n <= 0)
		b->err = n < 0 ? -errno : -EIO;
	if (b->err)
		return body_read_failed(b, dst, cap);
	body_took(b, (uint64_t)n);
	return (int)n;
}

/* Goes to the segment that has something left; false: the body is over. */
static bool body_settle(struct body *b)
{
	while (b->at < b->count && b->segments[b->at].bytes != BLOB_SIZE_UNKNOWN &&
	       b->done == b->segments[b->at].bytes) {
		b->at++;
		b->done = 0;
	}
	return b->at < b->count;
}

int body_read(struct body *b, char *dst, size_t cap)
{
	return body_readv(b, &(struct iovec){ dst, cap }, 1);
}

int body_readv(struct body *b, const struct iovec *to, unsigned count)
{
	char *dst = to->iov_base;
	size_t cap = to->iov_len;
	uint64_t most = UINT64_MAX;
	struct segment *s;
	size_t n;
	int got;

	assert(count > 0 && cap > 0);
	if (!body_settle(b))
		return BODY_END;
	s = &b->segments[b->at];
	if (s->mem) {
		n = s->bytes - b->done < cap ? (size_t)(s->bytes - b->done) : cap;
		memcpy(dst, s->mem + b->done, n);
		body_took(b, n);
		return (int)n;
	}
	if (s->bytes != BLOB_SIZE_UNKNOWN)
		most = s->bytes - b->done;
	if (most < cap)
		cap = (size_t)most;
	got = b->visit    ? body_read_visit(b, dst, cap)
	      : b->bypass ? body_read_bypass(b, dst, cap)
			  : body_read_blob(b, to, count, most);
	/* The end of a blob whose size is asked for is the end of nothing but an open segment. */
	if (got == BODY_END && s->bytes != BLOB_SIZE_UNKNOWN)
		return BODY_BROKEN;
	return got;
}

bool body_is_over(struct body *b)
{
	return !body_settle(b);
}

bool body_file(struct body *b, int *fd, uint64_t *off, size_t *len)
{
	struct blob_view v;
	struct segment *s;
	uint64_t from;
	uint64_t n;

	if (!body_settle(b) || !b->blob || b->bypass || b->was || b->read || b->err)
		return false;
	s = &b->segments[b->at];
	if (s->mem)
		return false;
	blob_look(b->blob, &v);
	from = s->from + b->done;
	if (v.state == BLOB_FAILED || v.damaged || v.fd < 0 || v.avail <= from)
		return false;
	n = v.avail - from;
	if (s->bytes != BLOB_SIZE_UNKNOWN && n > s->bytes - b->done)
		n = s->bytes - b->done;
	*fd = v.fd;
	*off = from;
	*len = n < 256 * 1024 ? (size_t)n : 256 * 1024;
	return true;
}

void body_skip(struct body *b, size_t n)
{
	body_took(b, n);
}

bool body_close(struct body *b)
{
	if (!blob_unwait(&b->waiter) || !proof_close(&b->proof))
		return false;
	if (b->bypass)
		bypass_close(b->bypass);
	b->bypass = NULL;
	body_read_end(b);
	if (b->was)
		blob_unref(b->was);
	b->was = NULL;
	if (b->blob)
		blob_unref(b->blob);
	b->blob = NULL;
	return true;
}
