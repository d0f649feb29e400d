/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/site.h"

#include <errno.h>

#include "base/err.h"
#include "http/forward.h"
#include "proxy/answer.h"
#include "proxy/forwarded.h"
#include "proxy/visit.h"

bool site_take(struct xfer *x, const struct xfer_request *r)
{
	const struct config *c = x->proxy->config;
	struct visit_opts o = {
		.msg = r->msg,
		.client = r->client,
		.https = x->kind == LISTEN_HTTPS || x->forwarded_https,
		.believed = c->server.trusted.count == 0 ||
			    forwarded_trusts(&c->server.trusted, r->client),
		.owner = x->owner,
		.arena = &x->arena,
	};
	int i;

	if (x->kind != LISTEN_HTTPS && x->kind != LISTEN_PLAIN)
		return false;
	i = config_site(c, x->host);
	if (i < 0)
		return false;
	stat_inc(&x->proxy->stats, STAT_SITE_REQUESTS);
	o.site = (unsigned)i;
	x->site = &c->sites[i];
	x->mirror = &x->proxy->mirrors[c->mirrors_count + c->passes_count + o.site];
	x->cache = "site";
	x->body.counted = false; /* by counters of its own */
	x->visit = visit_new(x->proxy, &o);
	return true;
}

bool site_has_date(const struct xfer *x)
{
	return x->more_count > 0 && msg_field(&x->visit->msg, "Date").ptr;
}

static void site_refuse(struct xfer *x, int status, const char *why)
{
	const char *text = arena_printf(&x->arena, "%s: %s\n", x->site->name, why);

	answer_text(x, status, "text/plain", text ? text : "out of memory\n");
	if (status == 503)
		answer_field(x, "Retry-After", "5");
}

static bool is_refused_method(const struct xfer *x)
{
	/* What a request carried when it came here is nobody's business (RFC 9110 9.3.8). */
	return slice_eq(x->method_text, SLICE("TRACE")) ||
	       slice_eq(x->method_text, SLICE("CONNECT"));
}

static void site_failed(struct xfer *x)
{
	int err = x->visit->err;

	if (x->visit->client_slow) {
		site_refuse(x, 408, "the request's body did not come");
		x->close = true;
	} else if (err == -ETIMEDOUT || err == ERR_DNS_TIMEOUT) {
		site_refuse(x, 504, "its server does not answer");
	} else if (err == ERR_LIMIT || err == ERR_BUSY || err == -ENOMEM) {
		site_refuse(x, 503, "too many requests at once");
	} else {
		site_refuse(x, 502, "its server cannot be reached, or gave no answer");
	}
}

/* False: no memory. */
static bool site_fields(struct xfer *x)
{
	const struct msg *m = &x->visit->msg;
	struct xfer_field *fields = arena_alloc(&x->arena, m->fields_count * sizeof(*fields) + 1);

	if (!fields)
		return false;
	for (unsigned i = 0; i < m->fields_count; i++) {
		struct xfer_field *f = &fields[x->more_count];

		if (!forward_answer_has(m, i))
			continue;
		f->name = arena_dup(&x->arena, m->fields[i].name);
		f->value = arena_dup(&x->arena, m->fields[i].value);
		if (!f->name || !f->value)
			return false;
		x->more_count++;
	}
	x->more = fields;
	return true;
}

static void site_answer(struct xfer *x)
{
	const struct msg *m = &x->visit->msg;
	struct segment *s = arena_alloc(&x->arena, sizeof(*s));

	if (!s || !site_fields(x)) {
		x->more_count = 0;
		visit_fail(x->visit, -ENOMEM);
		site_refuse(x, 503, "out of memory");
		return;
	}
	x->status = m->status;
	x->state = XFER_ANSWER;
	x->body_bytes = BLOB_SIZE_UNKNOWN;
	if (m->body == BODY_LENGTH)
		x->body_bytes = m->body_bytes;
	else if (m->body == BODY_NONE && x->method != METHOD_HEAD)
		x->body_bytes = 0;
	else if (x->method == METHOD_HEAD &&
		 !http_parse_uint(msg_field(m, "Content-Length"), &x->body_bytes))
		x->body_bytes = BLOB_SIZE_UNKNOWN;
	if (m->body == BODY_NONE)
		return;
	*s = (struct segment){ .bytes = x->body_bytes };
	body_set(&x->body, s, 1, NULL);
	x->body.visit = x->visit;
}

bool site_run(struct xfer *x)
{
	if (!x->visit) {
		site_refuse(x, 503, "too many requests at once");
		return true;
	}
	if (is_refused_method(x)) {
		site_refuse(x, 405, "this method is not passed on");
		return true;
	}
	if (!visit_run(x->visit))
		return false;
	if (visit_has_head(x->visit))
		site_answer(x);
	else
		site_failed(x);
	return true;
}
