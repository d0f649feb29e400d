/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One request, whatever version of HTTP carried it: routing, tag check, cache, relay; in the end an
 * answer (status, fields, body).  The central machine.
 *
 *   ROUTE -> TAG -> LOOKUP -> FILL -> ANSWER       a manifest or blob
 *            LOOKUP, FILL -> BYPASS -> ANSWER      the same while the disk fails
 *   ROUTE -> PRIVATE -> LOOKUP ...                 the same, each client with his own permission
 *   ROUTE [-> FORM] -> TOKEN -> ANSWER             a client's login (login.h)
 *   ROUTE -> SITE -> ANSWER                       a [site]'s, passed on (site.h)
 *   ROUTE -> RELAY -> ANSWER                       tags/list, referrers, HEAD of what is not cached
 *   ROUTE -> ANSWER                                ping, errors, admin, redirects
 *
 * TAG, LOOKUP and RELAY answer at once what small.h keeps of upstream's last answer.
 */
#pragma once

#include "http/range.h"
#include "proxy/body.h"
#include "proxy/fetch.h"
#include "proxy/oci.h"
#include "proxy/route.h"
#include "proxy/seat.h"
#include "proxy/small.h"
#include "proxy/tagcheck.h"

struct login;
struct password;
struct tally;
struct visit;

enum xfer_state {
	XFER_ROUTE,
	XFER_PRIVATE, /* auth = client: does upstream allow it to this client?  See private.h */
	XFER_PING,    /* the same for /v2/ */
	XFER_FORM,    /* a POST for a token: its body is to be given by login_form() */
	XFER_TOKEN,   /* the same for a token: login.h */
	XFER_TAG,     /* waiting for a tag check */
	XFER_LOOKUP,
	XFER_FILL,   /* waiting for the blob's size (a manifest: all of it), or its failure */
	XFER_BYPASS, /* the cache cannot hold it: straight from upstream */
	XFER_SITE,   /* a [site]'s upstream is to answer; the body of the request is to be given */
	XFER_RELAY,  /* reading upstream's answer into memory */
	XFER_ANSWER, /* the answer stands; the body may be read */
};

enum { XFER_FIELDS_MAX = 20 };

struct xfer_field {
	const char *name;
	const char *value;
};

struct xfer {
	struct proxy *proxy;
	struct list node;   /* in proxy.xfers, until closed */
	struct task *owner; /* woken when ANSWER is reached, and for the body */
	struct arena arena;
	enum xfer_state state;
	enum listener_kind kind;
	bool on_loopback; /* LISTEN_ADMIN: who asks is on this machine */
	uint64_t begun_ms;

	/* The request; slices in the arena. */
	enum http_method method;
	struct slice method_text;
	struct slice target;
	struct slice host; /* without port */
	struct slice authority;
	struct slice range;
	struct slice if_none_match;
	struct slice if_range;
	struct slice user_agent;
	char *authorization;   /* malloc'ed and wiped; NULL once it is known to be of no use */
	bool wants_html;       /* a browser: Accept names text/html */
	bool only_if_cached;   /* LISTEN_CONTROL: nothing is to be fetched for it */
	bool forwarded_https;  /* a balancer says that it has ended TLS */
	unsigned major, minor; /* of HTTP */
	const char *sni;       /* NULL: no TLS, or none sent */

	/* Whose it is: door.h. */
	struct addr client; /* who asks, as far as it is known */
	const char *cert;   /* common name of the certificate that it has shown, or NULL */
	struct seat *seat;  /* its connection's; NULL: of none */
	bool admitted;
	bool login_wrong;
	const struct conf_tenant *of_secret; /* its secret stood in the path */
	const struct conf_tenant *of_login;
	const struct conf_login *login_of;
	const struct conf_tenant *of_login_asked; /* while <password> is being checked */
	const struct conf_login *login_asked;     /* NULL: there is no such user */
	struct password *password;
	const struct conf_tenant *tenant; /* NULL: there are none, or it is not known yet */
	struct tenant *account;           /* counts for it; NULL: no memory was there */

	struct oci_path path;
	struct route route;
	struct mirror *mirror;
	struct digest digest;
	uint8_t type; /* manifest type */
	struct tagwait tagwait;
	bool tag_checked;
	bool stale;      /* an old answer, since upstream gives none */
	bool refreshing; /* stale, but only until upstream was asked, which goes on */
	int64_t stale_s; /* how old */
	unsigned lookups;
	bool joined;
	struct blob *blob;       /* while looking; then the body's */
	struct bypass_opts rest; /* where it can be had without the cache */
	struct fetch fetch;
	struct fetch_opts fetch_opts;
	struct buf relayed;           /* malloc'ed */
	const struct small *kept;     /* a reference: what is answered from memory */
	char *secret;                 /* in the arena: an answer to wipe */
	struct login *login;          /* a form; NULL: none */
	bool learned;                 /* /v2/ was asked what upstream wants */
	uint64_t granted_bytes;       /* auth = client: of the blob that upstream allows */
	const struct conf_site *site; /* that it is for, and not for a mirror; or NULL */
	struct visit *visit;          /* the same; NULL: there was no room for one */
	bool ungranted;               /* upstream must be asked whatever gate.h has */

	/* The answer. */
	int status;
	struct xfer_field fields[XFER_FIELDS_MAX];
	unsigned fields_count;
	const struct xfer_field *more; /* fields of a site's answer */
	unsigned more_count;
	uint64_t body_bytes; /* BLOB_SIZE_UNKNOWN: until the end */
	struct body body;    /* empty for HEAD, 304 ... */
	const char *cache;   /* for the access log */
	struct tally *tally; /* of its pull: tell.h; or NULL */
	bool close;          /* the connection must not be used again */

	/* What most requests need of the arena; not zeroed, the last. */
	max_align_t arena_mem[1024 / sizeof(max_align_t)];
};

struct xfer_request {
	const struct msg *msg;
	enum listener_kind kind;
	bool on_loopback; /* LISTEN_ADMIN alone */
	const char *sni;  /* borrowed while the xfer lives, as are the next two */
	const char *cert;
	struct seat *seat;
	const struct addr *client; /* borrowed during xfer_start() */
};

/* <x>: from xfer_pool, any content.  Copies what it needs of the message. */
void xfer_start(struct xfer *x, struct proxy *p, struct task *owner, const struct xfer_request *r);
/* One that is answered without being looked at: a parser's refusal. */
void xfer_start_error(struct xfer *x, struct proxy *p, struct task *owner, enum listener_kind kind,
		      int status, const char *why);
/*
 * What has become of x->fetch.  WAIT: the owner will be woken.  TOLD: no answer, or a refusal, is
 * the client's answer now.  GOOD: what was asked for is there, to be pulled.
 */
enum xfer_asked { ASKED_WAIT, ASKED_TOLD, ASKED_GOOD };
enum xfer_asked xfer_asked(struct xfer *x) must_check;
/* The same, but GOOD: all of its body, at most <max> bytes, is in x->relayed. */
enum xfer_asked xfer_asked_all(struct xfer *x, size_t max) must_check;
/* Goes as far as it can; true: the answer stands. */
bool xfer_run(struct xfer *x);
/* True: everything is given back.  False: the owner will be woken, call again. */
bool xfer_close(struct xfer *x) must_check;
