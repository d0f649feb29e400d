/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/door.h"

#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/units.h"
#include "config/nets.h"
#include "http/basic.h"
#include "http/uri.h"
#include "proxy/answer.h"
#include "proxy/badge.h"
#include "proxy/crowd.h"
#include "proxy/gate.h"
#include "proxy/login.h"
#include "proxy/password.h"
#include "proxy/private.h"

#define TOKEN_PATH "/token"

enum { WEIGHT_SECRET = 1 << 12, WEIGHT_CERT = 1 << 11, WEIGHT_LOGIN = 1 << 10 };

static const struct config *config_of(const struct xfer *x)
{
	return x->proxy->config;
}

/* ---- the secret in the path ---- */

/* Whose secret it is; as long for any text, whoever's it is or nobody's. */
static const struct conf_tenant *tenant_of_secret(const struct config *c, struct slice text)
{
	const struct conf_tenant *found = NULL;
	char padded[TENANT_SECRET_MAX] = { 0 };

	if (text.len > 0 && text.len <= sizeof(padded))
		memcpy(padded, text.ptr, text.len);
	for (unsigned i = 0; i < c->tenants_count; i++) {
		const struct conf_tenant *t = &c->tenants[i];
		unsigned differ = 0;

		if (!t->secret)
			continue;
		for (unsigned j = 0; j < TENANT_SECRET_MAX; j++)
			differ |= (unsigned char)(padded[j] ^ t->secret[j]);
		found = differ ? found : t;
	}
	explicit_bzero(padded, sizeof(padded));
	return found;
}

/* Up to the next '/', '?' or the end; decoded, since oci_parse() would. */
static struct slice segment(struct xfer *x, struct slice at, size_t *len)
{
	size_t n = 0;
	char *text;

	while (n < at.len && at.ptr[n] != '/' && at.ptr[n] != '?')
		n++;
	*len = n;
	at = slice_first(at, n);
	if (slice_find(at, '%') == at.len)
		return at;
	text = percent_decode(&x->arena, at);
	return text ? slice_of(text) : SLICE_NONE;
}

/* "/SECRET/..." and "/v2/SECRET/...": with what is before it, what is after it. */
static bool strip(struct xfer *x, struct slice before)
{
	struct slice rest = slice_skip(x->target, before.len + 1);
	const struct conf_tenant *t;
	char *text;
	size_t n;

	if (!slice_starts(x->target, before) || x->target.len <= before.len ||
	    x->target.ptr[before.len] != '/')
		return false;
	t = tenant_of_secret(config_of(x), segment(x, rest, &n));
	if (!t)
		return false;
	x->of_secret = t;
	rest = slice_skip(rest, n);
	text = arena_printf(&x->arena, "%.*s%s%.*s", SLICE_FMT(before),
			    before.len == 0 && !slice_starts(rest, SLICE("/")) ? "/" : "",
			    SLICE_FMT(rest));
	x->target = slice_of(text); /* none: answered as out of memory */
	return true;
}

void door_begin(struct xfer *x)
{
	if (config_of(x)->tenants_count == 0 || !x->target.ptr ||
	    (x->kind != LISTEN_HTTPS && x->kind != LISTEN_PLAIN))
		return;
	if (!strip(x, SLICE_NONE))
		(void)strip(x, SLICE("/v2"));
}

const char *door_prefix(struct xfer *x)
{
	return x->of_secret ? arena_printf(&x->arena, "/%s", x->of_secret->secret) : "";
}

/* Wherever else one may stand: the redirect to https, a path of a client that is set up wrong. */
struct slice door_target(struct xfer *x)
{
	const struct config *c = config_of(x);
	char *copy = NULL;

	for (unsigned i = 0; i < c->tenants_count && x->target.ptr; i++) {
		const char *secret = c->tenants[i].secret;
		char *at;

		if (!secret || !memmem(x->target.ptr, x->target.len, secret, strlen(secret)))
			continue;
		if (!copy)
			copy = arena_dup(&x->arena, x->target);
		if (!copy)
			return SLICE_NONE;
		while ((at = strstr(copy, secret)) != NULL)
			memset(at, '*', strlen(secret));
	}
	return copy ? slice_of(copy) : x->target;
}

/* ---- answers ---- */

static void count_refused(struct xfer *x)
{
	stat_inc(&x->proxy->stats, STAT_TENANT_REFUSED);
	if (x->account)
		__atomic_fetch_add(&x->account->refused, 1, __ATOMIC_RELAXED);
}

static void refuse_busy(struct xfer *x, const char *why, const char *after_s)
{
	count_refused(x);
	answer_error(x, 429, "TOOMANYREQUESTS", slice_of(why));
	answer_field(x, "Retry-After", after_s);
}

static void ask_for_login(struct xfer *x, bool token)
{
	const bool https = x->kind == LISTEN_HTTPS || x->forwarded_https;
	const char *prefix = door_prefix(x);

	count_refused(x);
	answer_error(x, 401, "UNAUTHORIZED", SLICE("authentication required"));
	if (token)
		answer_field(x, "WWW-Authenticate", "Basic realm=\"sluice\"");
	else if (prefix)
		answer_field(x, "WWW-Authenticate",
			     arena_printf(&x->arena,
					  "Bearer realm=\"http%s://%.*s%s" TOKEN_PATH
					  "\",service=\"sluice\"",
					  https ? "s" : "", SLICE_FMT(x->authority), prefix));
}

static void refuse(struct xfer *x, bool login_helps, bool token)
{
	if (login_helps) {
		ask_for_login(x, token);
		return;
	}
	count_refused(x);
	answer_error(x, 403, "DENIED",
		     SLICE("this mirror is not open to everybody, and this request is of none of "
			   "its tenants: ask its operator for the address to use"));
}

static void give_token(struct xfer *x)
{
	const struct conf_login *l = x->login_of;
	char *badge = badge_make(&x->arena, slice_of(l->user), slice_of(l->hash), time(NULL));
	char *text = badge ? arena_printf(&x->arena,
					  "{\"token\":\"%s\",\"access_token\":\"%s\","
					  "\"expires_in\":%d}",
					  badge, badge, (int)BADGE_LIFE_S)
			   : NULL;

	x->cache = "local";
	answer_text(x, text ? 200 : 503, "application/json", text ? text : "{}");
	answer_field(x, "Cache-Control", "no-store");
}

/* ---- who has logged in ---- */

static const struct conf_login *find_user(const struct config *c, const char *user,
					  const struct conf_tenant **of)
{
	for (unsigned i = 0; i < c->tenants_count; i++)
		for (unsigned j = 0; j < c->tenants[i].logins_count; j++)
			if (strcmp(c->tenants[i].logins[j].user, user) == 0) {
				*of = &c->tenants[i];
				return &c->tenants[i].logins[j];
			}
	return NULL;
}

static bool has_logins(const struct config *c)
{
	for (unsigned i = 0; i < c->tenants_count; i++)
		if (c->tenants[i].htpasswd)
			return true;
	return false;
}

/* Is it for a mirror whose registry asks for Authorization itself? */
static bool is_for_private(struct xfer *x)
{
	const struct config *c = config_of(x);
	struct route r = { .mirror = -1 };
	struct oci_path path;

	if (slice_starts(x->target, SLICE(LOGIN_PREFIX)))
		return true;
	oci_parse(&x->arena, x->target, &path);
	if (path.verb == OCI_PING)
		r.mirror = route_ping(&x->arena, c, x->host, &path);
	else if (path.verb != OCI_NONE && path.verb != OCI_BAD)
		route_find(&x->arena, c, x->host, &path, &r);
	return r.mirror >= 0 && c->mirrors[r.mirror].auth == AUTH_CLIENT;
}

static void take_login(struct xfer *x, const struct conf_login *l, const struct conf_tenant *of)
{
	x->login_of = l;
	x->of_login = of;
	private_forget(x);
}

static void take_badge(struct xfer *x, const char *user)
{
	const struct conf_tenant *of;
	const struct conf_login *l = find_user(config_of(x), user, &of);

	if (l && badge_is_good(slice_of(x->authorization), slice_of(user), slice_of(l->hash),
			       time(NULL)))
		take_login(x, l, of);
	else
		x->login_wrong = true;
	private_forget(x);
}

static void password_key(const struct xfer *x, const struct conf_login *l, struct gate_key *key)
{
	struct slice parts[] = { SLICE("password"), slice_of(l->user), slice_of(l->hash),
				 slice_of(x->authorization) };

	gate_key_of(x->proxy->gate, parts, countof(parts), key);
}

/* Somebody's hash, for a user that is not there: it must cost as much. */
static const char *any_hash(const struct config *c)
{
	for (unsigned i = 0; i < c->tenants_count; i++)
		if (c->tenants[i].logins_count)
			return c->tenants[i].logins[0].hash;
	return NULL;
}

/* True: known at once, or answered. */
static bool begin_password(struct xfer *x, struct slice user, struct slice password)
{
	const struct conf_login *l = find_user(config_of(x), user.ptr, &x->of_login_asked);
	const char *hash = l ? l->hash : any_hash(config_of(x));
	struct gate_key key;
	uint64_t unused;

	if (!x->proxy->gate)
		x->proxy->gate = gate_new();
	if (!hash || !x->proxy->gate) {
		x->login_wrong = true;
		return true;
	}
	x->login_asked = l;
	if (l) {
		password_key(x, l, &key);
		if (gate_has(x->proxy->gate, &key, proxy_now(x->proxy), &unused)) {
			take_login(x, l, x->of_login_asked);
			return true;
		}
	}
	if (!crowd_may_guess(x->proxy->shared->crowd, &x->client, proxy_now(x->proxy))) {
		refuse_busy(x, "too many wrong passwords came from this address: wait a little",
			    "30");
		return true;
	}
	x->password = password_start(x->proxy, x->owner, hash, password);
	if (!x->password)
		refuse_busy(x, "too many passwords are being checked: try again", "1");
	return !x->password;
}

/* True: nothing has to be waited for. */
static bool begin_login(struct xfer *x)
{
	char mem[BASIC_MAX + 1], user[BADGE_USER_MAX + 1];
	struct slice name, text;
	bool done = true;

	if (!x->authorization || !has_logins(config_of(x)) || is_for_private(x))
		return true;
	if (badge_user(slice_of(x->authorization), user))
		take_badge(x, user);
	else if (basic_parse(slice_of(x->authorization), mem, &name, &text))
		done = begin_password(x, name, text);
	explicit_bzero(mem, sizeof(mem));
	return done;
}

static void end_password(struct xfer *x)
{
	bool right = x->password->right && x->login_asked;
	struct gate_key key;

	password_end(x->password);
	x->password = NULL;
	if (!right) {
		x->login_wrong = true;
		crowd_guessed_wrong(x->proxy->shared->crowd, &x->client, proxy_now(x->proxy));
		return;
	}
	password_key(x, x->login_asked, &key);
	gate_add(x->proxy->gate, &key, proxy_now(x->proxy), GATE_LIFE_MAX_MS, 0);
	take_login(x, x->login_asked, x->of_login_asked);
}

void door_leave(struct xfer *x)
{
	if (x->password)
		password_end(x->password);
	x->password = NULL;
}

/* ---- which tenant ---- */

/* How well it fits; -1: not.  *login: but for a login it would. */
static int weigh(const struct xfer *x, const struct conf_tenant *t, const uint8_t ip[16],
		 bool *login)
{
	int weight = 0, bits;

	*login = false;
	if ((t->secret || x->of_secret) && x->of_secret != t)
		return -1;
	if (t->secret)
		weight += WEIGHT_SECRET;
	if (t->allow.count) {
		bits = nets_match(&t->allow, ip);
		if (bits < 0)
			return -1;
		weight += bits + 1;
	}
	if (t->certificates.count) {
		if (!x->cert || !patterns_have(&t->certificates, slice_of(x->cert)))
			return -1;
		weight += WEIGHT_CERT;
	}
	if (!t->htpasswd)
		return weight;
	*login = x->of_login != t;
	return *login ? -1 : weight + WEIGHT_LOGIN;
}

/* NULL: none; *login: a login would help. */
static const struct conf_tenant *find(const struct xfer *x, bool *login)
{
	const struct config *c = config_of(x);
	const struct conf_tenant *best = NULL;
	int most = -1;
	uint8_t ip[16];

	*login = false;
	addr_ip(&x->client, ip);
	for (unsigned i = 0; i < c->tenants_count; i++) {
		bool helps;
		int weight = weigh(x, &c->tenants[i], ip, &helps);

		*login |= helps;
		if (weight > most) {
			most = weight;
			best = &c->tenants[i];
		}
	}
	return best;
}

static bool is_token_path(const struct xfer *x)
{
	return slice_eq(slice_first(x->target, slice_find(x->target, '?')), SLICE(TOKEN_PATH)) &&
	       has_logins(config_of(x));
}

static bool has_secrets(const struct config *c)
{
	for (unsigned i = 0; i < c->tenants_count; i++)
		if (c->tenants[i].secret)
			return true;
	return false;
}

/*
 * podman and skopeo ask /v2/ without the path that they were given, and do not go on after a 403:
 * where a path may lead in, /v2/ alone says yes to all, as it says nothing.
 */
static bool is_bare_ping(const struct xfer *x)
{
	struct slice path = slice_first(x->target, slice_find(x->target, '?'));

	return !x->of_secret && has_secrets(config_of(x)) &&
	       (slice_eq(path, SLICE("/v2/")) || slice_eq(path, SLICE("/v2")));
}

/*
 * The token endpoint asks for nothing but a login.  For that reason of podman's, where both a path
 * and a login may lead in, who has no login gets a token that is of no use.
 */
static void decide_token(struct xfer *x)
{
	if (x->method != METHOD_GET)
		answer_error(x, 405, "UNSUPPORTED", SLICE("tokens are given by GET"));
	else if (x->of_login)
		give_token(x);
	else if (!x->login_wrong && has_secrets(config_of(x)))
		answer_text(x, 200, "application/json", "{\"token\":\"none\",\"expires_in\":300}");
	else
		ask_for_login(x, true);
}

static void decide(struct xfer *x)
{
	const struct config *c = config_of(x);
	bool login;
	const struct conf_tenant *t = find(x, &login);

	if (is_token_path(x)) {
		decide_token(x);
		return;
	}
	if (!t && !login && !x->login_wrong && is_bare_ping(x)) {
		x->cache = "local";
		answer_text(x, 200, "application/json", "{}");
		return;
	}
	if (!t || x->login_wrong) {
		refuse(x, login || x->login_wrong, false);
		return;
	}
	x->tenant = t;
	x->account = x->proxy->generation->tenants[t - c->tenants];
	if (!x->account)
		return;
	__atomic_fetch_add(&x->account->requests, 1, __ATOMIC_RELAXED);
	if (x->seat && !seat_take(x->seat, x->account, t, &x->client, c->server.pacing_bytes))
		refuse_busy(x, "this tenant has all its connections in use", "1");
}

bool door_run(struct xfer *x)
{
	struct proxy *p = x->proxy;
	const struct conf_limits *l = &p->config->limits;

	if (x->admitted)
		return true;
	if (!x->password && p->shared->crowd && (l->requests || l->client_requests) &&
	    !crowd_request(p->shared->crowd, &x->client, l, proxy_now(p))) {
		x->admitted = true;
		refuse_busy(x, "too many requests", "1");
		return true;
	}
	if (p->config->tenants_count > 0) {
		if (x->password) {
			if (!x->password->done)
				return false;
			end_password(x);
		} else if (!begin_login(x)) {
			return false;
		}
		if (x->state != XFER_ANSWER)
			decide(x);
	}
	x->admitted = true;
	return true;
}

/* ---- what it may have ---- */

static void refuse_spent(struct xfer *x)
{
	char quota[UNITS_TEXT_MAX];
	time_t next = (time_t)(time(NULL) + tenant_month_left_s(time(NULL)));
	struct tm tm;
	char day[32];

	units_format_bytes(x->tenant->quota_bytes, quota);
	gmtime_r(&next, &tm);
	(void)strftime(day, sizeof(day), "%Y-%m-%d", &tm);
	count_refused(x);
	answer_error(x, 429, "DENIED",
		     slice_of(arena_printf(&x->arena,
					   "tenant %s has used its quota of %s for this month; it "
					   "begins anew on %s (UTC)",
					   x->tenant->name, quota, day)));
}

static bool deny(struct xfer *x, const char *what)
{
	count_refused(x);
	answer_error(x, 403, "DENIED",
		     slice_of(arena_printf(&x->arena, "tenant %s may not use %s", x->tenant->name,
					   what ? what : "this")));
	return false;
}

static bool has_mirror(const struct conf_tenant *t, const char *name)
{
	for (unsigned i = 0; i < t->mirrors.count; i++)
		if (strcasecmp(t->mirrors.v[i], name) == 0)
			return true;
	return t->mirrors.count == 0;
}

bool door_lets(struct xfer *x, bool image)
{
	const struct conf_tenant *t = x->tenant;
	const char *name = x->mirror->conf->name;
	const char *full;

	if (!t)
		return true;
	if (!has_mirror(t, name))
		return deny(x, name);
	if (t->htpasswd && private_is(x))
		return deny(x, "a mirror with auth = client, since its login is this mirror's");
	if (!image)
		return true;
	full = arena_printf(&x->arena, "%s/%.*s", name, SLICE_FMT(x->route.repo));
	if (!full || (t->images.count && !patterns_have(&t->images, slice_of(full))) ||
	    patterns_have(&t->images_denied, slice_of(full)))
		return deny(x, full);
	if (!x->account || !tenant_is_spent(x->account, t))
		return true;
	refuse_spent(x);
	return false;
}
