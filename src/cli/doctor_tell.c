/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "base/err.h"
#include "cli/doctor.h"
#include "proxy/checkup.h"

enum { LEFT_FEW = 20, WHY_TEXT = 700 };

struct telling {
	struct findings *f;
	const struct checkup *c;
	char about[600];
};

#define TELL(t, verdict, check, ...) found((t)->f, verdict, (t)->about, check, __VA_ARGS__)

static const struct checkup_result *step(const struct telling *t, enum checkup_step s)
{
	return &t->c->results[s];
}

/* Why it failed, and what to do about it where that is known. */
static const char *why(const struct checkup_result *r, char out[WHY_TEXT])
{
	const char *fix = "";

	switch (r->err) {
	case ERR_TLS_CERT:
		fix = " (a wrong clock, a CA of its own: `ca`, or somebody between)";
		break;
	case ERR_ADDR_PRIVATE: fix = " (private = yes does)"; break;
	case ERR_DNS_TIMEOUT: fix = " ([resolver] nameservers names others)"; break;
	case -ETIMEDOUT: fix = " (a firewall, or `via` an outgoing proxy)"; break;
	default: break;
	}
	if (r->err)
		snprintf(out, WHY_TEXT, "%s%s", err_text(r->err), fix);
	else
		snprintf(out, WHY_TEXT, "status %d%s%s%s", r->status,
			 r->status == 429   ? ": too many requests"
			 : r->status == 401 ? ": a login is wanted, or refused"
					    : "",
			 r->said[0] ? ": " : "", r->said);
	return out;
}

static void tell_name(const struct telling *t)
{
	const struct checkup *c = t->c;
	const struct checkup_result *r = step(t, CHECKUP_NAME);
	char text[WHY_TEXT];
	size_t n = 0;

	if (r->verdict == CHECKUP_FAILED) {
		TELL(t, FOUND_WRONG, "dns", "Its name gives no address: %s.", why(r, text));
		return;
	}
	if (c->by_via) {
		TELL(t, FOUND_WELL, "dns", "An outgoing proxy looks up its name.");
		return;
	}
	text[0] = '\0';
	for (unsigned i = 0; i < c->addrs_count && i < CHECKUP_ADDRS; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? ", " : "",
				      c->addrs[i]);
	TELL(t, FOUND_WELL, "dns", "%u address%s: %s%s.", c->addrs_count,
	     c->addrs_count == 1 ? "" : "es", text, c->addrs_count > CHECKUP_ADDRS ? ", ..." : "");
}

static void tell_ping(const struct telling *t)
{
	const struct checkup_result *r = step(t, CHECKUP_PING);
	char text[WHY_TEXT];

	if (r->verdict == CHECKUP_WELL)
		TELL(t, FOUND_WELL, "ping", "It answers /v2/ in %ju ms%s.", (uintmax_t)r->ms,
		     r->status == 401 ? ", and wants a token" : "");
	else if (r->verdict == CHECKUP_FAILED)
		TELL(t, FOUND_WRONG, "ping", "It does not answer /v2/ as a registry: %s.",
		     why(r, text));
	if (t->c->mirror->conf->auth == AUTH_CLIENT && r->verdict == CHECKUP_WELL)
		TELL(t, FOUND_WELL, "token", "Each client asks it by a login of its own.");
}

/* Without an image, a token server may well refuse a token for nothing. */
static void tell_token(const struct telling *t)
{
	const struct checkup *c = t->c;
	const struct checkup_result *r = step(t, CHECKUP_TOKEN);
	char text[WHY_TEXT];

	if (r->verdict == CHECKUP_SKIPPED)
		return;
	if (r->verdict == CHECKUP_WELL)
		TELL(t, FOUND_WELL, "token", "%s%s gives a token%s.", c->basic ? "It" : "Its ",
		     c->basic ? "" : c->realm,
		     c->mirror->conf->accounts_count ? " to the account" : "");
	else if (!c->image)
		TELL(t, FOUND_NOTE, "token",
		     "No token for nothing in particular (%s): `probe_image` in [mirror %s] "
		     "names an image to ask for.",
		     why(r, text), c->mirror->conf->name);
	else
		TELL(t, FOUND_WRONG, "token", "Its token server %s gives no token: %s.", c->realm,
		     why(r, text));
}

static void tell_image(const struct telling *t)
{
	const struct checkup *c = t->c;
	const struct checkup_result *head = step(t, CHECKUP_HEAD);
	const struct checkup_result *body = step(t, CHECKUP_MANIFEST);
	char text[WHY_TEXT];

	if (head->verdict == CHECKUP_WELL)
		TELL(t, FOUND_WELL, "head", "It knows %s (HEAD), in %ju ms.", c->image,
		     (uintmax_t)head->ms);
	else if (head->verdict == CHECKUP_FAILED)
		TELL(t, FOUND_WRONG, "head", "It does not give %s (HEAD): %s.", c->image,
		     why(head, text));
	if (body->verdict == CHECKUP_WELL)
		TELL(t, FOUND_WELL, "manifest", "The manifest came, and its digest is right.");
	else if (body->verdict == CHECKUP_FAILED)
		TELL(t, FOUND_WRONG, "manifest", "The manifest did not come: %s.", why(body, text));
	else if (head->verdict == CHECKUP_WELL)
		TELL(t, FOUND_NOTE, "manifest",
		     "The manifest was not asked for: that would cost what little of the quota "
		     "is left.");
}

static void tell_blob(const struct telling *t)
{
	const struct checkup *c = t->c;
	const struct checkup_result *r = step(t, CHECKUP_BLOB);
	char text[WHY_TEXT];

	if (r->verdict == CHECKUP_SKIPPED)
		return;
	if (r->verdict == CHECKUP_FAILED) {
		TELL(t, FOUND_WRONG, "blob", "A blob of it does not come%s%s: %s.",
		     c->blob_host[0] ? " from " : "", c->blob_host, why(r, text));
		return;
	}
	TELL(t, FOUND_WELL, "redirect", "Its blobs come from %s, in %ju ms.",
	     c->blob_host[0] ? c->blob_host : "itself", (uintmax_t)r->ms);
	if (c->ranges)
		TELL(t, FOUND_WELL, "range", "It gives ranges: what breaks off is gone on with.");
	else
		TELL(t, FOUND_NOTE, "range",
		     "It gives no ranges: what breaks off begins anew, and on one connection.");
}

static void tell_quota(const struct telling *t)
{
	struct upstream *up = &t->c->mirror->ups[t->c->up];
	struct quota_view v;

	for (unsigned i = 0; i < quotas_count(up->quotas); i++) {
		struct setup_account a = upstream_who(up, i);
		const char *who = a.login ? a.login->user : a.source ? a.source_text : "anonymous";

		quotas_look(up->quotas, i, proxy_now(t->c->proxy), &v);
		if (!v.known)
			continue;
		TELL(t,
		     v.remaining < LEFT_FEW && v.remaining * 5 < v.limit ? FOUND_NOTE : FOUND_WELL,
		     "quota", "%ju of %ju requests are left (%s).", (uintmax_t)v.remaining,
		     (uintmax_t)v.limit, who);
	}
}

static void tell_probe(const struct telling *t)
{
	const struct conf_mirror *m = t->c->mirror->conf;

	if (m->auth != AUTH_CLIENT && !t->c->image &&
	    step(t, CHECKUP_PING)->verdict == CHECKUP_WELL)
		TELL(t, FOUND_NOTE, "head",
		     "No image of it was asked for: `probe_image` in [mirror %s] names one.",
		     m->name);
}

void doctor_tell(struct findings *f, const struct checkup *c)
{
	struct telling t = { .f = f, .c = c };

	snprintf(t.about, sizeof(t.about), "[mirror %s] %s", c->mirror->conf->name,
		 c->mirror->ups[c->up].conf->text);
	tell_name(&t);
	tell_ping(&t);
	tell_token(&t);
	tell_image(&t);
	tell_blob(&t);
	tell_quota(&t);
	tell_probe(&t);
}
