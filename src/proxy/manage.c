/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/manage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "proxy/admin.h"
#include "proxy/holdings.h"
#include "proxy/image.h"
#include "proxy/oci.h"
#include "proxy/put.h"

enum { MANAGE_ARENA = 1024 * 1024 };

static printf_like(2, 3) bool fail(struct manage *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->why, sizeof(m->why), fmt, ap);
	va_end(ap);
	return false;
}

/* Takes <row>.  False: no memory, or nobody reads on. */
static bool say(struct manage *m, cJSON *row)
{
	char *text = cJSON_PrintUnformatted(row);
	bool ok = text && m->line(m->ctx, text);

	cJSON_free(text);
	cJSON_Delete(row);
	return ok ? true : fail(m, "no memory, or the asker has gone");
}

static void put_digest(cJSON *to, const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	digest_format(d, text);
	(void)cJSON_AddStringToObject(to, "digest", text);
}

static struct holdings *look(struct manage *m)
{
	struct holdings *h = holdings_new(m->shared->cache, m->setup->config);

	if (!h)
		(void)fail(m, "no memory to look at the whole cache");
	return h;
}

bool manage_status(struct manage *m)
{
	struct admin_view v = { m->shared, m->setup, 0 };
	struct timespec ts;
	struct arena a;
	char *text;
	bool ok;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	v.now_ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	arena_init(&a, MANAGE_ARENA);
	text = admin_status(&v, &a);
	ok = text && m->line(m->ctx, text);
	arena_fini(&a);
	return ok ? true : fail(m, "no memory, or the asker has gone");
}

/* ---- ls ---- */

static void name_of(const struct holding_tag *t, char out[PIN_NAME_MAX])
{
	snprintf(out, PIN_NAME_MAX, "%.*s/%.*s:%.*s", SLICE_FMT(t->mirror), SLICE_FMT(t->repo),
		 SLICE_FMT(t->tag));
}

static bool say_tag(struct manage *m, struct holdings *h, const struct holding_tag *t)
{
	struct holding_sum sum = { 0 };
	cJSON *row = cJSON_CreateObject();
	char name[PIN_NAME_MAX];

	holdings_begin(h);
	holdings_walk(h, t->root, &sum, NULL, NULL);
	name_of(t, name);
	(void)cJSON_AddStringToObject(row, "image", name);
	put_text(row, "mirror", t->mirror);
	put_text(row, "repository", t->repo);
	put_text(row, "tag", t->tag);
	put_digest(row, &t->record.digest);
	(void)cJSON_AddStringToObject(row, "type", oci_types[t->record.type].media_type);
	(void)cJSON_AddBoolToObject(row, "cached", t->root >= 0);
	put_uint(row, "bytes", sum.bytes);
	put_uint(row, "manifests", sum.manifests);
	put_uint(row, "blobs", sum.blobs);
	put_uint(row, "missing", sum.missing);
	put_uint(row, "absent", sum.absent);
	put_uint(row, "used", sum.used_s);
	put_uint(row, "checked", (uint64_t)t->record.checked_s);
	(void)cJSON_AddBoolToObject(row, "pinned", pins_have(m->shared->pins, name));
	return say(m, row);
}

static bool say_item(struct manage *m, const struct cache_item *i)
{
	cJSON *row = cJSON_CreateObject();

	put_digest(row, &i->digest);
	(void)cJSON_AddStringToObject(row, "kind",
				      cache_kind_is_blob(i->kind) ? "blob" : "manifest");
	(void)cJSON_AddStringToObject(row, "type", oci_types[i->type].media_type);
	put_uint(row, "bytes", i->size);
	put_uint(row, "used", i->used_s);
	(void)cJSON_AddBoolToObject(row, "pinned", i->pinned);
	(void)cJSON_AddBoolToObject(row, "private", cache_kind_owner(i->kind) != 0);
	return say(m, row);
}

/* Told after the walk, so that no line is sent while a manifest is parsed. */
struct parts {
	struct holding **v;
	size_t count;
};

static void part_add(void *arg, struct holding *of)
{
	struct parts *p = arg;

	p->v[p->count++] = of;
}

static bool ls_image(struct manage *m, struct holdings *h, const char *text)
{
	struct parts parts = { .v = calloc(h->count + 1, sizeof(*parts.v)) };
	struct holding_sum sum = { 0 };
	struct image_name n;
	const char *why;
	struct arena a;
	int64_t root = -1;
	bool ok = parts.v != NULL;

	arena_init(&a, MANAGE_ARENA);
	if (!ok)
		(void)fail(m, "no memory");
	else if (!image_name_parse(&a, m->setup->config, slice_of(text), &n, &why))
		ok = fail(m, "%.200s: %.250s", text, why);
	else if ((root = holdings_image(h, m->setup->config, &n)) < 0)
		ok = fail(m, "%.400s is not in the cache", text);
	arena_fini(&a);
	if (ok) {
		holdings_begin(h);
		holdings_walk(h, root, &sum, part_add, &parts);
	}
	for (size_t i = 0; ok && i < parts.count; i++)
		ok = say_item(m, &parts.v[i]->item);
	free(parts.v);
	return ok;
}

bool manage_ls(struct manage *m, const char *what)
{
	struct holdings *h = look(m);
	bool ok = h != NULL;

	if (!ok)
		return false;
	if (strcmp(what, "images") == 0)
		for (size_t i = 0; ok && i < h->tags_count; i++)
			ok = say_tag(m, h, &h->tags[i]);
	else if (strcmp(what, "blobs") == 0)
		for (size_t i = 0; ok && i < h->count; i++)
			ok = say_item(m, &h->v[i].item);
	else
		ok = ls_image(m, h, what);
	holdings_free(h);
	return ok;
}

/* ---- du ---- */

static void count_user(void *arg, struct holding *of)
{
	(void)arg;
	of->users++;
}

static void sum_own(void *arg, struct holding *of)
{
	if (of->users == 1)
		*(uint64_t *)arg += of->item.size;
}

/* The tags from number <i> on that are of one mirror (and one repository): their number. */
static size_t group_of(const struct holdings *h, size_t i, bool by_repo)
{
	size_t n = 1;

	while (i + n < h->tags_count && slice_eq(h->tags[i + n].mirror, h->tags[i].mirror) &&
	       (!by_repo || slice_eq(h->tags[i + n].repo, h->tags[i].repo)))
		n++;
	return n;
}

static void walk_group(struct holdings *h, size_t from, size_t n, struct holding_sum *sum,
		       void (*each)(void *arg, struct holding *of), void *arg)
{
	*sum = (struct holding_sum){ 0 };
	holdings_begin(h);
	for (size_t i = from; i < from + n; i++)
		holdings_walk(h, h->tags[i].root, sum, each, arg);
}

static bool du_by(struct manage *m, struct holdings *h, bool by_repo)
{
	struct holding_sum sum;
	bool ok = true;
	size_t n;

	for (size_t i = 0; i < h->count; i++)
		h->v[i].users = 0;
	for (size_t i = 0; i < h->tags_count; i += n) {
		n = group_of(h, i, by_repo);
		walk_group(h, i, n, &sum, count_user, NULL);
	}
	for (size_t i = 0; ok && i < h->tags_count; i += n) {
		cJSON *row = cJSON_CreateObject();
		uint64_t own = 0;

		n = group_of(h, i, by_repo);
		walk_group(h, i, n, &sum, sum_own, &own);
		put_text(row, "mirror", h->tags[i].mirror);
		if (by_repo)
			put_text(row, "repository", h->tags[i].repo);
		put_uint(row, "tags", n);
		put_uint(row, "bytes", sum.bytes);
		put_uint(row, "own_bytes", own);
		put_uint(row, "used", sum.used_s);
		ok = say(m, row);
	}
	return ok;
}

bool manage_du(struct manage *m)
{
	struct holdings *h = look(m);
	uint64_t bytes = 0, untagged = 0;
	cJSON *row;
	bool ok;

	if (!h)
		return false;
	ok = du_by(m, h, false) && du_by(m, h, true);
	for (size_t i = 0; i < h->count; i++) {
		bytes += h->v[i].item.size;
		untagged += h->v[i].users ? 0 : h->v[i].item.size;
	}
	row = cJSON_CreateObject();
	put_uint(row, "bytes", bytes);
	put_uint(row, "untagged_bytes", untagged);
	put_uint(row, "size_bytes", m->setup->config->cache.size_bytes);
	ok = say(m, row) && ok;
	holdings_free(h);
	return ok;
}

/* ---- pin ---- */

static bool canonical(struct manage *m, const char *text, char out[PIN_NAME_MAX])
{
	struct image_name n;
	const char *why = "";
	struct arena a;
	bool ok;

	arena_init(&a, MANAGE_ARENA);
	ok = image_name_parse(&a, m->setup->config, slice_of(text), &n, &why);
	if (!ok)
		(void)fail(m, "%.200s: %.250s", text, why);
	else if (!pin_name(m->setup->config, &n, out))
		ok = fail(m, "%.300s: longer than %u bytes", text, PIN_NAME_MAX);
	arena_fini(&a);
	return ok;
}

bool manage_pin(struct manage *m, const char *text, bool on)
{
	char name[PIN_NAME_MAX];
	cJSON *row;
	int err;

	if (!canonical(m, text, name))
		return false;
	err = on ? pins_add(m->shared->pins, name) : pins_remove(m->shared->pins, name);
	if (err == -ENOSPC && on)
		return fail(m, "%u images are pinned already, or the disk is full: unpin some",
			    PINS_MAX);
	if (err < 0)
		return fail(m, "the file \"pins\" in the cache's folder cannot be written: %s",
			    err_text(err));
	if (err == 0 && !on)
		return fail(m, "%.400s is not pinned", name);
	log_info("pin image=%s %s", name, on ? "stays" : "may go");
	row = cJSON_CreateObject();
	(void)cJSON_AddStringToObject(row, "image", name);
	(void)cJSON_AddBoolToObject(row, "pinned", on);
	(void)cJSON_AddBoolToObject(row, "changed", err == 1);
	return say(m, row);
}

bool manage_pins(struct manage *m)
{
	char name[PIN_NAME_MAX];
	bool ok = true;

	for (unsigned i = 0; ok && pins_get(m->shared->pins, i, name); i++) {
		cJSON *row = cJSON_CreateObject();

		(void)cJSON_AddStringToObject(row, "image", name);
		ok = say(m, row);
	}
	return ok;
}

/* ---- purge ---- */

struct purge {
	struct cache *cache;
	uint64_t blobs, bytes;
	uint64_t kept; /* others need them */
};

static void purge_one(void *arg, struct holding *of)
{
	struct purge *p = arg;

	if (of->users || of->item.pinned) {
		p->kept++;
	} else if (cache_purge(p->cache, of->item.kind, &of->item.digest)) {
		p->blobs++;
		p->bytes += of->item.size;
	}
}

static bool tag_is_of(struct manage *m, const struct holding_tag *t, const struct image_name *n,
		      const char *mirror)
{
	const struct config *c = m->setup->config;
	char name[PIN_NAME_MAX];

	name_of(t, name);
	if (pins_have(m->shared->pins, name))
		return false;
	if (mirror)
		return slice_eq(t->mirror, slice_of(mirror));
	return !n->ref_is_digest && slice_eq(t->mirror, slice_of(c->mirrors[n->mirror].name)) &&
	       slice_eq(t->repo, n->repo) && slice_eq(t->tag, n->ref);
}

/* Of one image, or (<mirror>) of all of a mirror's.  Returns how many tags went. */
static size_t purge_tags(struct manage *m, struct holdings *h, const struct image_name *n,
			 const char *mirror, struct purge *p)
{
	const struct config *c = m->setup->config;
	struct holding_sum sum = { 0 };
	size_t tags = 0;

	holdings_begin(h);
	for (size_t i = 0; i < h->tags_count; i++)
		if (!tag_is_of(m, &h->tags[i], n, mirror))
			holdings_walk(h, h->tags[i].root, &sum, count_user, NULL);
	if (h->failed)
		return 0;
	holdings_begin(h);
	for (size_t i = 0; i < h->tags_count; i++) {
		if (!tag_is_of(m, &h->tags[i], n, mirror))
			continue;
		/* First, so that nobody is led to what is going. */
		tag_remove(m->shared->cache, h->tags[i].mirror, h->tags[i].repo, h->tags[i].tag);
		holdings_walk(h, h->tags[i].root, &sum, purge_one, p);
		tags++;
	}
	if (!mirror && n->ref_is_digest)
		holdings_walk(h, holdings_image(h, c, n), &sum, purge_one, p);
	return tags;
}

static void purge_digest(struct holdings *h, const struct digest *d, struct purge *p)
{
	for (size_t i = 0; i < h->count; i++)
		if (digest_eq(&h->v[i].item.digest, d))
			purge_one(p, &h->v[i]);
}

static const char *mirror_named(const struct config *c, const char *text)
{
	for (unsigned i = 0; i < c->mirrors_count; i++)
		if (slice_ieq(slice_of(c->mirrors[i].name), slice_of(text)))
			return c->mirrors[i].name;
	return NULL;
}

static bool purge_named(struct manage *m, struct holdings *h, const char *what, struct purge *p,
			size_t *tags)
{
	const char *mirror = mirror_named(m->setup->config, what);
	struct image_name n = { .mirror = -1 };
	char name[PIN_NAME_MAX];
	const char *why = "";
	struct digest d;
	struct arena a;
	bool ok = true;

	arena_init(&a, MANAGE_ARENA);
	if (digest_parse(slice_of(what), &d))
		purge_digest(h, &d, p);
	else if (mirror)
		*tags = purge_tags(m, h, &n, mirror, p);
	else if (!image_name_parse(&a, m->setup->config, slice_of(what), &n, &why))
		ok = fail(m, "%.200s: %.250s", what, why);
	else if (pin_name(m->setup->config, &n, name) && pins_have(m->shared->pins, name))
		ok = fail(m, "%.350s is pinned: sluice unpin takes that away", name);
	else
		*tags = purge_tags(m, h, &n, NULL, p);
	arena_fini(&a);
	if (ok && h->failed)
		ok = fail(m, "no memory to see what other images need");
	return ok;
}

bool manage_purge(struct manage *m, const char *what)
{
	struct purge p = { .cache = m->shared->cache };
	struct holdings *h = look(m);
	size_t tags = 0;
	cJSON *row;
	bool ok;

	if (!h)
		return false;
	ok = purge_named(m, h, what, &p, &tags);
	holdings_free(h);
	if (!ok)
		return false;
	if (tags == 0 && p.blobs == 0 && p.kept == 0)
		return fail(m, "%.400s is not in the cache", what);
	log_info("purge what=%s tags=%zu files=%ju bytes=%ju kept=%ju", LOG_Q(slice_of(what)), tags,
		 (uintmax_t)p.blobs, (uintmax_t)p.bytes, (uintmax_t)p.kept);
	row = cJSON_CreateObject();
	(void)cJSON_AddStringToObject(row, "purged", what);
	put_uint(row, "tags", tags);
	put_uint(row, "files", p.blobs);
	put_uint(row, "bytes", p.bytes);
	put_uint(row, "kept", p.kept);
	return say(m, row);
}
