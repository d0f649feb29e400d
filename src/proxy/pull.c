/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/pull.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "proxy/lane.h"
#include "proxy/oci.h"
#include "proxy/retry.h"

/* Bytes taken in one go before other work gets its turn. */
enum { PULL_TURN_BYTES = 1024 * 1024, PULL_ARENA = 32 * 1024 };

enum {
	/*
	 * Nobody reads: so long it goes on all the same, since containerd closes an open-ended
	 * range and comes back for the next, and clients retry.
	 */
	PULL_UNWANTED_MS = 5000,
	/* What is small is there before it is worth a decision. */
	PULL_SMALL = 8 * 1024 * 1024,
};

/*
 * When one stream has shown that it is slow, lanes join it.  A line that is good never sees them:
 * more connections, and reading again to hash, would gain nothing there.
 */
enum {
	PULL_LOOK_MS = 1000,  /* how long it may show what it can, each time */
	PULL_WORTH_MS = 2000, /* what the rest would take, for lanes to be worth it */
	/* A stretch is what a lane gets in so long: requests cost little, the end comes evenly. */
	PULL_STRETCH_MS = 10 * 1000,
	PULL_STRETCH_MAX = 32 * 1024 * 1024,
};

enum pull_state {
	PULL_DISK,    /* the fill looks whether the file is there */
	PULL_HEAD,    /* waiting for upstream's head */
	PULL_REFUSED, /* reading the body of an error answer */
	PULL_MEMORY,  /* a manifest: the whole of it, to know its type */
	PULL_FLOW,    /* a blob: from the fetch into the fill */
	PULL_PAUSE,   /* it broke: a moment before it is asked for the rest */
	PULL_RESUME,  /* waiting for the head of the rest */
	PULL_SKIP,    /* upstream began anew: what is there already passes by */
	PULL_SETTLE,  /* lanes are to join: what came is written first */
	PULL_WIDE,    /* they flow */
	PULL_NARROW,  /* none is left: back to one stream */
	PULL_STORE,   /* a manifest in memory: into the fill */
	PULL_END,     /* the fill finishes, or has failed */
};

struct pull {
	struct proxy *proxy;
	struct mirror *mirror; /* NULL: pull_store() */
	struct slice repo;     /* in the arena; none: no memory, or pull_store() */
	struct list node;
	struct task task;
	struct arena arena;
	enum pull_state state;
	uint32_t kind;
	struct fill fill;
	struct fetch fetch;
	struct fetch_opts opts;
	char *authorization; /* a client's own, or NULL; secret */
	struct buf body;     /* manifest or error body; malloc'ed */
	uint8_t type;
	struct timer pause;
	struct retry retry;
	uint64_t skip; /* bytes to pass by */
	struct lanes *lanes;
	struct timer look; /* FLOW: is it slow? */
	bool look_due;
	bool alone;         /* lanes were tried, and failed */
	uint64_t flow_ms;   /* since when it flows */
	uint64_t flow_from; /* and from which byte */
	uint64_t begun_ms;
	uint64_t unwanted_ms;  /* since when nobody reads; 0: somebody does */
	struct timer unwanted; /* to see that while nothing comes, too */
	char digest[DIGEST_TEXT_MAX];
};

static void pull_run(struct task *task);
static void pull_pause_over(struct timer *t);
static void pull_look_now(struct timer *t);
static void pull_look_unwanted(struct timer *t);

struct pull *pull_reserve(struct proxy *p)
{
	struct pull *pl = p->pulls_count < PULLS_MAX ? calloc(1, sizeof(*pl)) : NULL;

	if (!pl)
		return NULL;
	pl->proxy = p;
	pl->begun_ms = proxy_now(p);
	list_init(&pl->node);
	task_init(&pl->task, pull_run);
	timer_init(&pl->pause, pull_pause_over);
	timer_init(&pl->look, pull_look_now);
	timer_init(&pl->unwanted, pull_look_unwanted);
	arena_init(&pl->arena, PULL_ARENA);
	list_push(&p->pulls, &pl->node);
	p->pulls_count++;
	return pl;
}

void pull_drop(struct pull *pl)
{
	struct proxy *p = pl->proxy;

	assert(pl->fill.state == FILL_IDLE);
	fetch_close(&pl->fetch);
	loop_timer_clear(p->loop, &pl->pause);
	loop_timer_clear(p->loop, &pl->look);
	loop_timer_clear(p->loop, &pl->unwanted);
	loop_unwake(p->loop, &pl->task);
	list_remove(&pl->node);
	p->pulls_count--;
	free(pl->body.mem);
	if (pl->authorization)
		explicit_bzero(pl->authorization, strlen(pl->authorization));
	free(pl->authorization);
	arena_fini(&pl->arena);
	free(pl);
	proxy_ended(p);
}

/* Its streams end.  What the lanes have in flight, the fill waits for. */
static void pull_hang_up(struct pull *pl)
{
	fetch_close(&pl->fetch);
	if (pl->lanes)
		lanes_close(pl->lanes);
	loop_timer_clear(pl->proxy->loop, &pl->look);
}

static void pull_fail(struct pull *pl, int err)
{
	struct blob_failure why = { .err = err };

	if (pl->mirror)
		log_warn("fill mirror=%s digest=%s failed received=%llu: %s",
			 pl->mirror->conf->name, pl->digest, (unsigned long long)pl->fill.received,
			 err_text(err));
	pull_hang_up(pl);
	fill_fail(&pl->fill, &why);
	pl->state = PULL_END;
}

void pull_prefer(struct pull *pl, unsigned up)
{
	pl->opts.first = up;
}

bool pull_authorize(struct pull *pl, const char *authorization)
{
	pl->authorization = strdup(authorization);
	return pl->authorization != NULL;
}

void pull_start(struct pull *pl, struct mirror *m, struct slice repo, uint32_t kind,
		const struct digest *d, struct blob *blob)
{
	struct proxy *p = pl->proxy;

	pl->mirror = m;
	pl->repo = slice_of(arena_dup(&pl->arena, repo));
	pl->kind = kind;
	digest_format(d, pl->digest);
	pl->opts = (struct fetch_opts){
		.mirror = m,
		.first = pl->opts.first,
		.owner = &pl->task,
		.authorization = pl->authorization,
	};
	fill_begin(&pl->fill, p->cache, blob, p->loop, &p->stats, &p->mill, &pl->task);
	pl->fill.again = true;
	pl->state = PULL_DISK;
	if (!fetch_by_digest(&pl->opts, &pl->arena, repo, cache_kind_is_blob(kind), d))
		pull_fail(pl, -ENOMEM);
	loop_timer_set(p->loop, &pl->unwanted, proxy_now(p) + PULL_UNWANTED_MS);
	loop_wake(p->loop, &pl->task);
	board_stir(p);
}

void pull_store(struct pull *pl, struct blob *blob, char *body, size_t len, uint8_t type)
{
	struct proxy *p = pl->proxy;

	pl->kind = CACHE_MANIFEST;
	buf_init(&pl->body, body, len);
	pl->body.tail = len;
	pl->type = type;
	fill_begin(&pl->fill, p->cache, blob, p->loop, &p->stats, &p->mill, &pl->task);
	pl->state = PULL_DISK;
	loop_wake(p->loop, &pl->task);
}

static void pull_flows(struct pull *pl)
{
	struct proxy *p = pl->proxy;

	pl->flow_ms = proxy_now(p);
	pl->flow_from = pl->fill.received;
	pl->look_due = false;
	pl->state = PULL_FLOW;
	if (pl->mirror->conf->parallel > 1 && !pl->alone)
		loop_timer_set(p->loop, &pl->look, pl->flow_ms + PULL_LOOK_MS);
}

static bool pull_disk(struct pull *pl)
{
	switch (pl->fill.state) {
	case FILL_FOUND:
	case FILL_LOST: pl->state = PULL_END; return true;
	case FILL_ABSENT:
		if (!pl->mirror) {
			pl->state = PULL_STORE;
			return true;
		}
		pl->opts.from = fill_partial(&pl->fill);
		fetch_start(&pl->fetch, pl->proxy, &pl->opts);
		pl->state = PULL_HEAD;
		return true;
	default: return false;
	}
}

/* True: it is dealt with, the answer is not looked at any more. */
static bool pull_head_partial(struct pull *pl)
{
	int status = pl->fetch.msg.status;

	if (pl->opts.from == 0 || (status != 206 && status != 416))
		return false;
	if (fetch_is_rest(&pl->fetch, pl->opts.from, pl->fill.part_size)) {
		log_info("fill mirror=%s digest=%s goes on from=%llu", pl->mirror->conf->name,
			 pl->digest, (unsigned long long)pl->opts.from);
		fill_resume(&pl->fill);
		pull_flows(pl);
		return true;
	}
	log_limited(LOG_WARN, "fill mirror=%s digest=%s begins anew: status=%d for a range",
		    pl->mirror->conf->name, pl->digest, status);
	pl->opts.from = 0;
	fetch_close(&pl->fetch);
	fetch_start(&pl->fetch, pl->proxy, &pl->opts);
	return true;
}

static bool pull_head(struct pull *pl)
{
	const struct msg *m = &pl->fetch.msg;

	if (pl->fetch.state == FETCH_FAILED) {
		pull_fail(pl, pl->fetch.err);
		return true;
	}
	if (!fetch_has_head(&pl->fetch))
		return false;
	if (pull_head_partial(pl))
		return true;
	if (m->status != 200) {
		pl->state = PULL_REFUSED;
		return true;
	}
	if (!cache_kind_is_blob(pl->kind)) {
		pl->state = PULL_MEMORY;
		return true;
	}
	if (m->body == BODY_NONE) {
		pull_fail(pl, ERR_HTTP);
		return true;
	}
	fill_open(&pl->fill, m->body == BODY_LENGTH ? m->body_bytes : BLOB_SIZE_UNKNOWN, 0);
	pull_flows(pl);
	return true;
}

/* Upstream's own words go to the client with its status. */
static bool pull_refused(struct pull *pl)
{
	struct blob_failure why;

	if (!fetch_refusal(&pl->fetch, &pl->body, &why))
		return false;
	log_info("fill mirror=%s digest=%s refused status=%d", pl->mirror->conf->name, pl->digest,
		 why.status);
	fetch_close(&pl->fetch);
	fill_fail(&pl->fill, &why);
	pl->state = PULL_END;
	return true;
}

static bool pull_memory(struct pull *pl)
{
	int n = fetch_pull_all(&pl->fetch, &pl->body, MANIFEST_MAX);
	int type;

	if (n == 0)
		return false;
	if (n != ERR_EOF) {
		pull_fail(pl, n);
		return true;
	}
	type = oci_manifest_type(msg_field(&pl->fetch.msg, "Content-Type"), buf_data(&pl->body));
	if (type <= 0) {
		pull_fail(pl, ERR_HTTP);
		return true;
	}
	pl->type = (uint8_t)type;
	pl->state = PULL_STORE;
	return true;
}

static bool pull_store_step(struct pull *pl)
{
	struct buf *room;
	size_t n;

	if (pl->fill.state == FILL_ABSENT)
		fill_open(&pl->fill, buf_len(&pl->body), pl->type);
	if (pl->fill.state == FILL_OPENING)
		return false;
	while (buf_len(&pl->body) > 0) {
		room = fill_room(&pl->fill);
		if (pl->fill.state == FILL_LOST)
			break;
		if (!room)
			return false;
		n = buf_len(&pl->body) < buf_room(room) ? buf_len(&pl->body) : buf_room(room);
		if (!buf_append(room, slice_first(buf_data(&pl->body), n)))
			unreachable("room was asked for");
		buf_take(&pl->body, n);
		fill_added(&pl->fill, n);
	}
	pl->state = PULL_END;
	if (pl->fill.state != FILL_LOST)
		fill_finish(&pl->fill);
	return true;
}

/*
 * The body broke off, or its end did not come.  The rest is asked for from the start of the chain
 * again, token and redirect included, since links expire.
 */
static bool pull_broke(struct pull *pl, int err)
{
	struct fill *f = &pl->fill;
	uint64_t pause_ms;

	if (pl->proxy->killed ||
	    !retry_again(&pl->retry, pl->mirror->conf->retries, f->received, &pause_ms)) {
		pull_fail(pl, err);
		return true;
	}
	log_info("fill mirror=%s digest=%s broke at=%llu retry=%u: %s", pl->mirror->conf->name,
		 pl->digest, (unsigned long long)f->received, pl->retry.count, err_text(err));
	pl->opts.first = fetch_again(&pl->fetch, pl->retry.count > 1);
	fetch_close(&pl->fetch);
	loop_timer_set(pl->proxy->loop, &pl->pause, proxy_now(pl->proxy) + pause_ms);
	pl->state = PULL_PAUSE;
	return false;
}

static void pull_pause_over(struct timer *t)
{
	struct pull *pl = container_of(t, struct pull, pause);

	assert(pl->state == PULL_PAUSE);
	pl->opts.from = pl->fill.received;
	fetch_start(&pl->fetch, pl->proxy, &pl->opts);
	pl->state = PULL_RESUME;
}

static bool pull_resume(struct pull *pl)
{
	if (pl->fetch.state == FETCH_FAILED)
		return pull_broke(pl, pl->fetch.err);
	if (!fetch_has_head(&pl->fetch))
		return false;
	if (fetch_is_rest(&pl->fetch, pl->fill.received, pl->fill.size)) {
		pull_flows(pl);
		return true;
	}
	/* Upstream does not do ranges, or what is there is nothing yet. */
	if (fetch_is_whole(&pl->fetch, pl->fill.size)) {
		pl->skip = pl->fill.received;
		pl->state = PULL_SKIP;
		return true;
	}
	log_limited(LOG_WARN, "fill mirror=%s digest=%s not resumed: status=%d",
		    pl->mirror->conf->name, pl->digest, pl->fetch.msg.status);
	return pull_broke(pl, ERR_SHORT);
}

/* Nothing is compared here: the digest is taken over what came first, and decides in the end. */
static bool pull_skip(struct pull *pl)
{
	int n = fetch_skip(&pl->fetch, &pl->skip, pl->proxy->net.plain, NET_PLAIN_BYTES);

	if (n == 0)
		return false;
	if (n < 0)
		return pull_broke(pl, n);
	pull_flows(pl);
	return true;
}

/*
 * Nobody reads it, nobody came for a while, and too much is missing to finish it all the same, or
 * nobody knows how much that is.
 */
static bool pull_is_unwanted(struct pull *pl)
{
	const struct fill *f = &pl->fill;
	uint64_t percent = pl->proxy->config->cache.finish_after;
	uint64_t now = proxy_now(pl->proxy);
	bool known = f->size != BLOB_SIZE_UNKNOWN;

	if (blob_readers(f->blob) > 0 || percent == 0 || (known && f->size <= PULL_SMALL)) {
		pl->unwanted_ms = 0;
		return false;
	}
	if (pl->unwanted_ms == 0)
		pl->unwanted_ms = now;
	return now - pl->unwanted_ms >= PULL_UNWANTED_MS &&
	       (!known || f->received / 100 < f->size / 100 * percent / 100);
}

/* The step that waits for bytes looks by itself. */
static void pull_look_unwanted(struct timer *t)
{
	struct pull *pl = container_of(t, struct pull, unwanted);

	if (pl->state == PULL_END)
		return;
	loop_timer_set(pl->proxy->loop, t, proxy_now(pl->proxy) + PULL_UNWANTED_MS);
	loop_wake(pl->proxy->loop, &pl->task);
}

/* False: somebody came at the last moment. */
static bool pull_unwanted(struct pull *pl)
{
	if (!fill_drop(&pl->fill))
		return false;
	log_info("fill mirror=%s digest=%s dropped at=%llu of=%llu: nobody wants it any more",
		 pl->mirror->conf->name, pl->digest, (unsigned long long)pl->fill.received,
		 (unsigned long long)(pl->fill.size == BLOB_SIZE_UNKNOWN ? 0 : pl->fill.size));
	pull_hang_up(pl);
	pl->state = PULL_END;
	return true;
}

/* ---- lanes ---- */

static void pull_look_now(struct timer *t)
{
	struct pull *pl = container_of(t, struct pull, look);

	pl->look_due = true;
	loop_wake(pl->proxy->loop, &pl->task);
}

static bool pull_knows_ranges(const struct pull *pl)
{
	const struct msg *m = &pl->fetch.msg;

	return m->status == 206 || slice_eq(msg_field(m, "Accept-Ranges"), SLICE("bytes"));
}

/* Is it slow, and would more streams help? */
static bool pull_is_slow(struct pull *pl)
{
	const struct conf_mirror *c = pl->mirror->conf;
	const struct fill *f = &pl->fill;
	struct proxy *p = pl->proxy;
	uint64_t per_ms = (f->received - pl->flow_from) / (proxy_now(p) - pl->flow_ms + 1);
	uint64_t left = f->size - f->received;

	pl->look_due = false;
	if (f->size == BLOB_SIZE_UNKNOWN || f->size < c->parallel_from || !pull_knows_ranges(pl))
		return false;
	loop_timer_set(p->loop, &pl->look, proxy_now(p) + PULL_LOOK_MS);
	return f->state == FILL_FLOWING && left > 2 * FILL_CHUNK && left > per_ms * PULL_WORTH_MS &&
	       !p->killed;
}

/* Enough for each lane to have two, whole chunks, and of what comes in PULL_STRETCH_MS. */
static uint64_t pull_stretch(const struct pull *pl)
{
	const struct fill *f = &pl->fill;
	uint64_t step = (f->received - pl->flow_from) * PULL_STRETCH_MS /
			(proxy_now(pl->proxy) - pl->flow_ms + 1);
	uint64_t share = (f->size - f->received) / (2 * pl->mirror->conf->parallel);

	if (step > share)
		step = share;
	if (step > PULL_STRETCH_MAX)
		step = PULL_STRETCH_MAX;
	return step < FILL_CHUNK ? FILL_CHUNK : step / FILL_CHUNK * FILL_CHUNK;
}

static bool pull_settle(struct pull *pl)
{
	unsigned count = (unsigned)pl->mirror->conf->parallel;

	if (pl->fill.state == FILL_LOST) {
		pl->state = PULL_END;
		return true;
	}
	if (!fill_settle(&pl->fill))
		return false;
	pl->lanes = lanes_new(pl->proxy, &pl->fill, &pl->fetch, &pl->opts, count);
	if (!pl->lanes) {
		pl->state = PULL_FLOW;
		return true;
	}
	loop_timer_clear(pl->proxy->loop, &pl->look);
	log_info("fill mirror=%s digest=%s slow at=%llu of=%llu: lanes=%u", pl->mirror->conf->name,
		 pl->digest, (unsigned long long)pl->fill.received,
		 (unsigned long long)pl->fill.size, count);
	stat_inc(&pl->proxy->stats, STAT_FILLS_PARALLEL);
	fill_widen(&pl->fill, pull_stretch(pl));
	pl->state = PULL_WIDE;
	return true;
}

static bool pull_wide(struct pull *pl)
{
	if (pull_is_unwanted(pl) && pull_unwanted(pl))
		return true;
	switch (lanes_run(pl->lanes)) {
	case LANES_GO: return false;
	case LANES_WHOLE:
		lanes_close(pl->lanes);
		pl->state = PULL_END;
		fill_finish(&pl->fill);
		return true;
	case LANES_NONE:
		lanes_close(pl->lanes);
		pl->alone = true;
		pl->state = PULL_NARROW;
		return true;
	}
	unreachable("lanes_run");
}

static bool pull_narrow(struct pull *pl)
{
	if (!fill_narrow(&pl->fill))
		return false;
	if (pl->fill.state == FILL_LOST) {
		pl->state = PULL_END;
		return true;
	}
	lanes_free(pl->lanes);
	pl->lanes = NULL;
	return pull_broke(pl, ERR_SHORT);
}

static bool pull_flow(struct pull *pl)
{
	size_t taken = 0;
	struct buf *room;
	int n;

	if (pull_is_unwanted(pl) && pull_unwanted(pl))
		return true;
	if (pl->look_due && pull_is_slow(pl)) {
		pl->state = PULL_SETTLE;
		return true;
	}
	while (taken < PULL_TURN_BYTES) {
		room = fill_room(&pl->fill);
		if (pl->fill.state == FILL_LOST) {
			pl->state = PULL_END;
			return true;
		}
		if (!room)
			return false;
		n = fetch_pull(&pl->fetch, room);
		if (n == 0) {
			if (blob_readers(pl->fill.blob) > 0)
				fill_flush(&pl->fill);
			return false;
		}
		if (n == ERR_EOF) {
			pl->state = PULL_END;
			fill_finish(&pl->fill);
			return true;
		}
		if (n < 0)
			return pull_broke(pl, n);
		taken += (size_t)n;
		fill_added(&pl->fill, (size_t)n);
	}
	loop_wake(pl->proxy->loop, &pl->task);
	return false;
}

/* What came was wrong: once more, from elsewhere if there is such a place. */
static bool pull_again(struct pull *pl, bool other_member)
{
	struct proxy *p = pl->proxy;
	struct blob *next = pl->fill.next;

	pl->opts.first = fetch_again(&pl->fetch, !other_member);
	pl->opts.from = 0;
	pl->alone = true;
	fetch_close(&pl->fetch);
	free(pl->body.mem);
	pl->body = (struct buf){ 0 };
	pl->retry = (struct retry){ 0 };
	pl->unwanted_ms = 0;
	pl->fill.state = FILL_IDLE;
	fill_begin(&pl->fill, p->cache, next, p->loop, &p->stats, &p->mill, &pl->task);
	blob_unref(next);
	pl->state = PULL_DISK;
	if (p->killed)
		pull_fail(pl, ERR_KILLED);
	return true;
}

static void pull_count(const struct pull *pl)
{
	struct meter *m = pl->mirror ? pl->mirror->meter : NULL;

	if (pl->fill.state == FILL_DONE)
		stat_time(&pl->proxy->stats, HIST_FILL, proxy_now(pl->proxy) - pl->begun_ms);
	if (!m)
		return;
	if (pl->fill.state == FILL_DONE)
		counter_add(&m->fills, 1);
	else if (pl->fill.state == FILL_LOST)
		counter_add(&m->fills_failed, 1);
}

/* True: it goes on; else <pl> is gone, or waits. */
static bool pull_end(struct pull *pl)
{
	struct fill *f = &pl->fill;
	bool wide = pl->lanes != NULL;
	bool other_member = false;

	if (!fill_is_over(f))
		return false;
	if (f->state == FILL_DONE)
		log_debug("fill mirror=%s digest=%s bytes=%llu ms=%llu",
			  pl->mirror ? pl->mirror->conf->name : "-", pl->digest,
			  (unsigned long long)f->received,
			  (unsigned long long)(proxy_now(pl->proxy) - pl->begun_ms));
	if (!fill_close(f))
		return false;
	pull_count(pl);
	if (wide)
		lanes_free(pl->lanes);
	pl->lanes = NULL;
	/* What the fill found by itself: pull_fail() told the rest. */
	if (f->state == FILL_LOST && pl->mirror && (wide || pl->fetch.state != FETCH_IDLE) &&
	    (f->err == ERR_DIGEST || f->err == ERR_LONG || f->err == ERR_SHORT)) {
		/* Of several streams nobody knows whose fault it was; one alone will tell. */
		other_member = !wide && fetch_blame(&pl->fetch);
		log_warn("fill mirror=%s digest=%s wrong received=%llu: %s%s",
			 pl->mirror->conf->name, pl->digest, (unsigned long long)f->received,
			 err_text(f->err), f->next ? ", once more" : "");
	}
	if (f->next)
		return pull_again(pl, other_member);
	f->state = FILL_IDLE;
	pull_drop(pl);
	return false;
}

static void pull_run(struct task *task)
{
	struct pull *pl = container_of(task, struct pull, task);
	bool more = true;

	while (more) {
		switch (pl->state) {
		case PULL_DISK: more = pull_disk(pl); break;
		case PULL_HEAD: more = pull_head(pl); break;
		case PULL_REFUSED: more = pull_refused(pl); break;
		case PULL_MEMORY: more = pull_memory(pl); break;
		case PULL_FLOW: more = pull_flow(pl); break;
		case PULL_PAUSE: return;
		case PULL_RESUME: more = pull_resume(pl); break;
		case PULL_SKIP: more = pull_skip(pl); break;
		case PULL_SETTLE: more = pull_settle(pl); break;
		case PULL_WIDE: more = pull_wide(pl); break;
		case PULL_NARROW: more = pull_narrow(pl); break;
		case PULL_STORE: more = pull_store_step(pl); break;
		case PULL_END:
			if (!pull_end(pl))
				return;
			break;
		}
	}
}

bool pulls_use(const struct proxy *p, const struct generation *g)
{
	list_for_each(it, &p->pulls)
		if (generation_has(g, container_of(it, struct pull, node)->mirror))
			return true;
	return false;
}

unsigned pulls_look(const struct proxy *p, struct board_fill *out, unsigned max)
{
	unsigned n = 0;

	list_for_each(it, &p->pulls) {
		const struct pull *pl = container_of(it, struct pull, node);
		struct board_fill *o = &out[n];

		if (n == max)
			break;
		if (!pl->mirror || fill_is_over(&pl->fill))
			continue;
		snprintf(o->mirror, sizeof(o->mirror), "%s", pl->mirror->conf->name);
		snprintf(o->repo, sizeof(o->repo), "%.*s", SLICE_FMT(pl->repo));
		memcpy(o->digest, pl->digest, sizeof(o->digest));
		o->manifest = !cache_kind_is_blob(pl->kind);
		o->bytes = pl->fill.received;
		o->size = pl->fill.size;
		o->ms = proxy_now(p) - pl->begun_ms;
		n++;
	}
	return n;
}

void pulls_kill(struct proxy *p)
{
	list_for_each_safe(it, &p->pulls) {
		struct pull *pl = container_of(it, struct pull, node);

		if (pl->state == PULL_END)
			continue;
		loop_timer_clear(p->loop, &pl->pause);
		pull_fail(pl, ERR_KILLED);
		loop_wake(p->loop, &pl->task);
	}
}
