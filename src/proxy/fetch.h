/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One answer from an upstream of a mirror: token, connection, request, redirects, one retry where
 * it is safe; from the next upstream if one has no answer (fetch_order.c); then the head, then the
 * body as it comes.
 *
 * Invariants
 *  1. What is sent upstream is made here from the mirror's configuration: nothing of a client's
 *     request but method, path and Accept gets in, no cookie and no `ns`; its Authorization does
 *     if the mirror has auth = client, and then nothing of our own.
 *  2. Authorization goes to the upstream's own origin only, never along a redirect to another one.
 *  3. Redirects and token servers are https (http only within an origin that the configuration
 *     itself names as http), and upconn.c refuses private addresses.
 *  4. The body is exactly as long as upstream's framing says, or the fetch ends with an error.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "http/uri.h"
#include "proxy/upread.h"

struct token;

enum fetch_state {
	FETCH_IDLE,
	FETCH_AUTH, /* a token is needed: waiting for it */
	FETCH_CONN, /* waiting for a connection */
	FETCH_SEND,
	FETCH_HEAD,    /* request sent, waiting for the head */
	FETCH_DRAIN,   /* a body that is no answer: for the connection's sake, or for its words */
	FETCH_REFUSED, /* an error, its words are read: to the next upstream or the owner */
	FETCH_BODY,    /* msg is valid; the owner pulls */
	FETCH_DONE,    /* the whole body was pulled, or a refusal is told (msg has a status only) */
	FETCH_FAILED,
};

/* A body piece of an answer that is followed by another request is read up to this. */
enum { FETCH_DRAIN_MAX = 16 * 1024 };

struct fetch_opts {
	struct mirror *mirror;
	unsigned first; /* index of the upstream that is asked first */
	struct task *owner;
	const char *target; /* "/v2/...", borrowed until the fetch is closed */
	const char *scope;  /* of the token, "": for nothing in particular; NULL: none is needed */
	const char *accept; /* NULL: none */
	bool head;
	uint64_t from;   /* > 0: Range: bytes=FROM- */
	uint64_t to;     /* > 0: Range: bytes=FROM-TO */
	bool only;       /* no other upstream is asked in its place */
	bool spare;      /* no other request is to wait for its connection: else ERR_LIMIT */
	bool first_byte; /* Range: bytes=0-0 */
	/*
	 * Token requests: an absolute place instead of the upstream's own, and credentials for it;
	 * no other upstream is asked.
	 */
	const struct uri *place;
	struct slice form; /* POSTed to <place>; secret, borrowed; once, and along no redirect */
	unsigned source;   /* with <place>: as upconn_get() */
	const char *authorization; /* without <place>: the client's own; secret, borrowed */
};

struct fetch {
	struct proxy *proxy;
	struct fetch_opts o;
	struct task task; /* run when a token or the connection moves */
	struct timer timer;
	struct arena arena;
	enum fetch_state state;
	int err;               /* FETCH_FAILED */
	struct upstream *up;   /* that is asked, or that answered */
	unsigned asked;        /* bits of those that were */
	int account;           /* who we are to it, in its quotas; -1: not picked */
	uint32_t tried;        /* bits of its accounts that did not do */
	struct uri origin;     /* of <up> */
	struct uri at;         /* where the request goes now */
	bool auth_allowed;     /* at is still the origin */
	enum fetch_state next; /* FETCH_DRAIN: what comes after it */
	size_t drained;
	struct buf words; /* of a refusal, in the arena */
	unsigned redirects;
	unsigned refusals; /* of tokens */
	bool fresh;        /* the retry: on a new connection */
	bool probing;      /* asking /v2/ for the challenge */
	bool timed_out;
	bool sure;              /* the realm is what upstream has named just now */
	struct token *token;    /* held by reference while used or waited for */
	struct token *doubted;  /* it failed: the request goes without, to see the realm */
	struct list token_node; /* in token.waiters */
	struct upconn *conn;
	uint32_t member; /* of its pool: who answered last */
	char *request;   /* in the arena; holds secrets: wiped after sending */
	size_t request_len;
	size_t request_sent;
	struct msg msg; /* slices into the arena */
	struct upread read;
	bool told;                    /* FETCH_DONE is <refusal> */
	struct blob_failure *refusal; /* the weightiest so far, malloc'ed; or NULL */
};

/*
 * Fills in target, scope and accept: a manifest or <blob> by its digest, in memory of <a>.  False:
 * no memory.
 */
bool fetch_by_digest(struct fetch_opts *o, struct arena *a, struct slice repo, bool blob,
		     const struct digest *d) must_check;
/* <f> may be the owner's memory, zeroed or fetch_close()d before. */
void fetch_start(struct fetch *f, struct proxy *p, const struct fetch_opts *o);
/* The final head is there: f->msg. */
static inline bool fetch_has_head(const struct fetch *f)
{
	return f->state == FETCH_BODY || f->state == FETCH_DONE;
}
/* Is it a 206 with all from <from> on of something of <total> bytes (BLOB_SIZE_UNKNOWN)? */
bool fetch_is_rest(const struct fetch *f, uint64_t from, uint64_t total) must_check;
/* Is it a 206 with just those bytes of something of <total>? */
bool fetch_is_range(const struct fetch *f, uint64_t from, uint64_t to, uint64_t total) must_check;
/* Is it a 200 that can be the whole of that? */
bool fetch_is_whole(const struct fetch *f, uint64_t total) must_check;
/*
 * > 0: bytes added to <into>; 0: nothing now, the owner will be woken; ERR_EOF: the body is
 * complete; else error.
 */
int fetch_pull(struct fetch *f, struct buf *into) must_check;
/*
 * Passes by <*left> bytes of the body, which counts down; <mem> is but a place to read into.  1:
 * they are gone; 0: nothing now, the owner will be woken; ERR_SHORT: the body ends before; else
 * error.
 */
int fetch_skip(struct fetch *f, uint64_t *left, char *mem, size_t cap) must_check;
/*
 * The whole body into memory: <body> grows by realloc up to <max> bytes.  0: more to come, the
 * owner will be woken; ERR_EOF: complete; ERR_LONG: longer; else error.  The caller frees.
 */
int fetch_pull_all(struct fetch *f, struct buf *body, size_t max) must_check;
/*
 * An answer that is not what was asked for: its status, Retry-After and, from its body (borrowed
 * memory for reading it), upstream's own words.  False: more to come, the owner will be woken.
 */
bool fetch_refusal(struct fetch *f, struct buf *body, struct blob_failure *why) must_check;
/*
 * Upstream cannot say now: 429, 5xx, no answer.  What else it says, as that a thing is gone or not
 * for us (404, 401, 403), is final; so are an authentication and a redirect that cannot be done.
 */
static inline bool failure_may_pass(const struct blob_failure *why)
{
	if (why->err)
		return why->err != ERR_AUTH && why->err != ERR_REDIRECT;
	return why->status == 429 || why->status >= 500;
}
/* Where to begin when the body broke: at the same one, or at the <next> if that helps nothing. */
static inline unsigned fetch_again(const struct fetch *f, bool next)
{
	unsigned at = upstream_index(f->up);

	return next ? (at + 1) % f->o.mirror->ups_count : at;
}
/*
 * The body was wrong, which its owner found: its sender is left out for a while.  True: its pool
 * has another one that is not.
 */
bool fetch_blame(struct fetch *f);
/* Legal in every state; synchronous: the connection closes by itself. */
void fetch_close(struct fetch *f);
