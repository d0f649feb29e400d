/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/admin.h"

#include <inttypes.h>

#include "base/buf.h"
#include "base/version.h"
#include "proxy/uppool.h"

/* HELP, TYPE and value of one metric take less. */
enum {
	METRIC_BYTES_MAX = 512,
	METRICS_MORE = 5,
	MEMBER_LINES = 3 * (UPPOOL_ROWS_MAX + 1),
	QUOTA_BYTES_MAX = 128 * 1024,
};

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

/* The upstream's, in the order of shared->quotas. */
struct quota_row {
	const struct conf_mirror *mirror;
	const struct conf_upstream *up;
	const char *account; /* its user's name; "": nobody */
	const char *source;  /* our address that it is known by, or "" */
	struct quota_view v;
};

static uint64_t row_limit(const struct quota_row *r)
{
	return r->v.limit;
}

static uint64_t row_remaining(const struct quota_row *r)
{
	return r->v.remaining;
}

static uint64_t row_rest(const struct quota_row *r)
{
	return r->v.rest_s;
}

static const struct {
	struct stat_info info;
	bool needs_known;
	uint64_t (*value)(const struct quota_row *r);
} quota_gauges[] = {
	{ { "upstream_quota_limit", "gauge", "Requests that upstream allows an account." },
	  true,
	  row_limit },
	{ { "upstream_quota_remaining", "gauge", "Of these, what it said is left." },
	  true,
	  row_remaining },
	{ { "upstream_rest_seconds", "gauge",
	    "Time for which upstream told an account to send nothing." },
	  false,
	  row_rest },
};

/* A label's value: backslash, quote and newline are what Prometheus escapes. */
static bool put_label(struct buf *out, const char *name, const char *value)
{
	bool fits = buf_printf(out, "%s=\"", name);

	for (; *value && fits; value++) {
		if (*value == '"' || *value == '\\')
			fits = buf_printf(out, "\\");
		fits = fits && buf_printf(out, "%c", *value);
	}
	return fits && buf_printf(out, "\"");
}

static bool put_row(struct buf *out, unsigned gauge, const struct quota_row *r)
{
	if (quota_gauges[gauge].needs_known && !r->v.known)
		return true;
	return buf_printf(out, "sluice_%s{", quota_gauges[gauge].info.metric) &&
	       put_label(out, "mirror", r->mirror->name) && buf_printf(out, ",") &&
	       put_label(out, "upstream", r->up->text) && buf_printf(out, ",") &&
	       put_label(out, "account", r->account) &&
	       (!r->source[0] || (buf_printf(out, ",") && put_label(out, "source", r->source))) &&
	       buf_printf(out, "} %" PRIu64 "\n", quota_gauges[gauge].value(r));
}

/* Of one gauge, all accounts that were ever told anything; what does not fit is left out. */
static void put_quota_gauge(struct buf *out, const struct proxy *p, unsigned gauge)
{
	const struct stat_info *i = &quota_gauges[gauge].info;
	struct quota_row r;
	struct buf keep;

	if (!buf_printf(out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", i->metric, i->help,
			i->metric, i->kind))
		return;
	for (unsigned m = 0; m < p->config->mirrors_count; m++)
		for (unsigned u = 0; u < p->mirrors[m].ups_count; u++) {
			struct upstream *up = &p->mirrors[m].ups[u];

			for (unsigned n = 0; n < quotas_count(up->quotas); n++) {
				struct setup_account a = upstream_who(up, n);

				r = (struct quota_row){
					.mirror = p->mirrors[m].conf,
					.up = up->conf,
					.account = a.login ? a.login->user : "",
					.source = a.source_text,
				};
				quotas_look(up->quotas, n, proxy_now(p), &r.v);
				keep = *out;
				if ((r.v.known || r.v.rest_s) && !put_row(out, gauge, &r)) {
					*out = keep;
					*buf_tail(out) = '\0';
					return;
				}
			}
		}
}

char *admin_metrics(struct proxy *p, struct arena *a)
{
	const size_t cap = (STAT_COUNT + METRICS_MORE + MEMBER_LINES) * (size_t)METRIC_BYTES_MAX +
			   QUOTA_BYTES_MAX;
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
	for (unsigned i = 0; i < countof(quota_gauges); i++)
		put_quota_gauge(&out, p, i);
	return mem;
}
