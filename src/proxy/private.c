/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/private.h"

#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "http/range.h"
#include "proxy/answer.h"
#include "proxy/door.h"
#include "proxy/gate.h"
#include "proxy/login.h"
#include "proxy/recall.h"

void private_forget(struct xfer *x)
{
	if (x->authorization)
		explicit_bzero(x->authorization, strlen(x->authorization));
	free(x->authorization);
	x->authorization = NULL;
}

const char *private_challenge(struct xfer *x)
{
	const struct upstream *up = private_up(x);
	const char *name = x->mirror->conf->name;
	const char *scope = "";
	const char *prefix;

	if (!up->realm || x->path.verb == OCI_NONE)
		return NULL;
	if (up->basic)
		return arena_printf(&x->arena, "Basic realm=\"%s\"", name);
	if (x->route.repo.len)
		scope = arena_printf(&x->arena, ",scope=\"repository:%.*s:pull\"",
				     SLICE_FMT(x->route.repo));
	prefix = door_prefix(x);
	return scope && prefix ? arena_printf(&x->arena,
					      "Bearer realm=\"https://%.*s%s" LOGIN_PREFIX
					      "%s\",service=\"%s\"%s",
					      SLICE_FMT(x->authority), prefix, name, name, scope)
			       : NULL;
}

static void private_unauthorized(struct xfer *x)
{
	answer_error(x, 401, "UNAUTHORIZED", SLICE("authentication required"));
	answer_field(x, "WWW-Authenticate", private_challenge(x));
}

bool private_is_safe(struct xfer *x)
{
	if (x->kind == LISTEN_HTTPS || x->forwarded_https)
		return true;
	answer_error(x, 403, "DENIED",
		     SLICE("this mirror asks for credentials, and answers by https only"));
	return false;
}

/* ---- may this client have it? ---- */

static void private_key(struct xfer *x, struct gate_key *key)
{
	char digest[DIGEST_TEXT_MAX];
	struct slice parts[] = {
		x->mirror->name,
		slice_of(private_up(x)->conf->text),
		slice_of(x->authorization),
		x->route.repo,
		x->path.verb == OCI_BLOB ? SLICE("blob") : SLICE("manifest"),
		SLICE_NONE,
	};

	digest_format(&x->digest, digest);
	parts[countof(parts) - 1] = slice_of(digest);
	gate_key_of(x->proxy->gate, parts, countof(parts), key);
}

/* A manifest by HEAD, which costs no quota; a blob's first byte, since storage refuses HEAD. */
static bool private_ask(struct xfer *x)
{
	bool blob = x->path.verb == OCI_BLOB;

	x->fetch_opts = (struct fetch_opts){
		.mirror = x->mirror,
		.owner = x->owner,
		.target = recall_target(x),
		.accept = blob ? NULL : oci_accept_manifests,
		.head = !blob,
		.first_byte = blob,
		.authorization = x->authorization,
	};
	if (!x->fetch_opts.target)
		return false;
	fetch_start(&x->fetch, x->proxy, &x->fetch_opts);
	return true;
}

bool private_fits(const struct xfer *x, uint64_t bytes)
{
	if (!private_is(x) || x->path.verb != OCI_BLOB || (x->lookups > 0 && !x->joined))
		return true;
	return bytes != BLOB_SIZE_UNKNOWN && bytes == x->granted_bytes;
}

/* Is the 200 about the manifest that was asked for?  Of a tag x->digest becomes known. */
static bool private_is_manifest(struct xfer *x)
{
	struct slice text = msg_field(&x->fetch.msg, "Docker-Content-Digest");
	struct digest d;

	if (!x->path.ref_is_digest)
		return digest_parse(text, &x->digest);
	if (text.ptr)
		return digest_parse(text, &d) && digest_eq(&d, &x->digest);
	return oci_type_of(msg_field(&x->fetch.msg, "Content-Type")) > 0;
}

/* The same for a blob, of which only the size can be known. */
static bool private_is_blob(struct xfer *x)
{
	const struct msg *m = &x->fetch.msg;
	uint64_t first, last, total;

	if (m->status == 206) {
		if (!content_range_parse(msg_field(m, "Content-Range"), &first, &last, &total) ||
		    first != 0)
			return false;
	} else if (m->body == BODY_LENGTH) {
		total = m->body_bytes;
	} else {
		return false;
	}
	x->granted_bytes = total;
	return total != BLOB_SIZE_UNKNOWN;
}

/* Upstream has said yes.  False: to be called again. */
static bool private_accepted(struct xfer *x)
{
	const struct msg *m = &x->fetch.msg;
	bool blob = x->path.verb == OCI_BLOB;
	struct gate_key key;
	bool known;

	/* One byte more or less, for the connection's sake. */
	if (m->status == 206 && fetch_pull_all(&x->fetch, &x->relayed, 16) == 0)
		return false;
	known = blob ? private_is_blob(x) : private_is_manifest(x);
	if (known) {
		private_key(x, &key);
		gate_add(x->proxy->gate, &key, proxy_now(x->proxy),
			 gate_life_ms(slice_of(x->authorization), time(NULL)), x->granted_bytes);
	}
	/* What was asked is the answer. */
	if (x->path.verb == OCI_MANIFEST && x->method == METHOD_HEAD) {
		x->state = XFER_RELAY;
		return true;
	}
	fetch_close(&x->fetch);
	free(x->relayed.mem);
	buf_init(&x->relayed, NULL, 0);
	x->tag_checked = !x->path.ref_is_digest;
	/* What it is then, upstream tells to this client itself. */
	x->state = known ? XFER_LOOKUP : blob && x->method == METHOD_GET ? XFER_BYPASS : XFER_RELAY;
	return true;
}

static bool private_access(struct xfer *x)
{
	bool listed = x->path.verb == OCI_TAGS || x->path.verb == OCI_REFERRERS;
	struct gate_key key;

	if (x->fetch.state == FETCH_IDLE) {
		if (!x->authorization && private_up(x)->realm) {
			private_unauthorized(x);
			return true;
		}
		if (listed) {
			x->state = XFER_RELAY;
			return true;
		}
		if (x->path.ref_is_digest && !x->ungranted) {
			private_key(x, &key);
			if (gate_has(x->proxy->gate, &key, proxy_now(x->proxy),
				     &x->granted_bytes)) {
				x->state = XFER_LOOKUP;
				return true;
			}
		}
		if (!private_ask(x)) {
			answer_failed(x, ERR_LIMIT);
			return true;
		}
	}
	/* An empty blob has no first byte. */
	if (x->fetch_opts.first_byte && fetch_has_head(&x->fetch) && x->fetch.msg.status == 416) {
		fetch_close(&x->fetch);
		x->fetch_opts.first_byte = false;
		fetch_start(&x->fetch, x->proxy, &x->fetch_opts);
	}
	switch (xfer_asked(x)) {
	case ASKED_WAIT: return false;
	case ASKED_TOLD: return true;
	case ASKED_GOOD: return private_accepted(x);
	}
	unreachable("what became of a question");
}

/* ---- /v2/ ---- */

bool private_ping_route(struct xfer *x)
{
	const struct config *c = x->proxy->config;
	int i = route_ping(&x->arena, c, x->host, &x->path);

	if (i < 0 || c->mirrors[i].auth != AUTH_CLIENT)
		return false;
	x->mirror = &x->proxy->mirrors[i];
	if (door_lets(x, false) && private_is_safe(x))
		x->state = XFER_PING;
	return true;
}

void private_ask_ping(struct xfer *x, const char *authorization)
{
	x->fetch_opts = (struct fetch_opts){
		.mirror = x->mirror,
		.owner = x->owner,
		.target = "/v2/",
		.authorization = authorization,
	};
	fetch_start(&x->fetch, x->proxy, &x->fetch_opts);
}

static bool private_ping(struct xfer *x)
{
	if (x->fetch.state == FETCH_IDLE) {
		if (!x->authorization && private_up(x)->realm) {
			private_unauthorized(x);
			return true;
		}
		private_ask_ping(x, x->authorization);
	}
	switch (xfer_asked(x)) {
	case ASKED_WAIT: return false;
	case ASKED_TOLD: return true;
	case ASKED_GOOD: break;
	}
	x->cache = "pass";
	answer_text(x, 200, "application/json", "{}");
	return true;
}

bool private_run(struct xfer *x)
{
	if (!x->proxy->gate)
		x->proxy->gate = gate_new();
	if (!x->proxy->gate) {
		answer_failed(x, ERR_LIMIT);
		return true;
	}
	switch (x->state) {
	case XFER_PRIVATE: return private_access(x);
	case XFER_PING: return private_ping(x);
	default: unreachable("no state of a private mirror");
	}
}
