/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/admin.h"

#include <inttypes.h>

#include "base/buf.h"
#include "base/version.h"
#include "proxy/uppool.h"

/* HELP, TYPE and value of one metric take less. */
enum { METRIC_BYTES_MAX = 512, METRICS_MORE = 5, MEMBER_LINES = 3 * (UPPOOL_ROWS_MAX + 1) };

static void put(struct buf *out, const struct stat_info *i, const char *labels, uint64_t value)
{
	bool fits = buf_printf(out,
			       "# HELP sluice_%s %s\n"
			       "# TYPE sluice_%s %s\n"
			       "sluice_%s%s %" PRIu64 "\n",
			       i->metric, i->help, i->metric, i->kind, i->metric, labels, value);

	assert(fits);
}

/* What the cache counts itself, once for all workers: these counters are in no worker's block. */
static uint64_t of_cache(const struct cache_totals *t, enum stat_id id)
{
	switch ((int)id) {
	case STAT_EVICTIONS: return t->evictions;
	case STAT_CACHE_ERRORS: return t->errors;
	case STAT_CACHE_DAMAGED: return t->damaged;
	case STAT_SCRUBBED_BLOBS: return t->scrubbed_blobs;
	case STAT_SCRUBBED_BYTES: return t->scrubbed_bytes;
	default: return 0;
	}
}

static uint64_t sum(const struct shared *s, enum stat_id id)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->workers; i++)
		n += stat_get(s->stats[i], id);
	return n;
}

static void put_gauges(struct buf *out, const struct cache_totals *t, struct arena *a)
{
	static const struct stat_info bytes = { "cache_bytes", "gauge",
						"Bytes of complete files in the cache." };
	static const struct stat_info blobs = { "cache_blobs", "gauge",
						"Complete files in the cache." };
	static const struct stat_info scanning = {
		"cache_scanning", "gauge", "1 while the cache's folders are being read at start."
	};
	static const struct stat_info usable = {
		"cache_usable", "gauge", "0 while the disk fails: what is not cached is relayed."
	};
	static const struct stat_info build = { "build_info", "gauge",
						"The version that runs; always 1." };
	const char *version = arena_printf(a, "{version=\"%s\"}", version_text());

	put(out, &bytes, "", t->bytes);
	put(out, &blobs, "", t->blobs);
	put(out, &scanning, "", t->scanning);
	put(out, &usable, "", t->usable);
	put(out, &build, version ? version : "", 1);
}

char *admin_metrics(struct proxy *p, struct arena *a)
{
	const size_t cap = (STAT_COUNT + METRICS_MORE + MEMBER_LINES) * (size_t)METRIC_BYTES_MAX;
	char *mem = arena_alloc(a, cap);
	struct cache_totals totals;
	struct buf out;

	if (!mem)
		return NULL;
	buf_init(&out, mem, cap - 1); /* arena memory is zeroed: the NUL is there */
	cache_totals(p->cache, &totals);
	for (unsigned id = 0; id < STAT_COUNT; id++)
		put(&out, &stat_infos[id], "", sum(p->shared, id) + of_cache(&totals, id));
	put_gauges(&out, &totals, a);
	uppool_metrics(p, &out);
	return mem;
}
