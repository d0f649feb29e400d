/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/bypass.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/log.h"
#include "proxy/body.h"
#include "proxy/retry.h"

enum {
	/* A gap between two ranges is passed by up to this; beyond, a new request costs less. */
	BYPASS_GAP_MAX = 1024 * 1024,
	BYPASS_ARENA = 16 * 1024, /* a target and a scope */
	BYPASS_TURN = 32,         /* pieces hashed before other work gets its turn */
	BYPASS_PIECE = 16 * 1024, /* of them, at least */
};

enum bypass_state {
	BYPASS_HEAD,   /* waiting for the first head */
	BYPASS_PREFIX, /* hashing what the client has already, from the file */
	BYPASS_OPEN,   /* nothing runs: the rest is to be asked for */
	BYPASS_PAUSE,  /* it broke: a moment before that */
	BYPASS_REST,   /* waiting for the head of the rest */
	BYPASS_SKIP,   /* bytes that are not wanted pass by */
	BYPASS_FLOW,
	BYPASS_END, /* nothing follows but what is held */
	BYPASS_BAD,
};

struct bypass {
	struct proxy *proxy;
	struct task *owner;
	enum bypass_state state;
	struct digest digest;
	struct fetch fetch;
	struct fetch_opts opts;
	struct arena arena; /* of what it borrows */
	uint64_t size;      /* BLOB_SIZE_UNKNOWN until known */
	uint64_t at;        /* of the next byte that upstream is to give */
	uint64_t skip;
	struct timer pause;
	struct retry retry;
	bool hashing;
	struct digest_ctx hash;
	/* Of an unknown size, the last byte so far is held: it may be the very last. */
	bool holds;
	char held;
	/* BYPASS_PREFIX */
	struct blob *blob;
	struct diskread *read;
	uint64_t hashed;
};

static void bypass_pause_over(struct timer *t)
{
	struct bypass *bp = container_of(t, struct bypass, pause);

	assert(bp->state == BYPASS_PAUSE);
	bp->state = BYPASS_OPEN;
	loop_wake(bp->proxy->loop, bp->owner);
}

static struct bypass *bypass_make(struct proxy *p, struct task *owner, const struct bypass_opts *o)
{
	struct bypass *bp = calloc(1, sizeof(*bp));

	if (!bp)
		return NULL;
	bp->proxy = p;
	bp->owner = owner;
	bp->digest = *o->digest;
	bp->size = BLOB_SIZE_UNKNOWN;
	bp->opts = (struct fetch_opts){
		.mirror = o->mirror,
		.owner = owner,
		.authorization = o->authorization,
	};
	arena_init(&bp->arena, BYPASS_ARENA);
	if (!fetch_by_digest(&bp->opts, &bp->arena, o->repo, true, o->digest)) {
		arena_fini(&bp->arena);
		free(bp);
		return NULL;
	}
	timer_init(&bp->pause, bypass_pause_over);
	stat_inc(&p->stats, STAT_BYPASSES);
	return bp;
}

struct bypass *bypass_new(struct proxy *p, struct task *owner, const struct bypass_opts *o,
			  bool head)
{
	struct bypass *bp = bypass_make(p, owner, o);

	if (!bp)
		return NULL;
	bp->opts.head = head;
	fetch_start(&bp->fetch, p, &bp->opts);
	return bp;
}

struct bypass *bypass_resume(struct proxy *p, struct task *owner, const struct bypass_opts *o,
			     uint64_t from, uint64_t size, struct blob *blob)
{
	struct bypass *bp = bypass_make(p, owner, o);

	if (!bp)
		return NULL;
	bp->at = from;
	bp->retry.at = from;
	bp->size = size;
	bp->state = BYPASS_OPEN;
	if (!blob)
		return bp;
	bp->blob = blob;
	bypass_hash(bp);
	if (from > 0)
		bp->state = BYPASS_PREFIX;
	return bp;
}

void bypass_close(struct bypass *bp)
{
	fetch_close(&bp->fetch);
	loop_timer_clear(bp->proxy->loop, &bp->pause);
	if (bp->read)
		diskread_end(bp->read);
	if (bp->hashing) {
		struct digest unused;

		digest_end(&bp->hash, &unused);
	}
	arena_fini(&bp->arena);
	free(bp);
}

uint64_t bypass_size(const struct bypass *bp)
{
	return bp->size;
}

void bypass_hash(struct bypass *bp)
{
	assert(!bp->hashing);
	bp->hashing = true;
	digest_begin(&bp->hash, (enum digest_alg)bp->digest.alg);
}

/* Is it the digest of nothing? */
static bool bypass_is_empty(const struct digest *d)
{
	struct digest nothing;

	digest_of((enum digest_alg)d->alg, SLICE(""), &nothing);
	return digest_eq(&nothing, d);
}

enum bypass_head bypass_head(struct bypass *bp, struct buf *words, uint64_t *size,
			     struct blob_failure *why)
{
	const struct msg *m = &bp->fetch.msg;

	assert(bp->state == BYPASS_HEAD);
	*why = (struct blob_failure){ 0 };
	if (bp->fetch.state == FETCH_FAILED) {
		*why = (struct blob_failure){ .err = bp->fetch.err };
		return BYPASS_REFUSED;
	}
	if (!fetch_has_head(&bp->fetch))
		return BYPASS_WAITS;
	if (m->status != 200)
		return fetch_refusal(&bp->fetch, words, why) ? BYPASS_REFUSED : BYPASS_WAITS;
	if (bp->opts.head) {
		if (!http_parse_uint(msg_field(m, "Content-Length"), &bp->size))
			bp->size = BLOB_SIZE_UNKNOWN;
		fetch_close(&bp->fetch);
		bp->opts.head = false;
		bp->state = BYPASS_OPEN;
	} else {
		if (m->body == BODY_LENGTH)
			bp->size = m->body_bytes;
		bp->state = BYPASS_FLOW;
	}
	/* Nothing would be read of an empty one, so nothing hashed. */
	if (m->body == BODY_NONE && bp->state == BYPASS_FLOW)
		*why = (struct blob_failure){ .err = ERR_HTTP };
	else if (bp->size == 0 && !bypass_is_empty(&bp->digest))
		*why = (struct blob_failure){ .err = ERR_SHORT };
	else
		*size = bp->size;
	return why->err ? BYPASS_REFUSED : BYPASS_THERE;
}

static int bypass_bad(struct bypass *bp, int err)
{
	char digest[DIGEST_TEXT_MAX];

	digest_format(&bp->digest, digest);
	log_limited(LOG_WARN, "bypass mirror=%s digest=%s broken at=%llu: %s",
		    bp->opts.mirror->conf->name, digest, (unsigned long long)bp->at, err_text(err));
	/* (Of what began in a file of ours, nobody knows who was wrong.) */
	if (err == ERR_DIGEST && !bp->blob)
		fetch_blame(&bp->fetch);
	fetch_close(&bp->fetch);
	bp->state = BYPASS_BAD;
	return BODY_BROKEN;
}

/* Asked for again from the start of the chain, since tokens and links expire. */
static int bypass_broke(struct bypass *bp, int err)
{
	uint64_t pause_ms;

	if (bp->proxy->killed ||
	    !retry_again(&bp->retry, bp->opts.mirror->conf->retries, bp->at, &pause_ms))
		return bypass_bad(bp, err);
	fetch_close(&bp->fetch);
	loop_timer_set(bp->proxy->loop, &bp->pause, proxy_now(bp->proxy) + pause_ms);
	bp->state = BYPASS_PAUSE;
	return BODY_WAIT;
}

/* What came from the disk; BODY_WAIT: nothing yet. */
static int bypass_prefix_read(struct bypass *bp)
{
	int got = bp->read->got;

	if (got == 0)
		return BODY_WAIT;
	if (got > 0) {
		digest_update(&bp->hash, bp->read->mem, (size_t)got);
		bp->hashed += (uint64_t)got;
	}
	diskread_end(bp->read);
	bp->read = NULL;
	return got > 0 ? got : bypass_bad(bp, got);
}

/*
 * What the client has came from a file that could be read then; if it cannot now, nobody can say
 * what the whole would be, and the connection is cut: that is safer than the end of a body of which
 * a part was never looked at.  Much of it is in memory even where the disk is stuck.
 */
static int bypass_prefix(struct bypass *bp, char *dst, size_t cap)
{
	char piece[BYPASS_PIECE];
	struct blob_view v;

	/* Where the last byte of a fill is missing, because it cannot be published, <cap> is 1. */
	if (cap < sizeof(piece)) {
		dst = piece;
		cap = sizeof(piece);
	}
	blob_look(bp->blob, &v);
	for (unsigned i = 0; i < BYPASS_TURN; i++) {
		uint64_t left = bp->at - bp->hashed;
		struct iovec iov = { .iov_base = dst, .iov_len = left < cap ? (size_t)left : cap };
		ssize_t n;

		if (bp->read) {
			int got = bypass_prefix_read(bp);

			if (got <= 0)
				return got;
			continue;
		}
		if (left == 0) {
			bp->state = BYPASS_OPEN;
			return 1;
		}
		n = preadv2(v.fd, &iov, 1, (off_t)bp->hashed, RWF_NOWAIT);
		if (n <= 0) {
			bp->read = diskread_start(bp->proxy, bp->owner, bp->blob, bp->hashed, left);
			return bp->read ? BODY_WAIT : bypass_bad(bp, ERR_LIMIT);
		}
		digest_update(&bp->hash, dst, (size_t)n);
		bp->hashed += (uint64_t)n;
	}
	loop_wake(bp->proxy->loop, bp->owner);
	return BODY_WAIT;
}

static int bypass_rest(struct bypass *bp)
{
	if (bp->fetch.state == FETCH_FAILED)
		return bypass_broke(bp, bp->fetch.err);
	if (!fetch_has_head(&bp->fetch))
		return BODY_WAIT;
	if (bp->at > 0 && fetch_is_rest(&bp->fetch, bp->at, bp->size)) {
		bp->state = BYPASS_FLOW;
		return 1;
	}
	if (!fetch_is_whole(&bp->fetch, bp->size))
		return bypass_broke(bp, ERR_SHORT);
	bp->skip = bp->at;
	bp->state = BYPASS_SKIP;
	return 1;
}

static int bypass_skip(struct bypass *bp, char *dst, size_t cap)
{
	int n = fetch_skip(&bp->fetch, &bp->skip, dst, cap);

	if (n == 0)
		return BODY_WAIT;
	if (n < 0)
		return bypass_broke(bp, n);
	bp->state = BYPASS_FLOW;
	return 1;
}

static bool bypass_is_right(struct bypass *bp)
{
	struct digest found;

	if (!bp->hashing)
		return true;
	digest_end(&bp->hash, &found);
	bp->hashing = false;
	return digest_eq(&found, &bp->digest);
}

/* Gives the byte that was held and holds the last of <n> new ones: that many to give. */
static int bypass_hold(struct bypass *bp, char *dst, int n)
{
	char last = dst[n - 1];

	if (bp->holds) {
		memmove(dst + 1, dst, (size_t)n - 1);
		dst[0] = bp->held;
	} else {
		n--;
	}
	bp->held = last;
	bp->holds = true;
	return n;
}

static int bypass_eof(struct bypass *bp, char *dst)
{
	if (!bypass_is_right(bp))
		return bypass_bad(bp, ERR_DIGEST);
	bp->size = bp->at;
	bp->state = BYPASS_END;
	if (!bp->holds)
		return BODY_END;
	bp->holds = false;
	dst[0] = bp->held;
	return 1;
}

static int bypass_flow_sized(struct bypass *bp, char *dst, size_t cap)
{
	struct buf into;
	int n;

	assert(bp->at < bp->size);
	if (bp->size - bp->at < cap)
		cap = (size_t)(bp->size - bp->at);
	buf_init(&into, dst, cap);
	n = fetch_pull(&bp->fetch, &into);
	if (n == 0)
		return BODY_WAIT;
	if (n < 0)
		return bypass_broke(bp, n == ERR_EOF ? ERR_SHORT : n);
	if (bp->hashing)
		digest_update(&bp->hash, dst, (size_t)n);
	bp->at += (uint64_t)n;
	if (bp->at < bp->size)
		return n;
	if (!bypass_is_right(bp))
		return bypass_bad(bp, ERR_DIGEST);
	bp->state = BYPASS_END;
	return n;
}

/* Upstream did not tell the size: only its end says which byte was the last. */
static int bypass_flow_open(struct bypass *bp, char *dst, size_t cap)
{
	struct buf into;
	int n;

	do {
		buf_init(&into, dst, cap);
		n = fetch_pull(&bp->fetch, &into);
		if (n == 0)
			return BODY_WAIT;
		if (n == ERR_EOF)
			return bypass_eof(bp, dst);
		if (n < 0)
			return bypass_broke(bp, n);
		if (bp->hashing)
			digest_update(&bp->hash, dst, (size_t)n);
		bp->at += (uint64_t)n;
		n = bypass_hold(bp, dst, n);
	} while (n == 0);
	return n;
}

/* To where the next range begins. */
static void bypass_seek(struct bypass *bp, uint64_t from)
{
	assert(!bp->hashing);
	if (bp->state == BYPASS_BAD || bp->state == BYPASS_PAUSE)
		return;
	if (bp->state == BYPASS_FLOW && from > bp->at && from - bp->at <= BYPASS_GAP_MAX) {
		bp->skip = from - bp->at;
		bp->state = BYPASS_SKIP;
	} else {
		fetch_close(&bp->fetch);
		bp->state = BYPASS_OPEN;
	}
	bp->at = from;
	bp->retry.at = from;
}

int bypass_read(struct bypass *bp, uint64_t from, char *dst, size_t cap)
{
	int n = 0;

	assert(cap > 0);
	if (from != bp->at - bp->holds)
		bypass_seek(bp, from);
	for (;;) {
		switch (bp->state) {
		case BYPASS_HEAD: unreachable("the head comes before the body");
		case BYPASS_PREFIX: n = bypass_prefix(bp, dst, cap); break;
		case BYPASS_OPEN:
			if (bp->at == bp->size) {
				bp->state = BYPASS_END;
				continue;
			}
			bp->opts.from = bp->at;
			fetch_start(&bp->fetch, bp->proxy, &bp->opts);
			bp->state = BYPASS_REST;
			continue;
		case BYPASS_PAUSE: return BODY_WAIT;
		case BYPASS_REST: n = bypass_rest(bp); break;
		case BYPASS_SKIP: n = bypass_skip(bp, dst, cap); break;
		case BYPASS_FLOW:
			return bp->size == BLOB_SIZE_UNKNOWN ? bypass_flow_open(bp, dst, cap)
							     : bypass_flow_sized(bp, dst, cap);
		case BYPASS_END: return BODY_END;
		case BYPASS_BAD: return BODY_BROKEN;
		}
		if (n <= 0)
			return n;
	}
}
