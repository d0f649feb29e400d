/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/admin.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/version.h"
#include "proxy/tenant.h"
#include "proxy/uppool.h"

/*
 * Counters, gauges and histograms have their place for sure; members, accounts and mirrors are as
 * many as the configuration and upstreams' answers make them: what does not fit is left out.
 */
enum {
	METRIC_BYTES_MAX = 512, /* HELP, TYPE and value of one metric take less */
	METRICS_BYTES_MAX = 768 * 1024,
};
_Static_assert((STAT_COUNT + 12 + HIST_COUNT * 4) * METRIC_BYTES_MAX < METRICS_BYTES_MAX / 4,
	       "most of it is for what grows with the configuration");

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

uint64_t admin_sum(const struct shared *s, const struct cache_totals *t, enum stat_id id)
{
	uint64_t n = of_cache(t, id);

	for (unsigned i = 0; i < s->workers; i++)
		n += stat_get(s->stats[i], id);
	return n;
}

static struct proxy *worker_of(const struct shared *s, unsigned i)
{
	return container_of(s->stats[i], struct proxy, stats);
}

void admin_meter(const struct shared *s, const char *mirror, struct meter *out)
{
	*out = (struct meter){ 0 };
	for (unsigned i = 0; i < s->workers; i++)
		meters_sum(&worker_of(s, i)->meters, slice_of(mirror), out);
}

const char *admin_congestion(const struct shared *s, char *out, size_t out_len)
{
	socklen_t len = (socklen_t)out_len - 1;
	int fd;

	memset(out, 0, out_len);
	if (s->tuning.congestion) {
		snprintf(out, out_len, "%s", s->tuning.congestion);
		return out;
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, out, &len) < 0)
		snprintf(out, out_len, "unknown");
	if (fd >= 0)
		close(fd);
	return out;
}

static void put_gauges(struct buf *out, const struct admin_view *v, const struct cache_totals *t,
		       struct arena *a)
{
	const struct config *c = v->setup->config;
	const struct {
		struct stat_info info;
		uint64_t value;
	} gauges[] = {
		{ { "cache_bytes", "gauge", "Bytes of complete files in the cache." }, t->bytes },
		{ { "cache_size_bytes", "gauge", "What they may be at most (size)." },
		  c->cache.size_bytes },
		{ { "cache_blobs", "gauge", "Complete files in the cache." }, t->blobs },
		{ { "cache_scanning", "gauge",
		    "1 while the cache's folders are being read at start." },
		  t->scanning },
		{ { "cache_usable", "gauge",
		    "0 while the disk fails: what is not cached is relayed." },
		  t->usable },
		{ { "workers", "gauge", "Threads that serve." }, v->shared->workers },
		{ { "start_time_seconds", "gauge", "When the server started, as Unix time." },
		  (uint64_t)v->shared->started_s },
	};
	static const struct stat_info build = { "build_info", "gauge",
						"The version that runs; always 1." };
	static const struct stat_info congestion = {
		"congestion_info", "gauge",
		"Congestion control of connections to clients; always 1."
	};
	char name[32];
	const char *label = arena_printf(a, "{version=\"%s\"}", version_text());

	for (unsigned i = 0; i < countof(gauges); i++)
		put(out, &gauges[i].info, "", gauges[i].value);
	put(out, &build, label ? label : "", 1);
	label = arena_printf(a, "{algorithm=\"%s\"}", admin_congestion(v->shared, name, 32));
	put(out, &congestion, label ? label : "", 1);
}

/* The upstreams', in the order of setup->quotas; until <each> says false. */
void admin_quotas(const struct admin_view *v, bool (*each)(void *arg, const struct admin_quota *q),
		  void *arg)
{
	const struct config *c = v->setup->config;
	struct quotas **quotas = v->setup->quotas;

	for (unsigned m = 0; m < c->mirrors_count; m++)
		for (unsigned u = 0; u < c->mirrors[m].upstreams.count; u++, quotas++)
			for (unsigned n = 0; n < quotas_count(*quotas); n++) {
				struct setup_account a = setup_account(c, &c->mirrors[m], u, n);
				struct admin_quota q = {
					.mirror = &c->mirrors[m],
					.up = &c->mirrors[m].upstreams.v[u],
					.account = a.login && a.login->user ? a.login->user : "",
					.source = a.source_text,
				};

				quotas_look(*quotas, n, v->now_ms, &q.v);
				if ((q.v.known || q.v.rest_s) && !each(arg, &q))
					return;
			}
}

static uint64_t row_limit(const struct admin_quota *q)
{
	return q->v.limit;
}

static uint64_t row_remaining(const struct admin_quota *q)
{
	return q->v.remaining;
}

static uint64_t row_rest(const struct admin_quota *q)
{
	return q->v.rest_s;
}

static const struct quota_gauge {
	struct stat_info info;
	bool needs_known;
	uint64_t (*value)(const struct admin_quota *q);
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

/* What does not fit is left out, by whole lines. */
static bool put_whole(struct buf *out, struct buf keep, bool fits)
{
	if (fits)
		return true;
	*out = keep;
	*buf_tail(out) = '\0';
	return false;
}

static bool put_head(struct buf *out, const char *metric, const char *kind, const char *help)
{
	return buf_printf(out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", metric, help, metric,
			  kind);
}

struct quota_put {
	struct buf *out;
	const struct quota_gauge *gauge;
};

static bool put_quota(void *arg, const struct admin_quota *q)
{
	struct quota_put *p = arg;
	struct buf *out = p->out;
	struct buf keep = *out;

	if (p->gauge->needs_known && !q->v.known)
		return true;
	return put_whole(out, keep,
			 buf_printf(out, "sluice_%s{", p->gauge->info.metric) &&
				 put_label(out, "mirror", q->mirror->name) &&
				 buf_printf(out, ",") && put_label(out, "upstream", q->up->text) &&
				 buf_printf(out, ",") && put_label(out, "account", q->account) &&
				 (!q->source[0] ||
				  (buf_printf(out, ",") && put_label(out, "source", q->source))) &&
				 buf_printf(out, "} %" PRIu64 "\n", p->gauge->value(q)));
}

static void put_quotas(struct buf *out, const struct admin_view *v)
{
	for (unsigned i = 0; i < countof(quota_gauges); i++) {
		struct quota_put p = { out, &quota_gauges[i] };
		const struct stat_info *info = &p.gauge->info;

		if (put_head(out, info->metric, info->kind, info->help))
			admin_quotas(v, put_quota, &p);
	}
}

/* Buckets count what is at most as long as they say: cumulative. */
static void put_hist(struct buf *out, const struct shared *s, enum hist_id id)
{
	const struct hist_info *i = &hist_infos[id];
	struct hist h = { 0 };
	uint64_t n = 0;
	bool fits = put_head(out, i->metric, "histogram", i->help);

	for (unsigned w = 0; w < s->workers; w++)
		hist_sum(&h, &s->stats[w]->hist[id]);
	for (unsigned b = 0; b < HIST_BOUNDS; b++) {
		n += h.counts[b];
		fits = fits && buf_printf(out, "sluice_%s_bucket{le=\"%s\"} %" PRIu64 "\n",
					  i->metric, hist_bounds[b].text, n);
	}
	n += h.counts[HIST_BOUNDS];
	fits = fits && buf_printf(out,
				  "sluice_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n"
				  "sluice_%s_sum %" PRIu64 ".%03u\n"
				  "sluice_%s_count %" PRIu64 "\n",
				  i->metric, n, i->metric, h.sum_ms / 1000,
				  (unsigned)(h.sum_ms % 1000), i->metric, n);
	assert(fits);
}

enum { BY_REQUESTS, BY_BYTES, BY_UP, BY_FILLS, BY_FAILED, BY_COUNT };

static const struct stat_info meter_infos[BY_COUNT] = {
	[BY_REQUESTS] = { "mirror_requests_total", "counter",
			  "Requests of a mirror, by what became of them (cache, as in the log)." },
	[BY_BYTES] = { "mirror_bytes_down_total", "counter",
		       "Body bytes sent to clients, by mirror and cache." },
	[BY_UP] = { "mirror_bytes_up_total", "counter",
		    "Body bytes received from a mirror's upstreams." },
	[BY_FILLS] = { "mirror_fills_ok_total", "counter", "Fills published, by mirror." },
	[BY_FAILED] = { "mirror_fills_failed_total", "counter", "Fills given up, by mirror." },
};

static bool put_meter_line(struct buf *out, unsigned by, const char *mirror, const char *cache,
			   uint64_t value)
{
	struct buf keep = *out;

	return put_whole(out, keep,
			 buf_printf(out, "sluice_%s{", meter_infos[by].metric) &&
				 put_label(out, "mirror", mirror) &&
				 (!cache || buf_printf(out, ",cache=\"%s\"", cache)) &&
				 buf_printf(out, "} %" PRIu64 "\n", value));
}

static bool put_meter(struct buf *out, unsigned by, const char *mirror, const struct meter *m)
{
	const uint64_t *split = by == BY_REQUESTS ? m->requests : m->bytes;
	bool fits = true;

	switch (by) {
	case BY_UP: return put_meter_line(out, by, mirror, NULL, m->bytes_up);
	case BY_FILLS: return put_meter_line(out, by, mirror, NULL, m->fills);
	case BY_FAILED: return put_meter_line(out, by, mirror, NULL, m->fills_failed);
	}
	for (unsigned how = 0; how < METER_HOWS && fits; how++)
		fits = put_meter_line(out, by, mirror, meter_how_names[how], split[how]);
	return fits;
}

/* A metric's lines stand together. */
static void put_meters(struct buf *out, const struct admin_view *v)
{
	const struct config *c = v->setup->config;
	struct meter m;
	bool fits;

	for (unsigned by = 0; by < BY_COUNT; by++) {
		fits = put_head(out, meter_infos[by].metric, meter_infos[by].kind,
				meter_infos[by].help);
		for (unsigned i = 0; i < c->mirrors_count && fits; i++) {
			admin_meter(v->shared, c->mirrors[i].name, &m);
			fits = put_meter(out, by, c->mirrors[i].name, &m);
		}
	}
}

enum {
	TENANT_BYTES,
	TENANT_MONTH,
	TENANT_QUOTA,
	TENANT_CONNECTIONS,
	TENANT_REQUESTS,
	TENANT_REFUSED,
	TENANT_METRICS
};

static const struct stat_info tenant_infos[TENANT_METRICS] = {
	[TENANT_BYTES] = { "tenant_bytes_total", "counter", "Bytes sent to a tenant." },
	[TENANT_MONTH] = { "tenant_month_bytes", "gauge", "Of these, in this month (UTC)." },
	[TENANT_QUOTA] = { "tenant_quota_bytes", "gauge", "What a month may have; 0: all." },
	[TENANT_CONNECTIONS] = { "tenant_connections", "gauge", "Connections of a tenant." },
	[TENANT_REQUESTS] = { "tenant_requests_total", "counter", "Requests of a tenant." },
	[TENANT_REFUSED] = { "tenant_refused_total", "counter",
			     "Of these, refused: for its limits, or what it may not have." },
};

struct tenant_put {
	struct buf *out;
	unsigned which;
	bool fits;
};

static void put_tenant(void *arg, const struct tenant_view *t)
{
	const uint64_t values[TENANT_METRICS] = {
		[TENANT_BYTES] = t->bytes,       [TENANT_MONTH] = t->month_bytes,
		[TENANT_QUOTA] = t->quota_bytes, [TENANT_CONNECTIONS] = t->connections,
		[TENANT_REQUESTS] = t->requests, [TENANT_REFUSED] = t->refused,
	};
	struct tenant_put *p = arg;
	struct buf keep = *p->out;

	p->fits = p->fits &&
		  put_whole(p->out, keep,
			    buf_printf(p->out, "sluice_%s{", tenant_infos[p->which].metric) &&
				    put_label(p->out, "tenant", t->name) &&
				    buf_printf(p->out, "} %" PRIu64 "\n", values[p->which]));
}

static void put_tenants(struct buf *out, const struct admin_view *v)
{
	for (unsigned i = 0; i < TENANT_METRICS; i++) {
		struct tenant_put p = { out, i, true };

		p.fits = put_head(out, tenant_infos[i].metric, tenant_infos[i].kind,
				  tenant_infos[i].help);
		tenants_each(v->shared->tenants, v->setup->config, put_tenant, &p);
	}
}

static void put_certificates(struct buf *out, const struct admin_view *v)
{
	const struct config *c = v->setup->config;
	bool fits = put_head(out, "certificate_expires_seconds", "gauge",
			     "When a certificate ends, as Unix time.");

	for (unsigned i = 0; v->setup->tls && i < c->certs_count && fits; i++) {
		struct buf keep = *out;

		fits = put_whole(out, keep,
				 buf_printf(out, "sluice_certificate_expires_seconds{") &&
					 put_label(out, "certificate", c->certs[i].name) &&
					 buf_printf(out, "} %" PRId64 "\n",
						    tls_server_expires(v->setup->tls, i)));
	}
}

char *admin_metrics(const struct admin_view *v, struct arena *a)
{
	char *mem = arena_alloc(a, METRICS_BYTES_MAX);
	struct cache_totals totals;
	struct buf out;

	if (!mem)
		return NULL;
	buf_init(&out, mem, METRICS_BYTES_MAX - 1); /* zeroed: the NUL is there */
	cache_totals(v->shared->cache, &totals);
	for (unsigned id = 0; id < STAT_COUNT; id++)
		put(&out, &stat_infos[id], "", admin_sum(v->shared, &totals, id));
	put_gauges(&out, v, &totals, a);
	for (unsigned id = 0; id < HIST_COUNT; id++)
		put_hist(&out, v->shared, id);
	put_certificates(&out, v);
	uppool_metrics(v->shared, v->now_ms, &out);
	put_quotas(&out, v);
	put_meters(&out, v);
	put_tenants(&out, v);
	return mem;
}
