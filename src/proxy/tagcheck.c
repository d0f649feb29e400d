/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/tagcheck.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "proxy/oci.h"
#include "proxy/pull.h"
#include "proxy/small.h"

enum { TAGCHECK_ARENA = 64 * 1024 };

static void tagcheck_run(struct task *task);

static void tagcheck_free(struct tagcheck *t)
{
	struct proxy *p = t->proxy;

	assert(list_empty(&t->waiters));
	fetch_close(&t->fetch);
	loop_unwake(p->loop, &t->task);
	list_remove(&t->node);
	p->tagchecks_count--;
	free(t->body.mem);
	arena_fini(&t->arena);
	free(t);
}

static struct tagcheck *tagcheck_find(struct proxy *p, struct mirror *m, struct slice repo,
				      struct slice tag)
{
	list_for_each(it, &p->tagchecks) {
		struct tagcheck *t = container_of(it, struct tagcheck, node);

		if (t->mirror == m && !t->done && slice_eq(t->tag, tag) && slice_eq(t->repo, repo))
			return t;
	}
	return NULL;
}

static struct slice keep(struct arena *a, struct slice s)
{
	return slice_of(arena_dup(a, s));
}

static struct tagcheck *tagcheck_new(struct proxy *p, struct mirror *m, struct slice repo,
				     struct slice tag)
{
	struct tagcheck *t = p->tagchecks_count < TAGCHECKS_MAX ? calloc(1, sizeof(*t)) : NULL;

	if (!t)
		return NULL;
	t->proxy = p;
	t->mirror = m;
	list_init(&t->node);
	list_init(&t->waiters);
	task_init(&t->task, tagcheck_run);
	arena_init(&t->arena, TAGCHECK_ARENA);
	list_push(&p->tagchecks, &t->node);
	p->tagchecks_count++;
	t->repo = keep(&t->arena, repo);
	t->tag = keep(&t->arena, tag);
	t->opts = (struct fetch_opts){
		.mirror = m,
		.owner = &t->task,
		.target = arena_printf(&t->arena, "/v2/%.*s/manifests/%.*s", SLICE_FMT(repo),
				       SLICE_FMT(tag)),
		.scope = oci_pull_scope(&t->arena, repo),
		.accept = oci_accept_manifests,
		.head = true,
	};
	if (!t->repo.ptr || !t->tag.ptr || !t->opts.target || !t->opts.scope) {
		tagcheck_free(t);
		return NULL;
	}
	stat_inc(&p->stats, STAT_TAG_CHECKS);
	fetch_start(&t->fetch, p, &t->opts);
	return t;
}

bool tagcheck_join(struct proxy *p, struct mirror *m, struct slice repo, struct slice tag,
		   struct tagwait *w)
{
	struct tagcheck *t = tagcheck_find(p, m, repo, tag);

	assert(!w->check);
	if (!t)
		t = tagcheck_new(p, m, repo, tag);
	if (!t)
		return false;
	list_init(&w->node);
	list_push(&t->waiters, &w->node);
	w->check = t;
	t->refs++;
	return true;
}

/* When the last one leaves, nobody wants to know any more. */
static void tagcheck_unref(struct tagcheck *t)
{
	assert(t->refs > 0);
	if (--t->refs == 0)
		tagcheck_free(t);
}

void tagcheck_leave(struct tagwait *w)
{
	struct tagcheck *t = w->check;

	if (!t)
		return;
	list_remove(&w->node);
	w->check = NULL;
	tagcheck_unref(t);
}

void tagcheck_refresh(struct proxy *p, struct mirror *m, struct slice repo, struct slice tag)
{
	struct tagcheck *t;

	if (p->draining || tagcheck_find(p, m, repo, tag))
		return;
	t = tagcheck_new(p, m, repo, tag);
	if (!t)
		return;
	t->refresh = true;
	t->refs++;
	stat_inc(&p->stats, STAT_TAG_REFRESHES);
}

static void tagcheck_refresh_over(struct tagcheck *t)
{
	t->refresh = false;
	tagcheck_unref(t);
}

void tagchecks_drop_refreshes(struct proxy *p)
{
	list_for_each_safe(it, &p->tagchecks) {
		struct tagcheck *t = container_of(it, struct tagcheck, node);

		if (t->refresh)
			tagcheck_refresh_over(t);
	}
}

/* The check may be gone afterwards. */
static void tagcheck_settle(struct tagcheck *t)
{
	t->done = true;
	fetch_close(&t->fetch);
	list_for_each(it, &t->waiters)
		loop_wake(t->proxy->loop, container_of(it, struct tagwait, node)->task);
	if (t->refresh)
		tagcheck_refresh_over(t);
}

/* Upstream says that the tag is gone, or not for us. */
static void tagcheck_ended(struct tagcheck *t)
{
	struct proxy *p = t->proxy;
	uint64_t keep_ms = mirror_negative_ms(t->mirror);

	tag_remove(p->cache, t->mirror->name, t->repo, t->tag);
	if (t->why.status == 404 && keep_ms)
		small_keep(p->shared->smalls, t->mirror, t->opts.target,
			   &(struct small){ 404, .body = slice_of(t->why.message) },
			   proxy_now(p) + keep_ms);
}

static void tagcheck_fail(struct tagcheck *t, int err)
{
	t->why.err = err;
	log_info("tag mirror=%s repo=%s tag=%s not checked: %s", t->mirror->conf->name,
		 LOG_Q(t->repo), LOG_Q(t->tag), err_text(err));
	tagcheck_settle(t);
}

static void tagcheck_found(struct tagcheck *t)
{
	t->record.checked_s = time(NULL);
	t->up = upstream_index(t->fetch.up);
	tag_put(t->proxy->cache, t->mirror->name, t->repo, t->tag, &t->record);
	tagcheck_settle(t);
}

static void tagcheck_get(struct tagcheck *t)
{
	t->opts.first = upstream_index(t->fetch.up);
	fetch_close(&t->fetch);
	t->whole = true;
	t->opts.head = false;
	fetch_start(&t->fetch, t->proxy, &t->opts);
}

/* (The answer to a HEAD has no words; to ask for them would cost quota.) */
static void tagcheck_refused(struct tagcheck *t)
{
	int status;

	if (!fetch_refusal(&t->fetch, &t->body, &t->why))
		return;
	status = t->why.status;
	if (status == 404 || status == 401 || status == 403)
		tagcheck_ended(t);
	tagcheck_settle(t);
}

/* The manifest itself came: its digest is the answer, and it goes into the cache. */
static void tagcheck_body(struct tagcheck *t)
{
	struct proxy *p = t->proxy;
	struct blob *blob;
	struct pull *pl;
	int type;
	int n = fetch_pull_all(&t->fetch, &t->body, MANIFEST_MAX);

	if (n == 0)
		return;
	if (n != ERR_EOF) {
		tagcheck_fail(t, n);
		return;
	}
	type = oci_manifest_type(msg_field(&t->fetch.msg, "Content-Type"), buf_data(&t->body));
	if (type <= 0) {
		tagcheck_fail(t, ERR_HTTP);
		return;
	}
	digest_of(DIGEST_SHA256, buf_data(&t->body), &t->record.digest);
	t->record.type = (uint8_t)type;
	t->record.size = buf_len(&t->body);
	pl = pull_reserve(p);
	if (!pl) {
		tagcheck_fail(t, ERR_LIMIT);
		return;
	}
	switch (cache_get(p->cache, CACHE_MANIFEST, &t->record.digest, &blob)) {
	case CACHE_MISS:
		pull_store(pl, blob, t->body.mem, buf_len(&t->body), t->record.type);
		buf_init(&t->body, NULL, 0);
		blob_unref(blob);
		break;
	case CACHE_HIT:
	case CACHE_JOIN:
		pull_drop(pl);
		blob_unref(blob);
		break;
	case CACHE_NONE: pull_drop(pl); break;
	}
	tagcheck_found(t);
}

static void tagcheck_head(struct tagcheck *t)
{
	const struct msg *m = &t->fetch.msg;
	int type;

	if (m->status == 405 || m->status == 501 ||
	    (m->status == 200 &&
	     !digest_parse(msg_field(m, "Docker-Content-Digest"), &t->record.digest))) {
		tagcheck_get(t);
		return;
	}
	if (m->status != 200) {
		tagcheck_refused(t);
		return;
	}
	type = oci_type_of(msg_field(m, "Content-Type"));
	t->record.type = type > 0 ? (uint8_t)type : 0;
	if (!http_parse_uint(msg_field(m, "Content-Length"), &t->record.size))
		t->record.size = 0;
	tagcheck_found(t);
}

static void tagcheck_run(struct task *task)
{
	struct tagcheck *t = container_of(task, struct tagcheck, task);

	if (t->done)
		return;
	if (t->fetch.state == FETCH_FAILED)
		tagcheck_fail(t, t->fetch.err);
	else if (!fetch_has_head(&t->fetch))
		return;
	else if (!t->whole)
		tagcheck_head(t);
	else if (t->fetch.msg.status != 200)
		tagcheck_refused(t);
	else
		tagcheck_body(t);
}
