/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/private.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "http/range.h"
#include "proxy/answer.h"
#include "proxy/gate.h"

#define TOKEN_PREFIX "/token/"

enum {
	/* docker asks for two at most; each is one repository. */
	SCOPES_MAX = 8,
	TOKEN_LIFE_S = 60, /* of a token whose end is not told; containerd would take "never" */
};

static struct upstream *private_up(const struct xfer *x)
{
	return &x->mirror->ups[0];
}

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

	if (!up->realm || x->path.verb == OCI_NONE)
		return NULL;
	if (up->basic)
		return arena_printf(&x->arena, "Basic realm=\"%s\"", name);
	if (x->route.repo.len)
		scope = arena_printf(&x->arena, ",scope=\"repository:%.*s:pull\"",
				     SLICE_FMT(x->route.repo));
	return scope ? arena_printf(&x->arena,
				    "Bearer realm=\"https://%.*s" TOKEN_PREFIX
				    "%s\",service=\"%s\"%s",
				    SLICE_FMT(x->authority), name, name, scope)
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
		.target = arena_printf(&x->arena, "/v2/%.*s/%s/%.*s", SLICE_FMT(x->route.repo),
				       blob ? "blobs" : "manifests", SLICE_FMT(x->path.ref)),
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
	if (private_is_safe(x))
		x->state = XFER_PING;
	return true;
}

static void private_ask_ping(struct xfer *x, const char *authorization)
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

/* ---- tokens ---- */

/* x->route is used only to find the mirror: no repository is meant. */
bool private_token_route(struct xfer *x)
{
	const struct config *c = x->proxy->config;
	struct slice path = slice_first(x->target, slice_find(x->target, '?'));
	struct oci_path of = { .verb = OCI_PING };
	int i;

	if (!slice_starts(path, SLICE(TOKEN_PREFIX)))
		return false;
	of.prefix = slice_skip(path, strlen(TOKEN_PREFIX));
	i = of.prefix.len ? route_ping(&x->arena, c, x->host, &of) : -1;
	if (i < 0 || c->mirrors[i].auth != AUTH_CLIENT)
		return false;
	x->mirror = &x->proxy->mirrors[i];
	x->path.verb = OCI_NONE;
	x->path.query = slice_skip(x->target, path.len + 1);
	if (!private_is_safe(x))
		return true;
	if (x->method != METHOD_GET) {
		answer_error(x, 405, "UNSUPPORTED", SLICE("tokens are given by GET"));
		return true;
	}
	x->state = XFER_TOKEN;
	return true;
}

/* "&scope=..." for one that is asked for, or "": pull of a repository, and nothing else. */
static const char *private_scope(struct xfer *x, struct slice scope)
{
	struct oci_path of = { .verb = OCI_TAGS, .prefix = x->mirror->name };
	struct slice type = slice_cut(&scope, ':');
	size_t end = scope.len;
	struct slice actions;
	struct route r;
	bool pull = false;

	while (end > 0 && scope.ptr[end - 1] != ':')
		end--;
	if (!slice_eq(type, SLICE("repository")) || end == 0)
		return "";
	actions = slice_skip(scope, end);
	of.name = slice_first(scope, end - 1);
	while (actions.len)
		pull |= slice_eq(slice_cut(&actions, ','), SLICE("pull"));
	if (!pull)
		return "";
	route_find(&x->arena, x->proxy->config, x->host, &of, &r);
	if (r.mirror < 0)
		return "";
	return arena_printf(&x->arena, "&scope=repository:%.*s:pull", SLICE_FMT(r.repo));
}

/* All of the query's, each key with one or, by spaces, several.  NULL: no memory, or nonsense. */
static const char *private_scopes(struct xfer *x)
{
	struct slice query = x->path.query;
	const char *all = "";
	unsigned count = 0;

	while (query.len) {
		struct slice value = slice_cut(&query, '&');
		struct slice key = slice_cut(&value, '=');
		char *text = arena_dup(&x->arena, value);
		struct slice list;

		if (!slice_eq(key, SLICE("scope")))
			continue;
		for (char *at = text; at && *at; at++)
			if (*at == '+')
				*at = ' ';
		text = text ? percent_decode(&x->arena, slice_of(text)) : NULL;
		if (!text)
			return NULL;
		list = slice_of(text);
		while (list.len) {
			const char *one;

			if (++count > SCOPES_MAX)
				return NULL;
			one = private_scope(x, slice_cut(&list, ' '));
			all = one ? arena_printf(&x->arena, "%s%s", all, one) : NULL;
			if (!all)
				return NULL;
		}
	}
	return all;
}

/* Where the token is; false: answered. */
static bool private_realm(struct xfer *x, struct uri *place)
{
	const struct upstream *up = private_up(x);
	const char *scopes = private_scopes(x);
	char *service = percent_encode(&x->arena, slice_of(up->service), "");
	char *text;

	if (!scopes || !service) {
		answer_error(x, 400, "UNSUPPORTED", SLICE("malformed or too many scopes"));
		return false;
	}
	if (!uri_parse(&x->arena, slice_of(up->realm), place) || !place->https ||
	    !config_realm_ok(x->mirror->conf, 0, place->host)) {
		log_limited(LOG_WARN,
			    "token mirror=%s realm=%s refused: add 'realm = HOST' to the mirror's "
			    "section if that token server may have clients' credentials",
			    x->mirror->conf->name, LOG_Q(slice_of(up->realm)));
		answer_error(x, 502, "UNAVAILABLE",
			     SLICE("upstream names a token server that is not allowed here"));
		return false;
	}
	text = arena_printf(&x->arena, "%.*s%cservice=%s%s", SLICE_FMT(place->target),
			    slice_find(place->target, '?') < place->target.len ? '&' : '?', service,
			    scopes);
	if (!text) {
		answer_failed(x, ERR_LIMIT);
		return false;
	}
	place->target = slice_of(text);
	return true;
}

static void private_ask_token(struct xfer *x)
{
	struct uri *place = arena_alloc(&x->arena, sizeof(*place));

	if (!place) {
		answer_failed(x, ERR_LIMIT);
		return;
	}
	if (!private_realm(x, place))
		return;
	stat_inc(&x->proxy->stats, STAT_TOKENS);
	x->fetch_opts = (struct fetch_opts){
		.mirror = x->mirror,
		.owner = x->owner,
		.target = place->target.ptr,
		.place = place,
		.authorization = x->authorization,
		.accept = "application/json",
	};
	fetch_start(&x->fetch, x->proxy, &x->fetch_opts);
}

/* Of the realm's answer, what a client needs; NULL: it is no token. */
static char *private_token_text(struct slice answer)
{
	static const char *const keys[] = { "token", "access_token", "expires_in", "issued_at" };
	cJSON *json = cJSON_ParseWithLength(answer.ptr, answer.len);
	cJSON *out = cJSON_CreateObject();
	char *text = NULL;

	for (unsigned i = 0; i < countof(keys); i++) {
		cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(json, keys[i]);

		if (item && !cJSON_AddItemToObject(out, keys[i], item))
			cJSON_Delete(item);
	}
	if (!cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(out, "expires_in"))) {
		cJSON_DeleteItemFromObjectCaseSensitive(out, "expires_in");
		(void)cJSON_AddNumberToObject(out, "expires_in", TOKEN_LIFE_S);
	}
	if (cJSON_IsString(cJSON_GetObjectItemCaseSensitive(out, "token")) ||
	    cJSON_IsString(cJSON_GetObjectItemCaseSensitive(out, "access_token")))
		text = cJSON_PrintUnformatted(out);
	cJSON_Delete(out);
	cJSON_Delete(json);
	return text;
}

static void private_answer_token(struct xfer *x)
{
	char *text = private_token_text(buf_data(&x->relayed));

	x->secret = text ? arena_dup(&x->arena, slice_of(text)) : NULL;
	if (text)
		explicit_bzero(text, strlen(text));
	cJSON_free(text);
	if (!x->secret) {
		answer_failed(x, ERR_AUTH);
		return;
	}
	x->cache = "pass";
	answer_text(x, 200, "application/json", x->secret);
}

/* What upstream wants must be known first; another worker may have told the client. */
static bool private_learn(struct xfer *x)
{
	if (x->fetch.state == FETCH_IDLE)
		private_ask_ping(x, NULL);
	if (x->fetch.state != FETCH_FAILED && !fetch_has_head(&x->fetch))
		return false;
	x->learned = true;
	if (!private_up(x)->realm && x->fetch.state == FETCH_FAILED)
		answer_failed(x, x->fetch.err);
	else if (!private_up(x)->realm || private_up(x)->basic)
		answer_error(x, 404, "UNSUPPORTED", SLICE("this registry gives no tokens"));
	fetch_close(&x->fetch);
	return true;
}

static bool private_token(struct xfer *x)
{
	int n;

	if (x->authorization && strncasecmp(x->authorization, "Basic ", 6) != 0) {
		answer_error(x, 401, "UNAUTHORIZED",
			     SLICE("a token is given for Basic credentials"));
		return true;
	}
	if (!x->learned &&
	    (x->fetch.state != FETCH_IDLE || !private_up(x)->realm || private_up(x)->basic))
		return private_learn(x);
	x->learned = true;
	if (x->fetch.state == FETCH_IDLE)
		private_ask_token(x);
	if (x->state == XFER_ANSWER)
		return true;
	switch (xfer_asked(x)) {
	case ASKED_WAIT: return false;
	case ASKED_TOLD: return true;
	case ASKED_GOOD: break;
	}
	n = fetch_pull_all(&x->fetch, &x->relayed, TOKEN_ANSWER_MAX);
	if (n == 0)
		return false;
	if (n == ERR_EOF)
		private_answer_token(x);
	else
		answer_failed(x, n);
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
	case XFER_TOKEN: return private_token(x);
	default: unreachable("no state of a private mirror");
	}
}
