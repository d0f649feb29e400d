/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "http/msg.h"
#include "http/uri.h"
#include "net/addr.h"
#include "proxy/admin.h"
#include "proxy/answer.h"

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

/* May the rest be seen?  False: it was answered. */
static bool page_is_allowed(struct xfer *x)
{
	if (!x->on_loopback) {
		page_answer(x, 403, "text/plain",
			    "this is shown on the machine itself: ask at a loopback address\n");
		return false;
	}
	if (slice_ieq(x->host, SLICE("localhost")) || addr_names_loopback(x->host))
		return true;
	page_answer(x, 403, "text/plain",
		    "ask by 127.0.0.1, [::1] or localhost: the Host field names something else\n");
	return false;
}

void page_admin(struct xfer *x)
{
	size_t end = slice_find(x->target, '?');
	struct slice path = slice_first(x->target, end);
	struct slice query = slice_skip(x->target, end + 1);
	struct admin_view v = admin_view_of(x->proxy);

	x->cache = "local";
	if (x->method != METHOD_GET && x->method != METHOD_HEAD) {
		page_answer(x, 405, "text/plain", "there is nothing but to look\n");
		answer_field(x, "Allow", "GET, HEAD");
	} else if (slice_eq(path, SLICE("/healthz"))) {
		page_healthz(x);
	} else if (!page_is_allowed(x)) {
		return;
	} else if (slice_eq(path, SLICE("/metrics"))) {
		page_answer(x, 200, "text/plain; version=0.0.4", admin_metrics(&v, &x->arena));
	} else if (slice_eq(path, SLICE("/status"))) {
		page_answer(x, 200, "application/json", admin_status(&v, &x->arena));
	} else if (slice_eq(path, SLICE("/history"))) {
		page_history(x, query);
	} else if (slice_eq(path, SLICE("/"))) {
		page_html_answer(x);
	} else {
		page_answer(x, 404, "text/plain",
			    "there are /, /status, /history, /metrics and /healthz here\n");
	}
}
