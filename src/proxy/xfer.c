/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/xfer.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "config/policy.h"
#include "proxy/answer.h"
#include "proxy/door.h"
#include "proxy/forwarded.h"
#include "proxy/local.h"
#include "proxy/login.h"
#include "proxy/guide.h"
#include "proxy/page.h"
#include "proxy/private.h"
#include "proxy/pull.h"
#include "proxy/recall.h"
#include "proxy/tell.h"
#include "proxy/site.h"
#include "proxy/visit.h"

enum step { STEP_MORE, STEP_WAIT };

enum {
	/* A reader that joined a fill which then failed asks for itself, so often at most. */
	LOOKUPS_MAX = 3,
	/*
	 * A blob of so few bytes is answered when it was verified: it comes with upstream's head,
	 * or soon after, and what was wrong can still be had elsewhere.
	 */
	XFER_SMALL = 64 * 1024,
};

static struct slice keep(struct xfer *x, struct slice s)
{
	if (!s.ptr)
		return SLICE_NONE;
	return slice_of(arena_dup(&x->arena, s));
}

static void xfer_init(struct xfer *x, struct proxy *p, struct task *owner)
{
	/* Not what is half of it: a message has as many fields as it says. */
	const size_t fields = offsetof(struct xfer, fetch.msg.fields);
	const size_t behind = fields + sizeof(x->fetch.msg.fields);

	memset(x, 0, fields);
	memset((char *)x + behind, 0, offsetof(struct xfer, arena_mem) - behind);
	x->proxy = p;
	list_init(&x->node);
	list_push(&p->xfers, &x->node);
	x->owner = owner;
	x->begun_ms = proxy_now(p);
	arena_init_in(&x->arena, XFER_ARENA, x->arena_mem, sizeof(x->arena_mem));
	body_init(&x->body, p, owner);
}

void xfer_start(struct xfer *x, struct proxy *p, struct task *owner, const struct xfer_request *r)
{
	const struct msg *m = r->msg;
	uint16_t port;

	xfer_init(x, p, owner);
	x->kind = r->kind;
	x->on_loopback = r->on_loopback;
	x->body.counted = r->kind != LISTEN_ADMIN;
	x->sni = r->sni;
	x->method = m->method;
	x->major = m->major;
	x->minor = m->minor;
	x->method_text = keep(x, m->method_text);
	x->target = keep(x, m->target);
	x->authority = keep(x, m->authority);
	if (!authority_split(x->authority, &x->host, &port))
		x->host = SLICE_NONE;
	if (slice_ends(x->host, SLICE(".")))
		x->host.len--;
	x->range = keep(x, msg_field(m, "Range"));
	x->if_none_match = keep(x, msg_field(m, "If-None-Match"));
	x->if_range = keep(x, msg_field(m, "If-Range"));
	x->user_agent = keep(x, msg_field(m, "User-Agent"));
	x->wants_html = msg_has_token(m, "Accept", SLICE("text/html"));
	x->client = *r->client;
	x->cert = r->cert;
	x->seat = r->seat;
	x->only_if_cached = r->kind == LISTEN_CONTROL &&
			    slice_ieq(msg_field(m, "Cache-Control"), SLICE("only-if-cached"));
	x->forwarded_https = slice_ieq(msg_field(m, "X-Forwarded-Proto"), SLICE("https"));
	if (p->config->server.trusted.count) {
		x->forwarded_https &= forwarded_trusts(&p->config->server.trusted, r->client);
		forwarded_find(m, &p->config->server.trusted, &x->client);
	}
	if (site_take(x, r))
		return;
	door_begin(x);
	if (msg_field(m, "Authorization").ptr)
		x->authorization = strndup(msg_field(m, "Authorization").ptr,
					   msg_field(m, "Authorization").len);
}

void xfer_start_error(struct xfer *x, struct proxy *p, struct task *owner, enum listener_kind kind,
		      int status, const char *why)
{
	xfer_init(x, p, owner);
	x->kind = kind;
	x->body.counted = kind != LISTEN_ADMIN;
	x->major = 1;
	x->method = METHOD_GET;
	x->close = true;
	answer_error(x, status, "UNSUPPORTED", slice_of(why));
}

/* ---- routing ---- */

/*
 * A Host other than the SNI's: RFC 9110 15.5.20.  Strict, though a certificate may cover both: what
 * a name may do (later: tenants, client certificates) is decided in its handshake.
 */
static bool xfer_misdirected(const struct xfer *x)
{
	return x->sni && x->sni[0] && !slice_ieq(slice_of(x->sni), x->host);
}

static void xfer_bad_path(struct xfer *x)
{
	bool unsupported = strcmp(x->path.code, "UNSUPPORTED") == 0;

	answer_error(x, unsupported ? 404 : 400, x->path.code, slice_of(x->path.why));
}

static enum step xfer_route_image(struct xfer *x)
{
	bool by_digest;

	route_find(&x->arena, x->proxy->config, x->host, &x->path, &x->route);
	if (x->route.mirror < 0) {
		answer_error(x, x->route.status, x->route.code, slice_of(x->route.why));
		return STEP_MORE;
	}
	x->mirror = &x->proxy->mirrors[x->route.mirror];
	if (!door_lets(x, true))
		return STEP_MORE;
	tell_begin(x);
	if (!private_is(x))
		private_forget(x);
	else if (!private_is_safe(x))
		return STEP_MORE;
	by_digest = x->path.verb == OCI_BLOB ||
		    (x->path.verb == OCI_MANIFEST && x->path.ref_is_digest);
	if (by_digest && !digest_parse(x->path.ref, &x->digest)) {
		answer_error(x, 400, "DIGEST_INVALID",
			     SLICE("the digest must be sha256:<64 hex digits> or sha512:<128>"));
		return STEP_MORE;
	}
	x->state = private_is(x)                  ? XFER_PRIVATE
		   : by_digest                    ? XFER_LOOKUP
		   : x->path.verb == OCI_MANIFEST ? XFER_TAG
						  : XFER_RELAY;
	return STEP_MORE;
}

static enum step xfer_route(struct xfer *x)
{
	if (!x->target.ptr || !x->authority.ptr) {
		answer_error(x, 503, "UNAVAILABLE", SLICE("out of memory"));
		return STEP_MORE;
	}
	if (x->kind == LISTEN_ADMIN) {
		return page_admin(x) ? STEP_MORE : STEP_WAIT;
	}
	if (x->kind == LISTEN_HTTP) {
		local_http(x);
		return STEP_MORE;
	}
	if (xfer_misdirected(x)) {
		answer_error(x, 421, "UNSUPPORTED",
			     SLICE("this connection was made for another host name"));
		x->close = true;
		return STEP_MORE;
	}
	if (x->site) {
		x->state = XFER_SITE;
		return STEP_MORE;
	}
	if (x->kind != LISTEN_CONTROL && !door_run(x))
		return STEP_WAIT;
	if (x->state == XFER_ANSWER)
		return STEP_MORE;
	if (guide_route(x))
		return STEP_MORE;
	oci_parse(&x->arena, x->target, &x->path);
	if (login_route(x))
		return STEP_MORE;
	if (x->method != METHOD_GET && x->method != METHOD_HEAD) {
		answer_error(x, 405, "UNSUPPORTED",
			     SLICE("this is a mirror for pulling: push to the registry itself"));
		return STEP_MORE;
	}
	switch (x->path.verb) {
	case OCI_PING:
		if (private_ping_route(x))
			return STEP_MORE;
		x->cache = "local";
		answer_text(x, 200, "application/json", "{}");
		return STEP_MORE;
	case OCI_NONE:
		answer_error(x, 404, "UNSUPPORTED", SLICE("the registry API is under /v2/"));
		return STEP_MORE;
	case OCI_CATALOG:
	case OCI_UPLOAD:
		answer_error(x, 405, "UNSUPPORTED", SLICE("a mirror does not offer this"));
		return STEP_MORE;
	case OCI_BAD: xfer_bad_path(x); return STEP_MORE;
	case OCI_MANIFEST:
	case OCI_BLOB:
	case OCI_TAGS:
	case OCI_REFERRERS: return xfer_route_image(x);
	}
	unreachable("verb");
}

/* ---- tags ---- */

static enum step xfer_tag_known(struct xfer *x, const struct tag_record *r)
{
	x->digest = r->digest;
	if (x->method == METHOD_HEAD && r->type > 0 && r->size > 0) {
		x->cache = x->stale ? "stale" : x->tag_checked ? "revalidated" : "hit";
		answer_tag_head(x, r);
		return STEP_MORE;
	}
	x->state = XFER_LOOKUP;
	return STEP_MORE;
}

/* The last answer that was had, if it is not older than that and the manifest is still there. */
static bool xfer_has_old(struct xfer *x, uint64_t age_max_ms, struct tag_record *r)
{
	struct blob *manifest;

	if (!tag_get(x->proxy->cache, x->mirror->name, x->route.repo, x->path.ref, r))
		return false;
	x->stale_s = time(NULL) - r->checked_s;
	if (x->stale_s < 0 || (uint64_t)x->stale_s * 1000 > age_max_ms)
		return false;
	manifest = cache_peek(x->proxy->cache, CACHE_MANIFEST, &r->digest);
	if (!manifest)
		return false;
	blob_unref(manifest);
	x->stale = true;
	return true;
}

static bool xfer_has_fresh(const struct xfer *x, const struct conf_policy *p, struct tag_record *r)
{
	int64_t age_ms;

	if (!tag_get(x->proxy->cache, x->mirror->name, x->route.repo, x->path.ref, r))
		return false;
	age_ms = (time(NULL) - r->checked_s) * 1000;
	return p->kind == POLICY_IMMUTABLE ||
	       (p->kind == POLICY_WINDOW && age_ms >= 0 && (uint64_t)age_ms < p->window_ms);
}

/* Before upstream is asked; true: that is not needed, or cannot be done. */
static bool xfer_tag_begin(struct xfer *x, struct tag_record *r, bool *known)
{
	struct conf_policy p = policy_of(x->mirror->conf, x->route.repo, x->path.ref);
	bool anew = x->kind == LISTEN_CONTROL;

	*known = !anew && xfer_has_fresh(x, &p, r);
	if (!*known && !anew && p.revalidate_ms &&
	    xfer_has_old(x, p.window_ms + p.revalidate_ms, r)) {
		*known = x->refreshing = true;
		tagcheck_refresh(x->proxy, x->mirror, x->route.repo, x->path.ref);
	}
	if (*known || (!anew && recall_missing(x)))
		return true;
	x->tag_checked = true;
	x->tagwait.task = x->owner;
	if (!tagcheck_join(x->proxy, x->mirror, x->route.repo, x->path.ref, &x->tagwait))
		answer_failed(x, ERR_LIMIT);
	return x->state == XFER_ANSWER;
}

static enum step xfer_tag(struct xfer *x)
{
	struct tagcheck *t = x->tagwait.check;
	struct tag_record r;
	bool known;

	if (!t) {
		if (!xfer_tag_begin(x, &r, &known))
			return STEP_WAIT;
		return known ? xfer_tag_known(x, &r) : STEP_MORE;
	}
	if (!t->done)
		return STEP_WAIT;
	if (!t->why.err && !t->why.status)
		return xfer_tag_known(x, &t->record);
	if (failure_may_pass(&t->why) && xfer_has_old(x, x->mirror->conf->stale_for_ms, &r)) {
		stat_inc(&x->proxy->stats, STAT_STALE);
		return xfer_tag_known(x, &r);
	}
	answer_failure(x, &t->why);
	return STEP_MORE;
}

/* ---- the cache ---- */

static uint32_t xfer_kind(const struct xfer *x)
{
	return mirror_owner(x->mirror) |
	       (x->path.verb == OCI_MANIFEST ? CACHE_MANIFEST : CACHE_BLOB);
}

/* Where it can be had without the cache. */
static void xfer_set_rest(struct xfer *x)
{
	x->rest = (struct bypass_opts){
		.mirror = x->mirror,
		.repo = x->route.repo,
		.digest = &x->digest,
		.authorization = x->authorization,
	};
	body_set_rest(&x->body, &x->rest);
}

static void xfer_hit(struct xfer *x)
{
	struct blob_view v;

	blob_look(x->blob, &v);
	if (!private_fits(x, v.size)) {
		if (!x->ungranted) /* the grant may be of a moment when upstream said yes to all */
			x->state = XFER_PRIVATE;
		else if (v.size == BLOB_SIZE_UNKNOWN)
			x->state = XFER_BYPASS;
		else
			answer_failed(x, ERR_HTTP);
		x->ungranted = true;
		return;
	}
	xfer_set_rest(x);
	x->type = v.type;
	x->cache = x->joined        ? "join"
		   : x->lookups > 0 ? "miss"
		   : x->stale       ? "stale"
		   : x->tag_checked ? "revalidated"
				    : "hit";
	x->body.from_cache = !x->joined && x->lookups == 0 && !x->stale;
	answer_blob(x, v.size, v.size != BLOB_SIZE_UNKNOWN);
}

/*
 * All of it is there and right, though its file may not have its name yet.  An empty one has no
 * last byte that would be kept back until then: only READY says that it is right.
 */
static bool xfer_is_verified(const struct xfer *x)
{
	struct blob_view v;

	blob_look(x->blob, &v);
	return v.state == BLOB_READY ||
	       (v.size != BLOB_SIZE_UNKNOWN && v.size > 0 && v.avail == v.size);
}

/* It came between the look and the question. */
static enum step xfer_hit_late(struct xfer *x)
{
	stat_inc(&x->proxy->stats, STAT_HITS);
	x->lookups = 0;
	xfer_hit(x);
	return STEP_MORE;
}

static enum step xfer_lookup(struct xfer *x)
{
	struct stats *st = &x->proxy->stats;
	struct pull *pl;

	if (!blob_unwait(&x->body.waiter))
		return STEP_WAIT;
	if (x->blob)
		blob_unref(x->blob);
	x->blob = cache_peek(x->proxy->cache, xfer_kind(x), &x->digest);
	if (x->blob) {
		stat_inc(st, STAT_HITS);
		xfer_hit(x);
		return STEP_MORE;
	}
	if (x->only_if_cached) {
		answer_error(x, 504, oci_code_of(404, x->path.verb),
			     SLICE("it is not in the cache"));
		return STEP_MORE;
	}
	if (x->path.ref_is_digest && recall_missing(x))
		return STEP_MORE;
	/* A tag's HEAD gets here if upstream did not tell the size: the manifest is fetched. */
	if (x->method == METHOD_HEAD && x->path.ref_is_digest) {
		x->state = XFER_RELAY;
		return STEP_MORE;
	}
	x->lookups++;
	x->joined = false;
	pl = pull_reserve(x->proxy);
	if (pl && x->authorization && !pull_authorize(pl, x->authorization)) {
		pull_drop(pl);
		pl = NULL;
	}
	if (!pl) {
		answer_failed(x, ERR_LIMIT);
		return STEP_MORE;
	}
	switch (cache_get(x->proxy->cache, xfer_kind(x), &x->digest, &x->blob)) {
	case CACHE_MISS:
		stat_inc(st, STAT_MISSES);
		if (x->tagwait.check)
			pull_prefer(pl, x->tagwait.check->up);
		pull_start(pl, x->mirror, x->route.repo, xfer_kind(x), &x->digest, x->blob);
		break;
	case CACHE_JOIN:
		pull_drop(pl);
		if (xfer_is_verified(x))
			return xfer_hit_late(x);
		stat_inc(st, STAT_JOINS);
		x->joined = true;
		break;
	case CACHE_HIT: pull_drop(pl); return xfer_hit_late(x);
	case CACHE_NONE:
		pull_drop(pl);
		x->state = XFER_BYPASS;
		return STEP_MORE;
	}
	x->state = XFER_FILL;
	return STEP_MORE;
}

/*
 * A failed fill that somebody else began may have failed for him only (another repository, another
 * upstream): then this client's own request is made.
 */
static enum step xfer_fill_failed(struct xfer *x)
{
	struct blob_failure why;
	struct blob *next;

	/* What came was wrong, and is fetched once more. */
	next = blob_unwait(&x->body.waiter) ? blob_successor(x->blob) : NULL;
	if (next) {
		blob_unref(x->blob);
		x->blob = next;
		return STEP_MORE;
	}
	if (x->body.waiter.waiting)
		return STEP_WAIT;
	blob_failure(x->blob, &why);
	if (why.disk) {
		x->state = XFER_BYPASS;
		return STEP_MORE;
	}
	if (x->joined && x->lookups < LOOKUPS_MAX) {
		x->state = XFER_LOOKUP;
		return STEP_MORE;
	}
	if (why.status == 404 && !x->path.ref_is_digest && !x->tag_checked) {
		/* The tag is not what our record says, however young that is: ask. */
		tag_remove(x->proxy->cache, x->mirror->name, x->route.repo, x->path.ref);
		x->stale = x->refreshing = false;
		x->state = XFER_TAG;
		return STEP_MORE;
	}
	if (!x->joined)
		recall_keep_missing(x, &why);
	answer_failure(x, &why);
	return STEP_MORE;
}

/* May it be answered before it was verified? */
static bool xfer_is_begun(const struct xfer *x, const struct blob_view *v)
{
	return v->state == BLOB_FILLING && v->size > XFER_SMALL && cache_kind_is_blob(xfer_kind(x));
}

/* A blob is answered as soon as its head is known; a manifest when it was verified. */
static enum step xfer_fill(struct xfer *x)
{
	struct blob_view v;

	for (;;) {
		blob_look(x->blob, &v);
		if (v.state == BLOB_FAILED)
			return xfer_fill_failed(x);
		if (xfer_is_verified(x) || xfer_is_begun(x, &v)) {
			xfer_hit(x);
			return STEP_MORE;
		}
		if (x->body.waiter.waiting || blob_wait(x->blob, &x->body.waiter, &v))
			return STEP_WAIT;
	}
}

/* ---- asking upstream for this client alone ---- */

enum xfer_asked xfer_asked(struct xfer *x)
{
	struct blob_failure why;
	int status;

	if (x->fetch.state == FETCH_FAILED) {
		answer_failed(x, x->fetch.err);
		return ASKED_TOLD;
	}
	if (!fetch_has_head(&x->fetch))
		return ASKED_WAIT;
	status = x->fetch.msg.status;
	if (status == 200 || (status == 206 && x->fetch_opts.first_byte))
		return ASKED_GOOD;
	if (!fetch_refusal(&x->fetch, &x->relayed, &why))
		return ASKED_WAIT;
	recall_keep_missing(x, &why);
	answer_failure(x, &why);
	return ASKED_TOLD;
}

enum xfer_asked xfer_asked_all(struct xfer *x, size_t max)
{
	enum xfer_asked asked = xfer_asked(x);
	int n;

	if (asked != ASKED_GOOD)
		return asked;
	n = fetch_pull_all(&x->fetch, &x->relayed, max);
	if (n == 0)
		return ASKED_WAIT;
	if (n == ERR_EOF)
		return ASKED_GOOD;
	answer_failed(x, n);
	return ASKED_TOLD;
}

/* ---- passing by ---- */

/* A manifest comes into memory, as it would for a fill: its type is known from the whole. */
static enum step xfer_bypass_manifest(struct xfer *x)
{
	int type;

	if (x->fetch.state == FETCH_IDLE) {
		stat_inc(&x->proxy->stats, STAT_BYPASSES);
		x->fetch_opts = (struct fetch_opts){
			.mirror = x->mirror,
			.owner = x->owner,
			.authorization = x->authorization,
		};
		if (!fetch_by_digest(&x->fetch_opts, &x->arena, x->route.repo, false, &x->digest)) {
			answer_failed(x, ERR_LIMIT);
			return STEP_MORE;
		}
		fetch_start(&x->fetch, x->proxy, &x->fetch_opts);
	}
	switch (xfer_asked_all(x, MANIFEST_MAX)) {
	case ASKED_WAIT: return STEP_WAIT;
	case ASKED_TOLD: return STEP_MORE;
	case ASKED_GOOD: break;
	}
	type = oci_manifest_type(msg_field(&x->fetch.msg, "Content-Type"), buf_data(&x->relayed));
	if (type <= 0) {
		answer_failed(x, ERR_HTTP);
		return STEP_MORE;
	}
	x->type = (uint8_t)type;
	if (!answer_manifest(x, buf_data(&x->relayed)))
		fetch_blame(&x->fetch);
	return STEP_MORE;
}

static enum step xfer_bypass_blob(struct xfer *x)
{
	bool part = x->range.ptr && x->method == METHOD_GET;
	struct blob_failure why;
	uint64_t size = 0;

	if (!x->body.bypass)
		x->body.bypass = bypass_new(x->proxy, x->owner, &x->rest, part);
	if (!x->body.bypass) {
		answer_failed(x, ERR_LIMIT);
		return STEP_MORE;
	}
	switch (bypass_head(x->body.bypass, &x->relayed, &size, &why)) {
	case BYPASS_WAITS: return STEP_WAIT;
	case BYPASS_REFUSED:
		recall_keep_missing(x, &why);
		answer_failure(x, &why);
		return STEP_MORE;
	case BYPASS_THERE: break;
	}
	x->cache = "pass";
	answer_blob(x, size, size != BLOB_SIZE_UNKNOWN);
	return STEP_MORE;
}

static enum step xfer_bypass(struct xfer *x)
{
	if (!blob_unwait(&x->body.waiter))
		return STEP_WAIT;
	if (x->blob)
		blob_unref(x->blob);
	x->blob = NULL;
	xfer_set_rest(x);
	return cache_kind_is_blob(xfer_kind(x)) ? xfer_bypass_blob(x) : xfer_bypass_manifest(x);
}

/* ---- relaying ---- */

static bool xfer_relay_start(struct xfer *x)
{
	x->fetch_opts = (struct fetch_opts){
		.mirror = x->mirror,
		.owner = x->owner,
		.target = recall_target(x),
		.scope = oci_pull_scope(&x->arena, x->route.repo),
		.accept = x->path.verb == OCI_MANIFEST ? oci_accept_manifests : NULL,
		.authorization = x->authorization,
		.head = x->method == METHOD_HEAD,
	};
	if (!x->fetch_opts.target || !x->fetch_opts.scope)
		return false;
	fetch_start(&x->fetch, x->proxy, &x->fetch_opts);
	return true;
}

static void xfer_relayed(struct xfer *x)
{
	const struct msg *m = &x->fetch.msg;
	struct small a = {
		.status = 200,
		.type = msg_field(m, "Content-Type"),
		.filters = msg_field(m, "OCI-Filters-Applied"),
		.digest = msg_field(m, "Docker-Content-Digest"),
		.link = msg_field(m, "Link"),
		.body = buf_data(&x->relayed),
	};
	uint64_t length;

	if (!http_parse_uint(msg_field(m, "Content-Length"), &length))
		length = BLOB_SIZE_UNKNOWN;
	recall_keep(x, &a);
	x->cache = "pass";
	answer_small(x, &a, length);
}

static enum step xfer_relay(struct xfer *x)
{
	if (x->fetch.state == FETCH_IDLE) {
		if (recall_referrers(x))
			return STEP_MORE;
		if (!xfer_relay_start(x)) {
			answer_failed(x, ERR_LIMIT);
			return STEP_MORE;
		}
	}
	switch (xfer_asked_all(x, LIST_MAX)) {
	case ASKED_WAIT: return STEP_WAIT;
	case ASKED_TOLD: return STEP_MORE;
	case ASKED_GOOD: xfer_relayed(x); return STEP_MORE;
	}
	unreachable("what became of a question");
}

/* ---- */

bool xfer_run(struct xfer *x)
{
	enum step s = STEP_MORE;

	while (s == STEP_MORE) {
		switch (x->state) {
		case XFER_ROUTE: s = xfer_route(x); break;
		case XFER_PRIVATE:
		case XFER_PING: s = private_run(x) ? STEP_MORE : STEP_WAIT; break;
		case XFER_FORM: s = STEP_WAIT; break;
		case XFER_TOKEN: s = login_run(x) ? STEP_MORE : STEP_WAIT; break;
		case XFER_TAG: s = xfer_tag(x); break;
		case XFER_LOOKUP: s = xfer_lookup(x); break;
		case XFER_FILL: s = xfer_fill(x); break;
		case XFER_BYPASS: s = xfer_bypass(x); break;
		case XFER_SITE: s = site_run(x) ? STEP_MORE : STEP_WAIT; break;
		case XFER_RELAY: s = xfer_relay(x); break;
		case XFER_ANSWER: return true;
		}
	}
	return false;
}

bool xfer_close(struct xfer *x)
{
	door_leave(x);
	tell_end(x, false);
	tagcheck_leave(&x->tagwait);
	fetch_close(&x->fetch);
	if (x->visit && !visit_close(x->visit))
		return false;
	x->visit = x->body.visit = NULL;
	if (!body_close(&x->body))
		return false;
	if (x->blob)
		blob_unref(x->blob);
	x->blob = NULL;
	login_fini(x);
	private_forget(x);
	free(x->relayed.mem);
	buf_init(&x->relayed, NULL, 0);
	recall_drop(x);
	arena_fini(&x->arena);
	list_remove(&x->node);
	return true;
}
