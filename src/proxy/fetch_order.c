/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which upstream of a mirror is asked, and what is told when none has it.
 *
 * They are asked in the operator's order, but for the one that the owner asks to begin with (the
 * one that named a tag's digest, or that a broken body came from).  The next is asked when one
 * cannot be reached, breaks before its head, or answers 4xx or 5xx; not after 405 and 501, which
 * speak of the method and not of the image, and not for want of our own memory.
 *
 * Where we have several accounts, each is asked as the one that quota.h picks; after 401, 403 and
 * 429 as another one, before another upstream is.  An upstream whose accounts all rest is not
 * asked: that counts as its 429.
 *
 * When all have been asked, what the last one said is told, with one exception: one that could not
 * say (429, 5xx, no answer) outweighs one that said no (404, 401, 403).  A no ends a client's pull
 * for good and forgets the tag here; that would be wrong as long as the one that was silent may
 * have the image.  The other mistake costs no more than a client's next try.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "proxy/fetch_private.h"
#include "proxy/oci.h"

/* From the start, with f->up and f->account. */
static void fetch_begin(struct fetch *f)
{
	const struct conf_upstream *up = f->up->conf;

	if (f->request)
		explicit_bzero(f->request, f->request_len);
	arena_fini(&f->arena);
	arena_init(&f->arena, FETCH_ARENA);
	f->words = (struct buf){ 0 };
	f->request = NULL;
	f->msg = (struct msg){ 0 };
	f->origin = (struct uri){ .https = up->https,
				  .host = slice_of(up->host),
				  .port = up->port,
				  .target = slice_of(f->o.target) };
	/* A token server's redirect to another origin does not get the credentials either. */
	if (f->o.place)
		f->origin = *f->o.place;
	f->at = f->origin;
	f->auth_allowed = true;
	f->redirects = f->refusals = 0;
	f->probing = f->timed_out = f->sure = false;
	f->fresh = f->o.form.ptr != NULL; /* on a kept connection it might be sent twice */
	f->state = FETCH_AUTH;
	loop_wake(f->proxy->loop, &f->task);
}

void fetch_ask(struct fetch *f, struct upstream *up)
{
	f->up = up;
	f->asked |= 1u << upstream_index(up);
	f->account = -1;
	f->tried = 0;
	fetch_begin(f);
}

/* ---- accounts ---- */

/* "/v2/NAME/KIND/REF", where a name may have such words, too. */
static bool fetch_asks_for(const struct fetch *f, struct slice kind)
{
	struct slice path = slice_of(f->o.target);

	path = slice_first(path, slice_find(path, '?'));
	while (path.len > 0 && path.ptr[path.len - 1] != '/')
		path.len--;
	return slice_ends(path, kind);
}

static enum quota_kind fetch_kind(const struct fetch *f)
{
	return fetch_asks_for(f, SLICE("/blobs/")) ? QUOTA_BLOB : QUOTA_MANIFEST;
}

/* A GET of a manifest is what Docker Hub counts. */
static int fetch_pick_account(struct fetch *f, unsigned *wait_s)
{
	bool costs = !f->o.head && fetch_asks_for(f, SLICE("/manifests/"));

	return quotas_pick(f->up->quotas, fetch_kind(f), costs, f->tried, proxy_now(f->proxy),
			   wait_s);
}

bool fetch_pick(struct fetch *f)
{
	struct blob_failure why = { .status = 429 };

	f->account = fetch_pick_account(f, &why.retry_after_s);
	if (f->account >= 0)
		return true;
	stat_inc(&f->proxy->stats, STAT_SPARED);
	snprintf(why.message, sizeof(why.message),
		 "%s allows no more requests for now: try again in %u s", f->up->conf->host,
		 why.retry_after_s);
	fetch_refused(f, &why);
	return false;
}

/* Who we are, for the log: a file's name, never what is in it; or the address we come from. */
static const char *fetch_who(const struct fetch *f)
{
	struct setup_account a = upstream_who(f->up, (unsigned)f->account);

	return a.login ? a.login->file : a.source ? a.source_text : "anonymous";
}

/* Does f->msg speak of our account, and not of a redirect's target or a token's place? */
static bool fetch_is_ours(const struct fetch *f)
{
	return f->account >= 0 && !f->o.place && f->auth_allowed && !f->probing;
}

void fetch_count(struct fetch *f)
{
	if (fetch_is_ours(f))
		quotas_answered(f->up->quotas, (unsigned)f->account, f->msg.status < 400,
				msg_field(&f->msg, "ratelimit-limit"),
				msg_field(&f->msg, "ratelimit-remaining"), proxy_now(f->proxy));
}

void fetch_limited(struct fetch *f, enum quota_kind kind, struct blob_failure *why)
{
	const struct conf_mirror *c = f->o.mirror->conf;
	unsigned rest_s = quotas_limited(f->up->quotas, (unsigned)f->account, kind,
					 why->retry_after_s, c->retry_after_max_ms,
					 proxy_now(f->proxy));

	stat_inc(&f->proxy->stats, STAT_LIMITED);
	log_limited(LOG_WARN, "upstream mirror=%s upstream=%s account=%s status=429 rests=%us",
		    c->name, f->up->conf->text, fetch_who(f), rest_s);
	if (rest_s > 0)
		why->retry_after_s = rest_s;
}

void fetch_aside(struct fetch *f)
{
	if (quotas_aside(f->up->quotas, (unsigned)f->account, proxy_now(f->proxy)))
		log_warn(
			"upstream mirror=%s upstream=%s credentials=%s were refused: used last for "
			"%d min",
			f->o.mirror->conf->name, f->up->conf->text, fetch_who(f),
			QUOTA_ASIDE_MS / 60000);
}

/* What one account may not, another one may. */
static bool fetch_other_account(struct fetch *f, const struct blob_failure *why)
{
	unsigned wait_s;
	int other;

	if (f->account < 0 || (why->status != 401 && why->status != 403 && why->status != 429))
		return false;
	/* Nobody may the same from all of his addresses, as often as each may. */
	if (why->status != 429 && !upstream_account(f->up, (unsigned)f->account))
		return false;
	f->tried |= 1u << f->account;
	other = fetch_pick_account(f, &wait_s);
	if (other < 0)
		return false;
	f->account = other;
	fetch_begin(f);
	return true;
}

/* ---- upstreams ---- */

/* A token server has no other. */
static struct upstream *fetch_next_up(const struct fetch *f)
{
	struct mirror *m = f->o.mirror;

	for (unsigned i = 0; i < m->ups_count && !f->o.place && !f->o.only; i++)
		if (!(f->asked & (1u << i)))
			return &m->ups[i];
	return NULL;
}

bool fetch_is_refusal(int status)
{
	return status >= 400 && status != 405 && status != 501;
}

static bool outweighs(const struct blob_failure *a, const struct blob_failure *b)
{
	return failure_may_pass(a) && !failure_may_pass(b);
}

/* The owner is told the best that we have. */
static void fetch_tell(struct fetch *f)
{
	if (f->refusal->status) {
		f->msg = (struct msg){ .status = f->refusal->status };
		f->told = true;
		f->state = FETCH_DONE;
	} else {
		f->err = f->refusal->err;
		f->state = FETCH_FAILED;
	}
	loop_wake(f->proxy->loop, f->o.owner);
}

void fetch_refused(struct fetch *f, const struct blob_failure *why)
{
	bool ours = fetch_err_is_ours(why->err);
	struct upstream *next = ours ? NULL : fetch_next_up(f);

	loop_timer_clear(f->proxy->loop, &f->timer);
	fetch_drop_token(f, false);
	if (!f->refusal)
		f->refusal = calloc(1, sizeof(*f->refusal));
	if (!f->refusal) {
		f->err = -ENOMEM;
		f->state = FETCH_FAILED;
		loop_wake(f->proxy->loop, f->o.owner);
		return;
	}
	if (!outweighs(f->refusal, why) || ours)
		*f->refusal = *why;
	if (!ours && fetch_other_account(f, why))
		return;
	if (!next) {
		fetch_tell(f);
		return;
	}
	stat_inc(&f->proxy->stats, STAT_FALLBACKS);
	log_info("fetch mirror=%s upstream=%s target=%s status=%d %s next=%s",
		 f->o.mirror->conf->name, f->up->conf->text, LOG_Q(slice_of(f->o.target)),
		 why->status, why->err ? err_text(why->err) : "", next->conf->text);
	fetch_ask(f, next);
}

/* ---- what a refusal says ---- */

void fetch_keep_words(struct fetch *f, struct slice piece)
{
	if (!f->words.mem) {
		char *mem = arena_alloc(&f->arena, ERROR_BODY_MAX);

		if (!mem)
			return;
		buf_init(&f->words, mem, ERROR_BODY_MAX);
	}
	if (!buf_append(&f->words, slice_first(piece, buf_room(&f->words))))
		unreachable("no more than there is room for");
}

enum step fetch_said_no(struct fetch *f)
{
	struct slice text = oci_error_message(&f->arena, buf_data(&f->words));
	struct blob_failure why = { .status = f->msg.status };

	if (!retry_after_parse(msg_field(&f->msg, "Retry-After"), time(NULL), &why.retry_after_s))
		why.retry_after_s = 0;
	if (why.status == 429 && fetch_is_ours(f))
		fetch_limited(f, fetch_kind(f), &why);
	if (why.status == 401 && fetch_is_ours(f) && f->up->basic &&
	    upstream_account(f->up, (unsigned)f->account))
		fetch_aside(f);
	snprintf(why.message, sizeof(why.message), "%.*s", SLICE_FMT(text));
	fetch_refused(f, &why);
	return STEP_WAIT;
}
