/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/checkup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "net/addr.h"
#include "proxy/oci.h"
#include "proxy/token.h"
#include "proxy/uppool.h"

enum step { STEP_MORE, STEP_WAIT };

enum {
	BLOB_BYTES = 16,    /* asked for, from the second byte on */
	BLOB_READ_MAX = 64, /* of what comes instead */
	QUOTA_SPARED = 5,   /* with fewer requests left, a manifest is not asked for */
};

static struct upstream *upstream_of(const struct checkup *c)
{
	return &c->mirror->ups[c->up];
}

static struct checkup_result *result_of(struct checkup *c)
{
	return &c->results[c->step];
}

/* ---- from one step to the next ---- */

static enum step checkup_end(struct checkup *c)
{
	loop_timer_clear(c->proxy->loop, &c->timer);
	fetch_close(&c->fetch);
	c->step = CHECKUP_STEPS;
	c->done(c);
	return STEP_WAIT;
}

static void checkup_settle(struct checkup *c, enum checkup_verdict v)
{
	result_of(c)->verdict = v;
	result_of(c)->ms = proxy_now(c->proxy) - c->begun_ms;
	c->begun_ms = proxy_now(c->proxy);
}

static enum step checkup_fail(struct checkup *c, int err)
{
	result_of(c)->err = err;
	checkup_settle(c, CHECKUP_FAILED);
	return checkup_end(c);
}

static enum step checkup_next(struct checkup *c, enum checkup_step next)
{
	fetch_close(&c->fetch);
	c->step = next;
	return STEP_MORE;
}

/* False: no memory. */
static bool checkup_ask(struct checkup *c, const struct fetch_opts *o)
{
	if (!o->target)
		return false;
	c->opts = *o;
	c->opts.mirror = c->mirror;
	c->opts.first = c->up;
	c->opts.only = true;
	c->opts.owner = &c->task;
	fetch_start(&c->fetch, c->proxy, &c->opts);
	return true;
}

/* True: the head is there, whatever it says; false: wait, or the step has failed (*failed). */
static bool checkup_has_head(struct checkup *c, bool *failed)
{
	struct checkup_result *r = result_of(c);
	const struct fetch *f = &c->fetch;

	*failed = f->state == FETCH_FAILED;
	if (*failed)
		r->err = f->err;
	if (!fetch_has_head(f))
		return false;
	r->status = f->msg.status;
	if (f->told)
		snprintf(r->said, sizeof(r->said), "%s", f->refusal->message);
	return true;
}

/* ---- steps ---- */

static enum step checkup_name(struct checkup *c)
{
	const struct conf_upstream *up = upstream_of(c)->conf;
	const struct uri at = { .https = up->https,
				.host = slice_of(up->host),
				.port = up->port,
				.target = SLICE("/v2/") };
	const struct balance *b;

	if (!c->pool)
		c->pool = uppool_get(c->proxy, c->mirror, &at);
	if (!c->pool)
		return checkup_fail(c, -ENOMEM);
	if (!uppool_resolve(c->pool, &c->wait))
		return STEP_WAIT;
	b = &c->pool->balance;
	c->by_via = c->pool->conf && c->pool->conf->via.kind != CONF_VIA_NONE;
	c->addrs_count = b->count;
	for (unsigned i = 0; i < b->count && i < CHECKUP_ADDRS; i++)
		addr_format_ip(&b->v[i].addr, c->addrs[i]);
	if (b->count == 0)
		return checkup_fail(c, c->pool->err ? c->pool->err : ERR_DNS);
	checkup_settle(c, CHECKUP_WELL);
	return checkup_next(c, CHECKUP_PING);
}

/* Its clock, if it tells. */
static void checkup_date(struct checkup *c)
{
	int64_t at;

	if (!http_parse_date(msg_field(&c->fetch.msg, "Date"), &at))
		return;
	c->date_s = at;
	c->asked_s = time(NULL);
}

static enum step checkup_ping(struct checkup *c)
{
	bool failed;
	int status;

	if (c->fetch.state == FETCH_IDLE &&
	    !checkup_ask(c, &(struct fetch_opts){ .target = "/v2/" }))
		return checkup_fail(c, -ENOMEM);
	if (!checkup_has_head(c, &failed))
		return failed ? checkup_fail(c, c->fetch.err) : STEP_WAIT;
	status = c->fetch.msg.status;
	checkup_date(c);
	checkup_settle(c, status == 200 || status == 401 ? CHECKUP_WELL : CHECKUP_FAILED);
	if (result_of(c)->verdict == CHECKUP_FAILED || c->mirror->conf->auth == AUTH_CLIENT)
		return checkup_end(c);
	if (c->image && !c->scope)
		return checkup_fail(c, -ENOMEM);
	if (c->image)
		return checkup_next(c, CHECKUP_HEAD);
	return status == 401 ? checkup_next(c, CHECKUP_TOKEN) : checkup_end(c);
}

/* What the challenge taught. */
static bool checkup_learn(struct checkup *c)
{
	const struct upstream *up = upstream_of(c);
	struct uri realm;

	c->basic = up->realm && up->basic;
	if (!up->realm || up->basic)
		return false;
	if (uri_parse(&c->arena, slice_of(up->realm), &realm))
		snprintf(c->realm, sizeof(c->realm), "%.*s", SLICE_FMT(realm.host));
	else
		snprintf(c->realm, sizeof(c->realm), "?");
	return true;
}

static bool checkup_has_token(const struct checkup *c)
{
	list_for_each(it, &c->proxy->tokens) {
		const struct token *t = container_of(it, struct token, node);

		if (t->up == upstream_of(c) && t->state == TOKEN_READY)
			return true;
	}
	return false;
}

/* Without an image: /v2/ itself, with a token for nothing in particular. */
static enum step checkup_token(struct checkup *c)
{
	bool failed, has;

	if (c->fetch.state == FETCH_IDLE &&
	    !checkup_ask(c, &(struct fetch_opts){ .target = "/v2/", .scope = "" }))
		return checkup_fail(c, -ENOMEM);
	has = checkup_has_head(c, &failed);
	if (!has && !failed)
		return STEP_WAIT;
	if (has)
		checkup_date(c);
	if (checkup_learn(c))
		checkup_settle(c, checkup_has_token(c) ? CHECKUP_WELL : CHECKUP_FAILED);
	else if (c->basic)
		checkup_settle(c,
			       has && c->fetch.msg.status == 200 ? CHECKUP_WELL : CHECKUP_FAILED);
	return checkup_end(c);
}

/* A manifest or blob of the image, by digest or tag. */
static const char *target_of(struct checkup *c, const char *kind, const struct digest *d)
{
	char digest[DIGEST_TEXT_MAX];

	if (!d)
		return arena_printf(&c->arena, "/v2/%.*s/%s/%.*s", SLICE_FMT(c->repo), kind,
				    SLICE_FMT(c->tag));
	digest_format(d, digest);
	return arena_printf(&c->arena, "/v2/%.*s/%s/%s", SLICE_FMT(c->repo), kind, digest);
}

static enum step checkup_head(struct checkup *c)
{
	struct checkup_result *r = result_of(c);
	bool failed, has;

	if (c->fetch.state == FETCH_IDLE &&
	    !checkup_ask(c, &(struct fetch_opts){ .target = target_of(c, "manifests", NULL),
						  .scope = c->scope,
						  .accept = oci_accept_manifests,
						  .head = true }))
		return checkup_fail(c, -ENOMEM);
	has = checkup_has_head(c, &failed);
	if (!has && !failed)
		return STEP_WAIT;
	if (checkup_learn(c)) {
		/* Without a token nothing was asked: the failure is the token server's. */
		c->results[CHECKUP_TOKEN].verdict = CHECKUP_WELL;
		if (!checkup_has_token(c) && (failed || c->fetch.msg.status != 200)) {
			c->results[CHECKUP_TOKEN] = *r;
			*r = (struct checkup_result){ 0 };
			c->step = CHECKUP_TOKEN;
			checkup_settle(c, CHECKUP_FAILED);
			return checkup_end(c);
		}
	}
	if (failed || c->fetch.msg.status != 200) {
		checkup_settle(c, CHECKUP_FAILED);
		return checkup_end(c);
	}
	checkup_date(c);
	if (!digest_parse(msg_field(&c->fetch.msg, "Docker-Content-Digest"), &c->digest))
		return checkup_fail(c, ERR_HTTP);
	checkup_settle(c, CHECKUP_WELL);
	return checkup_next(c, CHECKUP_MANIFEST);
}

/* Docker Hub counts what comes now. */
static bool checkup_spares(struct checkup *c)
{
	struct quotas *q = upstream_of(c)->quotas;
	struct quota_view v;

	for (unsigned i = 0; i < quotas_count(q); i++) {
		quotas_look(q, i, proxy_now(c->proxy), &v);
		if (!v.known || v.remaining > QUOTA_SPARED)
			return false;
	}
	return true;
}

static enum step checkup_read_manifest(struct checkup *c)
{
	struct digest found;
	struct oci_piece piece;

	digest_of((enum digest_alg)c->digest.alg, buf_data(&c->body), &found);
	if (!digest_eq(&found, &c->digest))
		return checkup_fail(c, ERR_DIGEST);
	piece = oci_manifest_piece(&c->arena, buf_data(&c->body));
	if (!digest_parse(piece.digest, &c->digest) || (piece.child && c->child))
		return checkup_fail(c, ERR_HTTP);
	c->child = piece.child;
	c->blob_bytes = piece.bytes;
	c->body.head = c->body.tail = 0;
	if (piece.child)
		return checkup_next(c, CHECKUP_MANIFEST);
	checkup_settle(c, CHECKUP_WELL);
	return checkup_next(c, CHECKUP_BLOB);
}

static enum step checkup_manifest(struct checkup *c)
{
	bool failed;
	int n;

	if (c->fetch.state == FETCH_IDLE && checkup_spares(c))
		return checkup_end(c);
	if (c->fetch.state == FETCH_IDLE &&
	    !checkup_ask(c, &(struct fetch_opts){ .target = target_of(c, "manifests", &c->digest),
						  .scope = c->scope,
						  .accept = oci_accept_manifests }))
		return checkup_fail(c, -ENOMEM);
	if (!checkup_has_head(c, &failed))
		return failed ? checkup_fail(c, c->fetch.err) : STEP_WAIT;
	if (c->fetch.msg.status != 200) {
		checkup_settle(c, CHECKUP_FAILED);
		return checkup_end(c);
	}
	n = fetch_pull_all(&c->fetch, &c->body, MANIFEST_MAX);
	if (n == 0)
		return STEP_WAIT;
	return n == ERR_EOF ? checkup_read_manifest(c) : checkup_fail(c, n);
}

static enum step checkup_blob(struct checkup *c)
{
	const uint64_t last = c->blob_bytes > BLOB_BYTES ? BLOB_BYTES : c->blob_bytes - 1;
	bool failed;
	int n;

	if (c->fetch.state == FETCH_IDLE && c->blob_bytes < 2)
		return checkup_end(c); /* nothing that a range could be of */
	if (c->fetch.state == FETCH_IDLE &&
	    !checkup_ask(c, &(struct fetch_opts){ .target = target_of(c, "blobs", &c->digest),
						  .scope = c->scope,
						  .from = 1,
						  .to = last }))
		return checkup_fail(c, -ENOMEM);
	if (!checkup_has_head(c, &failed))
		return failed ? checkup_fail(c, c->fetch.err) : STEP_WAIT;
	if (c->fetch.redirects > 0)
		snprintf(c->blob_host, sizeof(c->blob_host), "%.*s", SLICE_FMT(c->fetch.at.host));
	c->ranges = fetch_is_range(&c->fetch, 1, last, c->blob_bytes);
	if (c->ranges) {
		n = fetch_pull_all(&c->fetch, &c->body, BLOB_READ_MAX);
		if (n == 0)
			return STEP_WAIT;
		if (n != ERR_EOF || buf_len(&c->body) != last)
			return checkup_fail(c, n == ERR_EOF ? ERR_SHORT : n);
	}
	checkup_settle(c, c->ranges || c->fetch.msg.status == 200 ? CHECKUP_WELL : CHECKUP_FAILED);
	return checkup_end(c);
}

static void checkup_run(struct task *task)
{
	struct checkup *c = container_of(task, struct checkup, task);
	enum step s = STEP_MORE;

	while (s == STEP_MORE) {
		switch (c->step) {
		case CHECKUP_NAME: s = checkup_name(c); break;
		case CHECKUP_PING: s = checkup_ping(c); break;
		case CHECKUP_TOKEN: s = checkup_token(c); break;
		case CHECKUP_HEAD: s = checkup_head(c); break;
		case CHECKUP_MANIFEST: s = checkup_manifest(c); break;
		case CHECKUP_BLOB: s = checkup_blob(c); break;
		case CHECKUP_STEPS: return;
		}
	}
}

static void checkup_late(struct timer *t)
{
	struct checkup *c = container_of(t, struct checkup, timer);

	(void)checkup_fail(c, -ETIMEDOUT);
}

bool checkup_image(struct slice image, struct slice *repo, struct slice *tag)
{
	*tag = image;
	*repo = slice_cut(tag, ':');
	if (repo->len == image.len)
		*tag = SLICE("latest");
	return oci_name_ok(*repo) && oci_tag_ok(*tag);
}

void checkup_start(struct checkup *c)
{
	struct proxy *p = c->proxy;

	arena_init(&c->arena, CHECKUP_ARENA);
	task_init(&c->task, checkup_run);
	timer_init(&c->timer, checkup_late);
	list_init(&c->wait.node);
	c->wait.task = &c->task;
	c->begun_ms = proxy_now(p);
	if (c->image && !checkup_image(slice_of(c->image), &c->repo, &c->tag))
		c->image = NULL;
	c->scope = c->image ? oci_pull_scope(&c->arena, c->repo) : NULL;
	loop_timer_set(p->loop, &c->timer, proxy_now(p) + CHECKUP_MS);
	loop_wake(p->loop, &c->task);
}

void checkup_fini(struct checkup *c)
{
	assert(c->step == CHECKUP_STEPS);
	list_remove(&c->wait.node);
	if (c->pool)
		uppool_put(c->pool);
	loop_unwake(c->proxy->loop, &c->task);
	free(c->body.mem);
	arena_fini(&c->arena);
}
