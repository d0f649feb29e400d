/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/lane.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "proxy/retry.h"

/* The longest Retry-After that is waited for, each time. */
enum { LANE_WAIT_MS = 60 * 1000 };

enum lane_state {
	LANE_FREE, /* it has no stretch */
	LANE_HEAD, /* waiting for upstream's head */
	LANE_FLOW,
	LANE_PAUSE, /* it broke: a moment before it is asked again */
	LANE_GONE,
};

struct lane {
	struct lanes *of;
	enum lane_state state;
	struct fetch *fetch; /* the owner's for the first, else <own> */
	struct fetch own;
	struct fill_part part;
	struct timer pause;
	struct retry retry;
	bool open_ended; /* its stream does not end with the stretch */
	uint64_t skip;   /* bytes of that to pass by */
};

struct lanes {
	struct proxy *proxy;
	struct fill *fill;
	struct fetch_opts opts;
	bool proved; /* upstream knows ranges */
	unsigned count;
	struct lane v[];
};

static void lane_pause_over(struct timer *t)
{
	struct lane *ln = container_of(t, struct lane, pause);

	loop_wake(ln->of->proxy->loop, ln->of->opts.owner);
}

static bool lane_is_first(const struct lane *ln)
{
	return ln == ln->of->v;
}

struct lanes *lanes_new(struct proxy *p, struct fill *fill, struct fetch *first,
			const struct fetch_opts *o, unsigned count)
{
	unsigned spare = LANES_MAX - p->lanes_count;
	struct lanes *ls;

	if (count > spare + 1)
		count = spare + 1;
	if (count < 2)
		return NULL;
	ls = calloc(1, sizeof(*ls) + count * sizeof(ls->v[0]));
	if (!ls)
		return NULL;
	ls->proxy = p;
	ls->fill = fill;
	ls->opts = *o;
	ls->opts.first = fetch_again(first, false);
	ls->count = count;
	p->lanes_count += count - 1;
	for (unsigned i = 0; i < count; i++) {
		struct lane *ln = &ls->v[i];

		ln->of = ls;
		ln->fetch = i == 0 ? first : &ln->own;
		fill_part_init(&ln->part, fill);
		timer_init(&ln->pause, lane_pause_over);
	}
	ls->v[0].open_ended = true;
	return ls;
}

static void lane_end(struct lane *ln)
{
	fetch_close(ln->fetch);
	loop_timer_clear(ln->of->proxy->loop, &ln->pause);
	fill_part_leave(&ln->part);
	ln->state = LANE_GONE;
}

/* Its stretch goes to another one. */
static void lane_quit(struct lane *ln, const char *why, int status)
{
	struct lanes *ls = ln->of;

	log_info("fill mirror=%s target=%s lane=%u ends: %s status=%d", ls->opts.mirror->conf->name,
		 LOG_Q(slice_of(ls->opts.target)), (unsigned)(ln - ls->v), why, status);
	lane_end(ln);
	for (unsigned i = 1; i < ls->count && !ls->proved && !lane_is_first(ln); i++)
		ls->v[i].state = LANE_GONE;
}

/* <wait_ms>: upstream wants so long a pause. */
static void lane_broke_for(struct lane *ln, int err, uint64_t wait_ms)
{
	struct proxy *p = ln->of->proxy;
	uint64_t pause_ms;

	if (!retry_again(&ln->retry, ln->of->opts.mirror->conf->retries, fill_part_from(&ln->part),
			 &pause_ms)) {
		lane_quit(ln, err_text(err), 0);
		return;
	}
	log_info("fill mirror=%s target=%s lane=%u broke at=%llu retry=%u: %s",
		 ln->of->opts.mirror->conf->name, LOG_Q(slice_of(ln->of->opts.target)),
		 (unsigned)(ln - ln->of->v), (unsigned long long)fill_part_from(&ln->part),
		 ln->retry.count, err_text(err));
	ln->of->opts.first = fetch_again(ln->fetch, ln->retry.count > 1);
	fetch_close(ln->fetch);
	fill_part_flush(&ln->part);
	ln->open_ended = false;
	ln->skip = 0;
	loop_timer_set(p->loop, &ln->pause,
		       proxy_now(p) + (wait_ms > pause_ms ? wait_ms : pause_ms));
	ln->state = LANE_PAUSE;
}

static void lane_broke(struct lane *ln, int err)
{
	lane_broke_for(ln, err, 0);
}

/* Upstream wants no more requests.  The last lane waits; the others are not needed. */
static void lane_refused(struct lane *ln)
{
	const struct blob_failure *why = ln->fetch->refusal;
	struct lanes *ls = ln->of;
	uint64_t wait_ms = why ? why->retry_after_s * 1000ull : 0;
	unsigned others = 0;

	for (unsigned i = 0; i < ls->count; i++)
		others += &ls->v[i] != ln && ls->v[i].state != LANE_GONE;
	if (others > 0)
		lane_quit(ln, "upstream wants no more", ln->fetch->msg.status);
	else
		lane_broke_for(ln, ERR_SHORT, wait_ms < LANE_WAIT_MS ? wait_ms : LANE_WAIT_MS);
}

static void lane_ask(struct lane *ln)
{
	struct fetch_opts o = ln->of->opts;

	o.from = fill_part_from(&ln->part);
	o.to = fill_part_end(&ln->part) - 1;
	o.spare = !lane_is_first(ln);
	fetch_close(ln->fetch);
	fetch_start(ln->fetch, ln->of->proxy, &o);
	ln->open_ended = false;
	ln->state = LANE_HEAD;
}

/* ---- steps: true, there is more to do ---- */

static bool lane_free(struct lane *ln)
{
	if (!ln->of->proved && ln - ln->of->v > 1)
		return false;
	if (!fill_part_begin(&ln->part))
		return false;
	ln->retry = (struct retry){ .at = fill_part_from(&ln->part) };
	if (ln->open_ended)
		ln->state = LANE_FLOW;
	else
		lane_ask(ln);
	return true;
}

static bool lane_head(struct lane *ln)
{
	struct fetch *f = ln->fetch;
	int status = f->msg.status;

	if (f->state == FETCH_FAILED) {
		if (f->err == ERR_LIMIT && !lane_is_first(ln))
			lane_quit(ln, "no connection to spare", 0);
		else
			lane_broke(ln, f->err);
		return false;
	}
	if (!fetch_has_head(f))
		return false;
	if (fetch_is_range(f, f->o.from, f->o.to, ln->of->fill->size)) {
		ln->of->proved = true;
		ln->state = LANE_FLOW;
		return true;
	}
	if (status < 300 || status == 416)
		lane_quit(ln, "not the range that was asked for", status);
	else if (status == 429 || status == 503)
		lane_refused(ln);
	else
		lane_broke(ln, ERR_SHORT);
	return false;
}

/* False: it has not passed by, or broke. */
static bool lane_skip(struct lane *ln)
{
	int n = fetch_skip(ln->fetch, &ln->skip, ln->of->proxy->net.plain, NET_PLAIN_BYTES);

	if (n < 0)
		lane_broke(ln, n);
	return n > 0;
}

/* Its stretch is written. */
static void lane_done(struct lane *ln)
{
	struct lanes *ls = ln->of;
	uint64_t end = fill_part_end(&ln->part);
	struct buf scratch;
	char byte;

	if (ln->open_ended && end < ls->fill->size) {
		if (fill_part_follow(&ln->part)) {
			ln->skip = fill_part_from(&ln->part) - end;
			return;
		}
		fetch_close(ln->fetch);
	} else {
		/* Its end: the connection can be kept. */
		buf_init(&scratch, &byte, 1);
		if (fetch_pull(ln->fetch, &scratch) != ERR_EOF)
			fetch_close(ln->fetch);
	}
	ln->open_ended = false;
	fill_part_leave(&ln->part);
	ln->state = LANE_FREE;
}

static bool lane_flow(struct lane *ln)
{
	struct lanes *ls = ln->of;
	struct buf *room;
	int n = 0;

	if (!lane_skip(ln))
		return false;
	while ((room = fill_part_room(&ln->part))) {
		n = fetch_pull(ln->fetch, room);
		if (n <= 0)
			break;
		fill_part_added(&ln->part, (size_t)n, false);
	}
	if (n < 0) {
		lane_broke(ln, n == ERR_EOF ? ERR_SHORT : n);
		return false;
	}
	if (n == 0 && blob_readers(ls->fill->blob) > 0)
		fill_part_added(&ln->part, 0, true);
	if (!fill_part_is_written(&ln->part))
		return false;
	lane_done(ln);
	return true;
}

static bool lane_pause(struct lane *ln)
{
	/* What came before it broke is being written: a request names the bytes after it. */
	if (timer_armed(&ln->pause) || op_busy(&ln->part.op))
		return false;
	if (fill_part_is_written(&ln->part)) {
		fill_part_leave(&ln->part);
		ln->state = LANE_FREE;
		return true;
	}
	lane_ask(ln);
	return false;
}

static bool lane_run(struct lane *ln)
{
	switch (ln->state) {
	case LANE_FREE: return lane_free(ln);
	case LANE_HEAD: return lane_head(ln);
	case LANE_FLOW: return lane_flow(ln);
	case LANE_PAUSE: return lane_pause(ln);
	case LANE_GONE: return false;
	}
	unreachable("lane state");
}

enum lanes_end lanes_run(struct lanes *ls)
{
	unsigned gone = 0;
	bool more = true;

	while (more && ls->fill->state == FILL_FLOWING && !fill_wide_is_whole(ls->fill)) {
		more = false;
		gone = 0;
		for (unsigned i = 0; i < ls->count && ls->fill->state == FILL_FLOWING; i++) {
			more |= lane_run(&ls->v[i]);
			gone += ls->v[i].state == LANE_GONE;
		}
	}
	if (ls->fill->state == FILL_LOST || fill_wide_is_whole(ls->fill))
		return LANES_WHOLE;
	return gone == ls->count ? LANES_NONE : LANES_GO;
}

void lanes_close(struct lanes *ls)
{
	for (unsigned i = 0; i < ls->count; i++)
		if (ls->v[i].state != LANE_GONE)
			lane_end(&ls->v[i]);
}

void lanes_free(struct lanes *ls)
{
	for (unsigned i = 0; i < ls->count; i++) {
		assert(ls->v[i].state == LANE_GONE);
		assert(!ls->v[i].part.st);
	}
	ls->proxy->lanes_count -= ls->count - 1;
	free(ls);
}
