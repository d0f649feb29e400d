/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which upstream of a mirror is asked, and what is told when none has it.
 *
 * They are asked in the operator's order, but for the one that the owner asks to begin with (the
 * one that named a tag's digest, or that a broken body came from).  The next is asked when one
 * cannot be reached, breaks before its head, or answers 4xx or 5xx; not after 405 and 501, which
 * speak of the method and not of the image, and not for want of our own memory.
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

void fetch_ask(struct fetch *f, struct upstream *up)
{
	f->up = up;
	f->asked |= 1u << (up - f->o.mirror->ups);
	arena_fini(&f->arena);
	arena_init(&f->arena, FETCH_ARENA);
	f->words = (struct buf){ 0 };
	f->request = NULL;
	f->msg = (struct msg){ 0 };
	f->origin = (struct uri){ .https = up->conf->https,
				  .host = slice_of(up->conf->host),
				  .port = up->conf->port,
				  .target = f->o.place ? SLICE("/") : slice_of(f->o.target) };
	f->at = f->o.place ? *f->o.place : f->origin;
	f->auth_allowed = true;
	f->redirects = f->refusals = 0;
	f->fresh = f->probing = f->timed_out = f->over = false;
	f->state = FETCH_AUTH;
	loop_wake(f->proxy->loop, &f->task);
}

/* A token server has no other. */
static struct upstream *fetch_next_up(const struct fetch *f)
{
	struct mirror *m = f->o.mirror;

	for (unsigned i = 0; i < m->ups_count && !f->o.place; i++)
		if (!(f->asked & (1u << i)))
			return &m->ups[i];
	return NULL;
}

bool fetch_is_refusal(int status)
{
	return status >= 400 && status != 405 && status != 501;
}

static bool could_not_say(const struct blob_failure *why)
{
	return why->err || why->status == 429 || why->status >= 500;
}

static bool outweighs(const struct blob_failure *a, const struct blob_failure *b)
{
	return could_not_say(a) && !could_not_say(b);
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
	bool ours = why->err == -ENOMEM || why->err == ERR_LIMIT || why->err == ERR_KILLED;
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

/* Seconds from Retry-After (a number or a date), 0 if none. */
static unsigned retry_after_s(const struct fetch *f)
{
	struct slice value = msg_field(&f->msg, "Retry-After");
	char text[64];
	struct tm tm = { 0 };
	time_t at;
	uint64_t n;

	if (http_parse_uint(value, &n))
		return n > 86400 ? 86400 : (unsigned)n;
	if (!value.ptr || value.len >= sizeof(text))
		return 0;
	memcpy(text, value.ptr, value.len);
	text[value.len] = '\0';
	if (!strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm))
		return 0;
	at = timegm(&tm) - time(NULL);
	return at <= 0 ? 0 : at > 86400 ? 86400 : (unsigned)at;
}

enum step fetch_said_no(struct fetch *f)
{
	struct slice text = oci_error_message(&f->arena, buf_data(&f->words));
	struct blob_failure why = { .status = f->msg.status, .retry_after_s = retry_after_s(f) };

	snprintf(why.message, sizeof(why.message), "%.*s", SLICE_FMT(text));
	fetch_refused(f, &why);
	return STEP_WAIT;
}
