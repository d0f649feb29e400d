/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/recall.h"

#include <stdio.h>

#include "proxy/answer.h"

const char *recall_target(struct xfer *x)
{
	const char *query = query_without(&x->arena, x->path.query, "ns");
	const char *sep = query && query[0] ? "?" : "";
	struct slice repo = x->route.repo;

	if (!query)
		return NULL;
	switch (x->path.verb) {
	case OCI_TAGS:
		return arena_printf(&x->arena, "/v2/%.*s/tags/list%s%s", SLICE_FMT(repo), sep,
				    query);
	case OCI_REFERRERS:
		return arena_printf(&x->arena, "/v2/%.*s/referrers/%.*s%s%s", SLICE_FMT(repo),
				    SLICE_FMT(x->path.ref), sep, query);
	case OCI_MANIFEST:
		return arena_printf(&x->arena, "/v2/%.*s/manifests/%.*s", SLICE_FMT(repo),
				    SLICE_FMT(x->path.ref));
	case OCI_BLOB:
		return arena_printf(&x->arena, "/v2/%.*s/blobs/%.*s", SLICE_FMT(repo),
				    SLICE_FMT(x->path.ref));
	default: unreachable("verb is not asked of upstream");
	}
}

static bool recall(struct xfer *x)
{
	const char *target = recall_target(x);

	assert(!x->kept);
	if (target)
		x->kept =
			small_get(x->proxy->shared->smalls, x->mirror, target, proxy_now(x->proxy));
	return x->kept != NULL;
}

static void keep(struct xfer *x, const struct small *a, uint64_t for_ms)
{
	const char *target = for_ms ? recall_target(x) : NULL;

	if (target)
		small_keep(x->proxy->shared->smalls, x->mirror, target, a,
			   proxy_now(x->proxy) + for_ms);
}

static void answer_missing(struct xfer *x)
{
	struct blob_failure why = { .status = 404 };

	snprintf(why.message, sizeof(why.message), "%.*s", SLICE_FMT(x->kept->body));
	answer_failure(x, &why);
	x->cache = "negative";
	stat_inc(&x->proxy->stats, STAT_NEGATIVE);
}

bool recall_missing(struct xfer *x)
{
	if (mirror_negative_ms(x->mirror) == 0 || !recall(x))
		return false;
	assert(x->kept->status == 404);
	answer_missing(x);
	return true;
}

bool recall_referrers(struct xfer *x)
{
	bool may = mirror_negative_ms(x->mirror) || mirror_referrers_ms(x->mirror);

	if (x->path.verb != OCI_REFERRERS || !may || !recall(x))
		return false;
	if (x->kept->status == 404) {
		answer_missing(x);
		return true;
	}
	x->cache = "hit";
	stat_inc(&x->proxy->stats, STAT_REFERRERS_KEPT);
	answer_small(x, x->kept, x->kept->body.len);
	return true;
}

void recall_keep(struct xfer *x, const struct small *a)
{
	if (x->path.verb == OCI_REFERRERS && x->method == METHOD_GET)
		keep(x, a, mirror_referrers_ms(x->mirror));
}

void recall_keep_missing(struct xfer *x, const struct blob_failure *why)
{
	if (why->status == 404 && (x->path.ref_is_digest || x->path.verb == OCI_REFERRERS))
		keep(x, &(struct small){ 404, .body = slice_of(why->message) },
		     mirror_negative_ms(x->mirror));
}

void recall_drop(struct xfer *x)
{
	if (x->kept)
		small_put(x->kept);
	x->kept = NULL;
}
