/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "http/basic.h"
#include "http/msg.h"
#include "http/uri.h"
#include "net/addr.h"
#include "proxy/admin.h"
#include "proxy/answer.h"
#include "proxy/crowd.h"
#include "proxy/gate.h"
#include "proxy/password.h"

/* page.html as it is, and a NUL.  (Without #embed, which is C23, the assembler does it.) */
extern const char page_html[];
__asm__(".pushsection .rodata\n"
	".global page_html\n"
	"page_html:\n"
	".incbin \"src/proxy/page.html\"\n"
	".byte 0\n"
	".popsection\n");

/* What stands in it where the nonce goes: of the nonce's length. */
#define NONCE_MARK "0123456789abcdef0123456789abcdef"
enum { NONCE_BYTES = (sizeof(NONCE_MARK) - 1) / 2 };

/* Another one for each answer; false: the kernel has none yet. */
static bool nonce_make(char out[sizeof(NONCE_MARK)])
{
	unsigned char raw[NONCE_BYTES];

	if (getrandom(raw, sizeof(raw), GRND_NONBLOCK) != (ssize_t)sizeof(raw))
		return false;
	for (unsigned i = 0; i < NONCE_BYTES; i++)
		snprintf(out + (size_t)2 * i, 3, "%02x", raw[i]);
	return true;
}

static void put_nonce(char *html, const char *nonce)
{
	for (char *at = html; (at = strstr(at, NONCE_MARK)); at += sizeof(NONCE_MARK) - 1)
		memcpy(at, nonce, sizeof(NONCE_MARK) - 1);
}

static void page_answer(struct xfer *x, int status, const char *type, const char *text)
{
	if (!text) {
		status = 503;
		type = "text/plain";
		text = "out of memory\n";
	}
	answer_text(x, status, type, text);
	answer_field(x, "Cache-Control", "no-store");
	answer_field(x, "X-Content-Type-Options", "nosniff");
}

static void page_html_answer(struct xfer *x)
{
	char *html = arena_dup(&x->arena, slice_of(page_html));
	char nonce[sizeof(NONCE_MARK)];

	if (!html || !nonce_make(nonce)) {
		page_answer(x, 503, "text/plain", "no memory, or no random numbers yet\n");
		return;
	}
	put_nonce(html, nonce);
	page_answer(x, 200, "text/html; charset=utf-8", html);
	answer_field(x, "Content-Security-Policy",
		     arena_printf(&x->arena,
				  "default-src 'none'; script-src 'nonce-%s'; "
				  "style-src 'nonce-%s'; connect-src 'self'; img-src data:; "
				  "base-uri 'none'; form-action 'none'; "
				  "frame-ancestors 'none'",
				  nonce, nonce));
	answer_field(x, "Referrer-Policy", "no-referrer");
}

static void page_history(struct xfer *x, struct slice query)
{
	struct admin_view v = admin_view_of(x->proxy);
	uint64_t since_ms = 0;
	struct slice raw;

	if (query_get(query, "since", &raw) && !http_parse_uint(raw, &since_ms)) {
		page_answer(x, 400, "text/plain", "since: a number of milliseconds\n");
		return;
	}
	page_answer(x, 200, "application/json", admin_history(&v, since_ms, &x->arena));
}

static void page_healthz(struct xfer *x)
{
	bool draining = __atomic_load_n(&x->proxy->shared->draining, __ATOMIC_RELAXED);

	page_answer(x, draining ? 503 : 200, "text/plain", draining ? "draining\n" : "ok\n");
}

/* ---- who may see it ---- */

static const struct conf_login *login_find(const struct conf_server *c, struct slice user)
{
	for (unsigned i = 0; i < c->admin_logins_count; i++)
		if (slice_eq(slice_of(c->admin_logins[i].user), user))
			return &c->admin_logins[i];
	return NULL;
}

static void login_key(const struct xfer *x, const struct conf_login *l, struct gate_key *key)
{
	struct slice parts[] = { SLICE("admin"), slice_of(l->user), slice_of(l->hash),
				 slice_of(x->authorization) };

	gate_key_of(x->proxy->gate, parts, countof(parts), key);
}

static void page_challenge(struct xfer *x, const char *why)
{
	page_answer(x, 401, "text/plain", why);
	answer_field(x, "WWW-Authenticate", "Basic realm=\"sluice\", charset=\"UTF-8\"");
}

static void page_busy(struct xfer *x, const char *why)
{
	page_answer(x, 429, "text/plain", why);
	answer_field(x, "Retry-After", "30");
}

/*
 * A password that was right lately is; else a helper looks at it, at a user's that does not exist,
 * too.  True: *right is known, or it was answered.
 */
static bool login_begin(struct xfer *x, struct slice user, struct slice password, bool *right)
{
	const struct conf_server *c = &x->proxy->config->server;
	const struct conf_login *l = login_find(c, user);
	struct gate_key key;
	uint64_t unused;

	if (!x->proxy->gate)
		x->proxy->gate = gate_new();
	if (l && x->proxy->gate) {
		login_key(x, l, &key);
		*right = gate_has(x->proxy->gate, &key, proxy_now(x->proxy), &unused);
		if (*right)
			return true;
	}
	if (!crowd_may_guess(x->proxy->shared->crowd, &x->client, proxy_now(x->proxy))) {
		page_busy(x, "too many wrong passwords came from this address\n");
		return true;
	}
	x->login_asked = l;
	x->password =
		password_start(x->proxy, x->owner, (l ? l : &c->admin_logins[0])->hash, password);
	if (!x->password)
		page_busy(x, "too many passwords are being checked\n");
	return !x->password;
}

static bool login_end(struct xfer *x)
{
	bool right = x->password->right && x->login_asked;
	struct gate_key key;

	password_end(x->password);
	x->password = NULL;
	if (!right)
		crowd_guessed_wrong(x->proxy->shared->crowd, &x->client, proxy_now(x->proxy));
	if (right && x->proxy->gate) {
		login_key(x, x->login_asked, &key);
		gate_add(x->proxy->gate, &key, proxy_now(x->proxy), GATE_LIFE_MAX_MS, 0);
	}
	return right;
}

/* True: it may be seen, or it was answered.  False: the password is being looked at. */
static bool page_login(struct xfer *x)
{
	char mem[BASIC_MAX + 1];
	struct slice user, password;
	bool right = false, known = true;

	if (x->password && !x->password->done)
		return false;
	if (x->password) {
		right = login_end(x);
	} else if (x->authorization &&
		   basic_parse(slice_of(x->authorization), mem, &user, &password)) {
		known = login_begin(x, user, password, &right);
		explicit_bzero(mem, sizeof(mem));
	}
	if (known && !right && x->state != XFER_ANSWER)
		page_challenge(x, "a user of admin_htpasswd may see this\n");
	return known;
}

/* May the rest be seen?  True: yes, or it was answered.  False: wait. */
static bool page_is_known(struct xfer *x)
{
	if (!x->on_loopback && x->proxy->config->server.admin_logins_count)
		return page_login(x);
	if (!x->on_loopback)
		page_answer(x, 403, "text/plain",
			    "from elsewhere this takes a login, and there is no admin_htpasswd\n");
	else if (!slice_ieq(x->host, SLICE("localhost")) && !addr_names_loopback(x->host))
		page_answer(x, 403, "text/plain",
			    "ask by 127.0.0.1, [::1] or localhost: the Host field names "
			    "something else\n");
	return true;
}

static void page_show(struct xfer *x, struct slice path, struct slice query)
{
	struct admin_view v = admin_view_of(x->proxy);

	if (slice_eq(path, SLICE("/metrics")))
		page_answer(x, 200, "text/plain; version=0.0.4", admin_metrics(&v, &x->arena));
	else if (slice_eq(path, SLICE("/status")))
		page_answer(x, 200, "application/json", admin_status(&v, &x->arena));
	else if (slice_eq(path, SLICE("/history")))
		page_history(x, query);
	else if (slice_eq(path, SLICE("/")))
		page_html_answer(x);
	else
		page_answer(x, 404, "text/plain",
			    "there are /, /status, /history, /metrics and /healthz here\n");
}

bool page_admin(struct xfer *x)
{
	size_t end = slice_find(x->target, '?');
	struct slice path = slice_first(x->target, end);

	x->cache = "local";
	if (x->method != METHOD_GET && x->method != METHOD_HEAD) {
		page_answer(x, 405, "text/plain", "there is nothing but to look\n");
		answer_field(x, "Allow", "GET, HEAD");
		return true;
	}
	if (slice_eq(path, SLICE("/healthz"))) {
		page_healthz(x);
		return true;
	}
	if (!page_is_known(x))
		return false;
	if (x->state != XFER_ANSWER)
		page_show(x, path, slice_skip(x->target, end + 1));
	return true;
}
