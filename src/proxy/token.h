/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bearer tokens of one worker, by (upstream, account, realm, service, scope): one request at a
 * time for each, whoever waits; used until four fifths of their life are over.
 *
 * Invariants
 *  1. An upstream's credentials are sent only to a realm that config_realm_ok() allows; other
 *     realms are asked anonymously.
 *  2. Token values are never logged, and are wiped when they go.
 */
#pragma once

#include "proxy/fetch.h"

enum token_state { TOKEN_ASKING, TOKEN_READY, TOKEN_FAILED };

struct token {
	struct proxy *proxy;
	struct mirror *mirror;
	struct upstream *up; /* of <mirror> */
	unsigned account;    /* of its quotas */
	struct list node;
	struct list waiters; /* struct fetch.token_node */
	struct task task;
	unsigned refs; /* fetches that hold it */
	enum token_state state;
	int err;    /* TOKEN_FAILED */
	int status; /* of the realm's answer, 0: none */
	unsigned retry_after_s;
	uint64_t expires_ms;
	char *key; /* account, realm, service, scope */
	char *value;
	struct fetch fetch;
	struct buf answer;
	struct uri place;
	char *basic; /* secret; in the fetch's lifetime only */
	struct arena arena;
	bool gone; /* invalidated: freed when the last reference goes */
};

/*
 * The token for that scope, with a reference.  TOKEN_ASKING: <f> is among the waiters and its task
 * will be woken.  NULL: the table is full, no memory, or the realm is no acceptable https URL.
 */
struct token *token_get(struct proxy *p, struct upstream *up, unsigned account, const char *scope,
			struct fetch *f) must_check;
/* Was it asked of that realm, for that service? */
bool token_is_of(const struct token *t, struct slice realm, struct slice service) must_check;
/* Gives the reference back; <bad>: upstream did not accept it, nobody else shall use it. */
void token_put(struct token *t, struct fetch *f, bool bad);
/* That is usable and nobody holds goes over from one upstream to the same one of a reload. */
void tokens_move(struct proxy *p, const struct upstream *from, struct upstream *to);
/* Idle ones go: all when draining (NULL), or those of a generation that has ended. */
void tokens_clear(struct proxy *p, const struct generation *g);
