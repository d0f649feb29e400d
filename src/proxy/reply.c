/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/reply.h"

#include "base/units.h"

#include "proxy/door.h"
#include "proxy/site.h"
#include "proxy/visit.h"
#include "proxy/tell.h"

static void put(struct reply_head *h, const char *name, const char *value)
{
	assert(h->count < countof(h->fields));
	h->fields[h->count++] = (struct xfer_field){ name, value };
}

void reply_head(const struct xfer *x, struct reply_head *h)
{
	assert(x->state == XFER_ANSWER);
	if (x->kind != LISTEN_ADMIN)
		stat_time(&x->proxy->stats, HIST_FIRST_BYTE, proxy_now(x->proxy) - x->begun_ms);
	h->count = 0;
	if (!site_has_date(x))
		put(h, "Date", proxy_date(x->proxy));
	for (unsigned i = 0; i < x->fields_count; i++)
		put(h, x->fields[i].name, x->fields[i].value);
	for (unsigned i = 0; i < x->more_count; i++)
		put(h, x->more[i].name, x->more[i].value);
	if (x->body_bytes == BLOB_SIZE_UNKNOWN || !http_may_have_length(x->status))
		return;
	units_format_uint(x->body_bytes, h->length);
	put(h, "Content-Length", h->length);
}

bool reply_has_body(const struct xfer *x)
{
	return x->method != METHOD_HEAD && x->status != 304 && x->body.count > 0;
}

const char *reply_broken(const struct xfer *x)
{
	return x->site ? "upstream" : x->body.err ? "cache_error" : "fill_failed";
}

void reply_count(struct xfer *x)
{
	struct stats *st = &x->proxy->stats;

	if (x->kind == LISTEN_ADMIN)
		return;
	stat_inc(st, STAT_REQUESTS);
	if (x->status >= 500)
		stat_inc(st, STAT_RESPONSES_5XX);
	else if (x->status >= 400)
		stat_inc(st, STAT_RESPONSES_4XX);
}

/* Whom this request had to wait for: "host:port" as configured, none for what was known. */
static struct slice reply_asked(const struct xfer *x)
{
	struct slice text;

	if (x->site)
		return slice_skip(slice_of(x->site->upstream.text),
				  strlen(x->site->upstream.https ? "https://" : "http://"));
	if (!x->mirror || !x->cache || strcmp(x->cache, "hit") == 0 ||
	    strcmp(x->cache, "negative") == 0)
		return SLICE_NONE;
	/* Which of several a fill asks is in the event log: it may not even be this client's. */
	if (x->mirror->ups_count > 1 && !x->fetch.up)
		return SLICE_NONE;
	text = slice_of((x->fetch.up ? x->fetch.up : &x->mirror->ups[0])->conf->text);
	return slice_skip(text, slice_find(text, '/') + 2);
}

static void reply_meter(struct xfer *x)
{
	const enum meter_how how = meter_how_of(x->cache);
	struct meter *m = x->mirror ? x->mirror->meter : NULL;
	bool image = x->path.verb == OCI_MANIFEST || x->path.verb == OCI_BLOB;

	if (!m)
		return;
	counter_add(&m->requests[how], 1);
	counter_add(&m->bytes[how], x->body.total);
	if (image && x->state == XFER_ANSWER && x->status < 400)
		board_note(x->proxy, x->mirror->name, x->route.repo, x->body.total);
}

void reply_log(struct xfer *x, const struct stream *s, const char *end)
{
	struct stats *st = &x->proxy->stats;
	struct access_line line = {
		.client = x->client.len ? &x->client : &s->peer,
		.host = x->authority,
		.mirror = x->mirror ? x->mirror->name : SLICE_NONE,
		.tenant = x->tenant ? slice_of(x->tenant->name) : SLICE_NONE,
		.method = x->method_text,
		.target = door_target(x),
		.major = x->major,
		.minor = x->minor,
		.status = x->state == XFER_ANSWER ? x->status : 499,
		.bytes = x->status == 101 && x->visit ? x->visit->down_bytes : x->body.total,
		.bytes_up = x->visit ? x->visit->up_bytes : 0,
		.ms = proxy_now(x->proxy) - x->begun_ms,
		.cache = x->cache ? x->cache : "-",
		.upstream = reply_asked(x),
		.end = end ? end : "ok",
		.user_agent = x->user_agent,
		.tls = s->tls ? s->tls_text : "-",
	};

	if (x->kind == LISTEN_ADMIN)
		return;
	tell_end(x, end == NULL);
	access_line(&x->proxy->access, &line);
	if (x->status != 101) /* that was no wait */
		stat_time(st, HIST_REQUEST, line.ms);
	reply_meter(x);
}
