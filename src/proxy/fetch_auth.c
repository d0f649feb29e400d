/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "http/challenge.h"
#include "proxy/fetch_private.h"
#include "proxy/token.h"

void fetch_drop_token(struct fetch *f, bool bad)
{
	if (f->token)
		token_put(f->token, f, bad);
	if (f->doubted)
		token_put(f->doubted, f, false);
	f->token = f->doubted = NULL;
}

static bool fetch_wants_token(const struct fetch *f)
{
	return f->o.mirror->conf->auth != AUTH_CLIENT && f->auth_allowed && !f->o.place &&
	       !f->probing && f->o.scope && f->up->realm && !f->up->basic;
}

/* The token server's 401, 403, 429 ... is the answer. */
static void fetch_login_refused(struct fetch *f, struct blob_failure *why)
{
	if (why->status == 429)
		fetch_limited(f, QUOTA_BLOB, why); /* without a token there are no blobs either */
	if (why->status == 401 && f->token->basic)
		fetch_aside(f);
	fetch_refused(f, why);
}

/*
 * No token from the realm that was learnt: upstream may have moved it.  Once, the request goes
 * without a token, and the challenge of its 401 decides.
 */
static bool fetch_doubt(struct fetch *f)
{
	const struct token *t = f->token;

	if (f->sure || t->status == 429 || fetch_err_is_ours(t->err))
		return false;
	f->sure = true;
	f->doubted = f->token;
	f->token = NULL;
	f->state = FETCH_CONN;
	return true;
}

enum step fetch_auth(struct fetch *f)
{
	struct blob_failure why;

	/* A client has a quota of his own, and no account is ours. */
	if (!f->o.place && f->o.mirror->conf->auth != AUTH_CLIENT && f->account < 0 &&
	    !fetch_pick(f))
		return STEP_WAIT;
	if (!f->token && !fetch_wants_token(f)) {
		f->state = FETCH_CONN;
		return STEP_MORE;
	}
	if (!f->token) {
		f->token = token_get(f->proxy, f->up, (unsigned)f->account, f->o.scope, f);
		if (!f->token) {
			fetch_fail(f, ERR_AUTH);
			return STEP_WAIT;
		}
	}
	switch (f->token->state) {
	case TOKEN_ASKING: return STEP_WAIT;
	case TOKEN_READY: f->state = FETCH_CONN; return STEP_MORE;
	case TOKEN_FAILED:
		if (fetch_doubt(f))
			return STEP_MORE;
		if (f->token->status >= 400) {
			why = (struct blob_failure){ .status = f->token->status,
						     .retry_after_s = f->token->retry_after_s };
			fetch_login_refused(f, &why);
		} else {
			fetch_fail(f, f->token->err);
		}
		return STEP_WAIT;
	}
	unreachable("token state");
}

/* NULL: none; the value is a secret. */
const char *fetch_authorization(struct fetch *f)
{
	const struct conf_account *a;

	if (!f->auth_allowed || f->probing)
		return NULL;
	if (f->o.place || f->o.mirror->conf->auth == AUTH_CLIENT)
		return f->o.authorization;
	if (f->token)
		return arena_printf(&f->arena, "Bearer %s", f->token->value);
	a = upstream_account(f->up, (unsigned)f->account);
	if (f->up->basic && a)
		return basic_credentials(&f->arena, slice_of(a->user), slice_of(a->password));
	return NULL;
}

static char *dup_slice(struct slice s)
{
	return strndup(s.ptr ? s.ptr : "", s.len);
}

/* Remembers what the upstream wants, so that the next scope does not begin with a 401. */
static bool upstream_learn(struct upstream *up, const struct challenge *c)
{
	char *realm = dup_slice(c->realm);
	char *service = dup_slice(c->service);

	if (!realm || !service) {
		free(realm);
		free(service);
		return false;
	}
	upstream_forget(up);
	up->realm = realm;
	up->service = service;
	up->basic = c->scheme == CHALLENGE_BASIC;
	return true;
}

/* Have we what it asks for?  (Everybody may ask for a token.) */
static bool fetch_can(const struct fetch *f, const struct challenge *c)
{
	return c->scheme != CHALLENGE_BASIC || upstream_account(f->up, (unsigned)f->account);
}

static bool fetch_challenge(struct fetch *f, struct challenge *c)
{
	struct slice value;
	unsigned at = 0;

	while (msg_field_next(&f->msg, "WWW-Authenticate", &at, &value))
		if (challenge_parse(&f->arena, value, c) && c->scheme != CHALLENGE_NONE)
			return true;
	return false;
}

/*
 * After a 401: may the request be sent once more, with something better?  Only the upstream's own
 * origin may ask; what a redirect target asks for is not listened to.
 */
bool fetch_reauth(struct fetch *f)
{
	struct challenge c;
	bool had_token = f->token != NULL;

	/* The client is told what upstream wants, and asks again himself. */
	if (f->o.mirror->conf->auth == AUTH_CLIENT) {
		if (f->auth_allowed && !f->o.place && fetch_challenge(f, &c))
			(void)upstream_learn(f->up, &c);
		return false;
	}
	/* A token that was refused is replaced once. */
	if (!f->auth_allowed || f->o.place || !f->o.scope || (had_token && ++f->refusals > 1))
		return false;
	fetch_drop_token(f, true);
	if (!fetch_challenge(f, &c)) {
		/* gcr.io has answered 401 without a challenge: /v2/ tells it. */
		if (f->probing || had_token)
			return false;
		f->probing = true;
		return true;
	}
	f->probing = false;
	if (!fetch_can(f, &c) || (c.scheme == CHALLENGE_BASIC && f->up->basic))
		return false;
	f->sure = true;
	return upstream_learn(f->up, &c);
}

bool fetch_undoubt(struct fetch *f)
{
	struct token *t = f->doubted;
	struct challenge c;

	f->doubted = NULL;
	if (f->msg.status < 400) { /* it asks for none any more */
		token_put(t, f, false);
		upstream_forget(f->up);
		return false;
	}
	if (f->msg.status == 401 && fetch_challenge(f, &c) && !token_is_of(t, c.realm, c.service) &&
	    fetch_can(f, &c) && upstream_learn(f->up, &c)) {
		log_info("upstream mirror=%s upstream=%s names another token server realm=%s",
			 f->o.mirror->conf->name, f->up->conf->text, LOG_Q(c.realm));
		token_put(t, f, false);
		return true;
	}
	f->token = t; /* its failure is what counts */
	return true;
}
