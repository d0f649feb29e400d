/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/holdings.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "proxy/generation.h"
#include "proxy/image.h"
#include "proxy/oci.h"
#include "proxy/pull.h"

static int compare_keys(uint32_t kind_a, const struct digest *a, uint32_t kind_b,
			const struct digest *b)
{
	if (kind_a != kind_b)
		return kind_a < kind_b ? -1 : 1;
	return memcmp(a, b, sizeof(*a));
}

static int compare_holdings(const void *pa, const void *pb)
{
	const struct holding *a = pa, *b = pb;

	return compare_keys(a->item.kind, &a->item.digest, b->item.kind, &b->item.digest);
}

static int compare_slices(struct slice a, struct slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n ? memcmp(a.ptr, b.ptr, n) : 0;

	return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

static int compare_tags(const void *pa, const void *pb)
{
	const struct holding_tag *a = pa, *b = pb;
	int order = compare_slices(a->mirror, b->mirror);

	if (!order)
		order = compare_slices(a->repo, b->repo);
	return order ? order : compare_slices(a->tag, b->tag);
}

static int64_t find(const struct holdings *h, uint32_t kind, const struct digest *d)
{
	size_t low = 0, high = h->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct cache_item *i = &h->v[mid].item;
		int order = compare_keys(i->kind, &i->digest, kind, d);

		if (order == 0)
			return (int64_t)mid;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return -1;
}

static int mirror_index(const struct config *c, struct slice name)
{
	for (unsigned i = 0; i < c->mirrors_count; i++)
		if (slice_eq(slice_of(c->mirrors[i].name), name))
			return (int)i;
	return -1;
}

static int64_t find_manifest(const struct holdings *h, const struct config *c, int mirror,
			     const struct digest *d)
{
	uint32_t owner = mirror >= 0 ? mirror_conf_owner(&c->mirrors[mirror]) : 0;

	return find(h, owner | CACHE_MANIFEST, d);
}

int64_t holdings_image(const struct holdings *h, const struct config *config,
		       const struct image_name *n)
{
	const struct holding_tag *t;
	struct digest d;

	if (n->ref_is_digest)
		return digest_parse(n->ref, &d) ? find_manifest(h, config, n->mirror, &d) : -1;
	t = holdings_tag(h, slice_of(config->mirrors[n->mirror].name), n->repo, n->ref);
	return t ? t->root : -1;
}

struct tags_made {
	struct holdings *h;
	size_t cap;
};

static bool tag_copy(struct holding_tag *to, const struct cache_tag *t)
{
	char *mem = malloc(t->registry.len + t->repo.len + t->tag.len);
	char *at = mem;

	if (!mem)
		return false;
	at = mempcpy(at, t->registry.ptr, t->registry.len);
	at = mempcpy(at, t->repo.ptr, t->repo.len);
	memcpy(at, t->tag.ptr, t->tag.len);
	to->mirror = (struct slice){ mem, t->registry.len };
	to->repo = (struct slice){ mem + t->registry.len, t->repo.len };
	to->tag = (struct slice){ at, t->tag.len };
	return true;
}

static void tag_add(void *arg, const struct cache_tag *t)
{
	struct tags_made *m = arg;
	struct holdings *h = m->h;
	struct holding_tag *to;

	if (h->tags_count == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 64;
		struct holding_tag *more = reallocarray(h->tags, cap, sizeof(*more));

		if (!more) {
			h->failed = true;
			return;
		}
		h->tags = more;
		m->cap = cap;
	}
	to = &h->tags[h->tags_count];
	*to = (struct holding_tag){ .record = t->record };
	if (!tag_copy(to, t)) {
		h->failed = true;
		return;
	}
	to->root = -1; /* until all is sorted */
	h->tags_count++;
}

struct holdings *holdings_new(struct cache *c, const struct config *config)
{
	struct holdings *h = calloc(1, sizeof(*h));
	struct cache_item *items = NULL;
	int64_t count = h ? cache_list(c, &items) : -1;
	struct tags_made made = { h, 0 };

	if (count >= 0) {
		h->cache = c;
		h->v = calloc((size_t)count + 1, sizeof(*h->v));
		h->mem = malloc(MANIFEST_MAX);
		h->failed = !h->v || !h->mem;
	}
	for (int64_t i = 0; count > 0 && h->v && i < count; i++)
		h->v[h->count++].item = items[i];
	free(items);
	if (!h || count < 0 || h->failed) {
		holdings_free(h);
		return NULL;
	}
	qsort(h->v, h->count, sizeof(*h->v), compare_holdings);
	if (!cache_tags(c, tag_add, &made) || h->failed) {
		holdings_free(h);
		return NULL;
	}
	for (size_t i = 0; i < h->tags_count; i++)
		h->tags[i].root = find_manifest(h, config, mirror_index(config, h->tags[i].mirror),
						&h->tags[i].record.digest);
	if (h->tags_count)
		qsort(h->tags, h->tags_count, sizeof(*h->tags), compare_tags);
	return h;
}

void holdings_free(struct holdings *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->count; i++)
		free(h->v[i].parts);
	for (size_t i = 0; i < h->tags_count; i++)
		free((void *)(uintptr_t)h->tags[i].mirror.ptr);
	free(h->tags);
	free(h->v);
	free(h->mem);
	free(h);
}

const struct holding_tag *holdings_tag(const struct holdings *h, struct slice mirror,
				       struct slice repo, struct slice tag)
{
	const struct holding_tag wanted = { .mirror = mirror, .repo = repo, .tag = tag };

	if (h->tags_count == 0)
		return NULL;
	return bsearch(&wanted, h->tags, h->tags_count, sizeof(wanted), compare_tags);
}

/* What cannot be read has no parts: it is evicted, or found damaged, by whom that concerns. */
static void parse(struct holdings *h, struct holding *of)
{
	struct image_part *parts;
	int n = cache_read(h->cache, &of->item, h->mem, MANIFEST_MAX);

	of->parsed = true;
	n = n > 0 ? image_parts_parse((struct slice){ h->mem, (size_t)n }, &parts) : -1;
	if (n < 0)
		return;
	of->parts = calloc((size_t)n + 1, sizeof(*of->parts));
	h->failed = h->failed || !of->parts;
	for (int i = 0; of->parts && i < n; i++) {
		uint32_t owner = cache_kind_owner(of->item.kind);
		int64_t at = find(h, owner | (parts[i].manifest ? CACHE_MANIFEST : CACHE_BLOB),
				  &parts[i].digest);

		if (at >= 0)
			of->parts[of->parts_count++] = (uint32_t)at;
		else if (parts[i].manifest)
			of->manifests_missing++;
		else
			of->blobs_missing++;
	}
	free(parts);
}

void holdings_begin(struct holdings *h)
{
	h->marks++;
}

static void visit(struct holdings *h, struct holding *of, unsigned depth, struct holding_sum *sum,
		  void (*each)(void *arg, struct holding *of), void *arg)
{
	bool manifest = !cache_kind_is_blob(of->item.kind);

	if (of->mark == h->marks || depth == HOLDING_DEPTH_MAX)
		return;
	of->mark = h->marks;
	if (manifest && !of->parsed)
		parse(h, of);
	sum->bytes += of->item.size;
	sum->manifests += manifest;
	sum->blobs += !manifest;
	sum->missing += of->blobs_missing;
	sum->absent += of->manifests_missing;
	sum->pinned += of->item.pinned;
	if (of->item.used_s > sum->used_s)
		sum->used_s = of->item.used_s;
	if (each)
		each(arg, of);
	for (unsigned i = 0; i < of->parts_count; i++)
		visit(h, &h->v[of->parts[i]], depth + 1, sum, each, arg);
}

void holdings_walk(struct holdings *h, int64_t root, struct holding_sum *sum,
		   void (*each)(void *arg, struct holding *of), void *arg)
{
	if (root >= 0)
		visit(h, &h->v[root], 0, sum, each, arg);
}
