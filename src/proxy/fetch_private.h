/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of a fetch share.  Private to them. */
#pragma once

#include <errno.h>

#include "base/err.h"
#include "cache/cache.h"
#include "proxy/fetch.h"

enum step { STEP_MORE, STEP_WAIT };

/* Our own shortage, or our end: no other upstream would help. */
static inline bool fetch_err_is_ours(int err)
{
	return err == -ENOMEM || err == ERR_LIMIT || err == ERR_KILLED;
}

/* fetch.c */
void fetch_arm(struct fetch *f, uint64_t ms);
/* Below HTTP, or before an answer: the next upstream is asked, or the owner told. */
void fetch_fail(struct fetch *f, int err);
void fetch_release(struct fetch *f, bool complete);

/* fetch_auth.c: what proves to an upstream who asks. */
enum step fetch_auth(struct fetch *f);
/* The field's value, a secret, from the arena; NULL: none. */
const char *fetch_authorization(struct fetch *f);
/* After a 401, or while probing: is there something better to send the request with? */
bool fetch_reauth(struct fetch *f);
/* f->msg answers the request that went without f->doubted.  True: on to FETCH_AUTH. */
bool fetch_undoubt(struct fetch *f);
void fetch_drop_token(struct fetch *f, bool bad);

/* fetch_order.c: which upstream is asked, and what is told when none has it. */
void fetch_ask(struct fetch *f, struct upstream *up);
/* Who we are to f->up.  False: nobody may ask it now; the fetch has gone on by itself. */
bool fetch_pick(struct fetch *f) must_check;
/* f->msg, from f->up itself, tells what is left of the quota. */
void fetch_count(struct fetch *f);
/* A 429 to our account: it rests; <why> is told how long. */
void fetch_limited(struct fetch *f, enum quota_kind kind, struct blob_failure *why);
/* Our account's login was refused. */
void fetch_aside(struct fetch *f);
bool fetch_is_refusal(int status);
/* A piece of the body of the refusal that is being read. */
void fetch_keep_words(struct fetch *f, struct slice piece);
/* f->msg is a refusal, its words are read. */
enum step fetch_said_no(struct fetch *f);
/* f->up cannot or will not answer. */
void fetch_refused(struct fetch *f, const struct blob_failure *why);
