/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The state as JSON.  Keys are binding: the page, `sluice top` and people's scripts read them.
 * README.md names them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/version.h"
#include "proxy/admin.h"
#include "proxy/put.h"
#include "proxy/tenant.h"
#include "proxy/uppool.h"

enum { TOP_SHOWN = 20 };

static const char *const outcome_words[] = {
	[UPCONN_OK] = "ok",           [UPCONN_CONNECT] = "connect", [UPCONN_TLS] = "tls",
	[UPCONN_TIMEOUT] = "timeout", [UPCONN_5XX] = "5xx",         [UPCONN_BAD] = "wrong bytes",
	[UPCONN_CHECK] = "check",
};

static cJSON *add_row(cJSON *list)
{
	cJSON *row = cJSON_CreateObject();

	if (row && !cJSON_AddItemToArray(list, row)) {
		cJSON_Delete(row);
		return NULL;
	}
	return row;
}

static void put_counters(cJSON *to, const struct shared *s, const struct cache_totals *t)
{
	for (unsigned id = 0; id < STAT_COUNT; id++)
		put_uint(to, stat_infos[id].metric, admin_sum(s, t, id));
}

static void put_cache(cJSON *to, const struct config *c, const struct cache_totals *t)
{
	put_uint(to, "bytes", t->bytes);
	put_uint(to, "size_bytes", c->cache.size_bytes);
	put_uint(to, "blobs", t->blobs);
	put_uint(to, "evictions", t->evictions);
	(void)cJSON_AddBoolToObject(to, "scanning", t->scanning);
	(void)cJSON_AddBoolToObject(to, "usable", t->usable);
}

static void put_mirrors(cJSON *list, const struct admin_view *v)
{
	const struct config *c = v->setup->config;

	for (unsigned i = 0; i < c->mirrors_count; i++) {
		cJSON *row = add_row(list);
		cJSON *requests = cJSON_AddObjectToObject(row, "requests");
		cJSON *bytes = cJSON_AddObjectToObject(row, "bytes_down");
		struct meter m;

		admin_meter(v->shared, c->mirrors[i].name, &m);
		(void)cJSON_AddStringToObject(row, "mirror", c->mirrors[i].name);
		for (unsigned how = 0; how < METER_HOWS; how++) {
			put_uint(requests, meter_how_names[how], m.requests[how]);
			put_uint(bytes, meter_how_names[how], m.bytes[how]);
		}
		put_uint(row, "bytes_up", m.bytes_up);
		put_uint(row, "fills_ok", m.fills);
		put_uint(row, "fills_failed", m.fills_failed);
	}
}

static bool put_quota(void *arg, const struct admin_quota *q)
{
	cJSON *row = add_row(arg);

	(void)cJSON_AddStringToObject(row, "mirror", q->mirror->name);
	(void)cJSON_AddStringToObject(row, "upstream", q->up->text);
	(void)cJSON_AddStringToObject(row, "account", q->account);
	(void)cJSON_AddStringToObject(row, "source", q->source);
	if (q->v.known) {
		put_uint(row, "limit", q->v.limit);
		put_uint(row, "remaining", q->v.remaining);
	}
	put_uint(row, "rest_s", q->v.rest_s);
	return true;
}

static void put_members(cJSON *list, const struct admin_view *v)
{
	struct uppool_row *rows = calloc(UPPOOL_ROWS_MAX, sizeof(*rows));
	unsigned count = rows ? uppool_rows(v->shared, v->now_ms, rows) : 0;

	for (unsigned i = 0; i < count; i++) {
		cJSON *row = add_row(list);

		(void)cJSON_AddStringToObject(row, "host", rows[i].host);
		(void)cJSON_AddStringToObject(row, "address", rows[i].member);
		put_uint(row, "connections", rows[i].in_use);
		put_uint(row, "workers_out", rows[i].out);
		put_uint(row, "ejections", rows[i].ejections);
		put_uint(row, "latency_ms", rows[i].latency_us / 1000);
		if (rows[i].out)
			(void)cJSON_AddStringToObject(row, "why", outcome_words[rows[i].why]);
	}
	free(rows);
}

static void put_fill(cJSON *list, const struct board_fill *f)
{
	cJSON *row = add_row(list);

	(void)cJSON_AddStringToObject(row, "mirror", f->mirror);
	(void)cJSON_AddStringToObject(row, "repository", f->repo);
	(void)cJSON_AddStringToObject(row, "digest", f->digest);
	(void)cJSON_AddStringToObject(row, "kind", f->manifest ? "manifest" : "blob");
	put_uint(row, "bytes", f->bytes);
	if (f->size != BLOB_SIZE_UNKNOWN)
		put_uint(row, "size", f->size);
	put_uint(row, "ms", f->ms);
}

/* What the workers' boards say: each is looked at once. */
static void put_boards(cJSON *to, const struct shared *s)
{
	struct board_view *view = calloc(1, sizeof(*view));
	struct top *top = calloc(1, sizeof(*top));
	cJSON *fills = cJSON_AddArrayToObject(to, "fills");
	cJSON *images = cJSON_AddArrayToObject(to, "top");
	uint64_t running = 0;

	for (unsigned i = 0; view && top && i < s->workers; i++) {
		board_look(&container_of(s->stats[i], struct proxy, stats)->board, view);
		top_merge(top, &view->top);
		running += view->fills_count;
		for (unsigned k = 0; k < view->fills_shown; k++)
			put_fill(fills, &view->fills[k]);
	}
	put_uint(to, "fills_running", running);
	if (top)
		top_sort(top);
	for (unsigned i = 0; top && i < top->used && i < TOP_SHOWN; i++) {
		cJSON *row = add_row(images);

		put_text(row, "image", top_name(&top->v[i]));
		put_uint(row, "requests", top->v[i].count);
		put_uint(row, "error", top->v[i].error);
		put_uint(row, "bytes", top->v[i].bytes);
	}
	free(view);
	free(top);
}

static void put_certificates(cJSON *list, const struct setup *s)
{
	for (unsigned i = 0; s->tls && i < s->config->certs_count; i++) {
		cJSON *row = add_row(list);
		int64_t left_s = tls_server_expires(s->tls, i) - time(NULL);

		(void)cJSON_AddStringToObject(row, "certificate", s->config->certs[i].name);
		(void)cJSON_AddNumberToObject(row, "expires",
					      (double)tls_server_expires(s->tls, i));
		(void)cJSON_AddNumberToObject(row, "days_left", (double)(left_s / (24 * 3600)));
	}
}

static void put_tenant(void *list, const struct tenant_view *t)
{
	cJSON *row = add_row(list);

	(void)cJSON_AddStringToObject(row, "tenant", t->name);
	put_uint(row, "connections", t->connections);
	put_uint(row, "connections_max", t->connections_max);
	put_uint(row, "requests", t->requests);
	put_uint(row, "refused", t->refused);
	put_uint(row, "bytes", t->bytes);
	put_uint(row, "month_bytes", t->month_bytes);
	put_uint(row, "quota_bytes", t->quota_bytes);
	put_uint(row, "rate_bytes", t->rate_bytes);
}

/* Takes <root>. */
static char *print(cJSON *root, struct arena *a)
{
	char *text = cJSON_PrintUnformatted(root);
	char *out = text ? arena_dup(a, slice_of(text)) : NULL;

	cJSON_free(text);
	cJSON_Delete(root);
	return out;
}

char *admin_status(const struct admin_view *v, struct arena *a)
{
	const struct shared *s = v->shared;
	cJSON *root = cJSON_CreateObject();
	struct cache_totals totals;
	char name[32];

	cache_totals(s->cache, &totals);
	(void)cJSON_AddStringToObject(root, "version", version_text());
	(void)cJSON_AddNumberToObject(root, "time", (double)time(NULL));
	(void)cJSON_AddNumberToObject(root, "started", (double)s->started_s);
	put_uint(root, "workers", s->workers);
	(void)cJSON_AddBoolToObject(root, "draining",
				    __atomic_load_n(&s->draining, __ATOMIC_RELAXED));
	(void)cJSON_AddStringToObject(root, "congestion", admin_congestion(s, name, sizeof(name)));
	put_counters(cJSON_AddObjectToObject(root, "counters"), s, &totals);
	put_cache(cJSON_AddObjectToObject(root, "cache"), v->setup->config, &totals);
	put_mirrors(cJSON_AddArrayToObject(root, "mirrors"), v);
	admin_quotas(v, put_quota, cJSON_AddArrayToObject(root, "quotas"));
	put_members(cJSON_AddArrayToObject(root, "members"), v);
	put_boards(root, s);
	tenants_each(s->tenants, v->setup->config, put_tenant,
		     cJSON_AddArrayToObject(root, "tenants"));
	put_certificates(cJSON_AddArrayToObject(root, "certificates"), v->setup);
	return print(root, a);
}

char *admin_history(const struct admin_view *v, uint64_t since_ms, struct arena *a)
{
	struct history_sample *all = calloc(HISTORY_SAMPLES, sizeof(*all));
	cJSON *root = cJSON_CreateObject();
	cJSON *list = cJSON_AddArrayToObject(root, "samples");
	unsigned n = all ? history_look(&v->shared->history, since_ms, all) : 0;

	put_uint(root, "now", v->now_ms);
	for (unsigned i = 0; i < n; i++) {
		cJSON *row = add_row(list);

		put_uint(row, "at", all[i].at_ms);
		put_uint(row, "bytes_down", all[i].bytes_down);
		put_uint(row, "bytes_cache", all[i].bytes_cache);
		put_uint(row, "bytes_up", all[i].bytes_up);
		put_uint(row, "requests", all[i].requests);
		put_uint(row, "hits", all[i].hits);
		put_uint(row, "misses", all[i].misses);
	}
	free(all);
	return print(root, a);
}
