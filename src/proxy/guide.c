/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/guide.h"

#include <stdlib.h>

#include "base/buf.h"
#include "proxy/answer.h"
#include "proxy/howto.h"

/* Text grows by escapes ("&quot;"), of which there are a dozen in a mirror's entry. */
enum { GUIDE_HEAD = 32 * 1024, ESCAPES = 2 };

/* A click on a box marks all of it, so no script is needed to copy. */
static const char guide_style[] =
	"<style>"
	":root{color-scheme:light dark;--ink:#1c2733;--soft:#5a6b7b;--ground:#f4f6f8;--card:#fff;"
	"--line:#dbe2e8;--code:#f0f3f6;--accent:#0b6bcb}"
	"@media(prefers-color-scheme:dark){:root{--ink:#e4eaf0;--soft:#93a4b4;--ground:#10161c;"
	"--card:#18212a;--line:#2a3641;--code:#0d1319;--accent:#6cb6ff}}"
	"*{box-sizing:border-box}"
	"body{margin:0;background:var(--ground);color:var(--ink);"
	"font:16px/1.55 system-ui,sans-serif}"
	"main{max-width:54rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}"
	"h1{font-size:1.9rem;margin:0 0 .25rem}h2{font-size:1.25rem;margin:0 0 .75rem}"
	"p{margin:.5rem 0}.soft{color:var(--soft)}a{color:var(--accent)}"
	"nav{display:flex;flex-wrap:wrap;gap:.5rem;margin:1.5rem 0}"
	"nav a,.chip{border:1px solid var(--line);border-radius:99px;padding:.2rem .8rem;"
	"background:var(--card);text-decoration:none;font-size:.9rem}"
	"nav a:hover{border-color:var(--accent)}"
	".chips{display:flex;flex-wrap:wrap;gap:.4rem;margin:.75rem 0 0}"
	".chip{color:var(--soft)}"
	"section{background:var(--card);border:1px solid var(--line);border-radius:12px;"
	"padding:1.25rem 1.4rem;margin:0 0 1.25rem}"
	".path{font:600 .82rem ui-monospace,monospace;color:var(--soft);margin:1rem 0 .3rem;"
	"overflow-wrap:anywhere}"
	"pre{margin:0;padding:.8rem 1rem;background:var(--code);border:1px solid var(--line);"
	"border-radius:8px;overflow-x:auto;font:.85rem/1.5 ui-monospace,monospace;"
	"user-select:all;-webkit-user-select:all}"
	"ul{margin:1rem 0 0;padding-left:1.2rem;color:var(--soft);font-size:.92rem}"
	"li{margin:.25rem 0;overflow-wrap:anywhere}"
	"</style>";

static bool put(struct buf *b, const char *text)
{
	return buf_append(b, slice_of(text));
}

static bool put_escaped(struct buf *b, const char *text)
{
	bool fits = true;

	for (; *text && fits; text++) {
		switch (*text) {
		case '<': fits = put(b, "&lt;"); break;
		case '>': fits = put(b, "&gt;"); break;
		case '&': fits = put(b, "&amp;"); break;
		case '"': fits = put(b, "&quot;"); break;
		default: fits = buf_append(b, (struct slice){ text, 1 });
		}
	}
	return fits;
}

static bool put_in(struct buf *b, const char *before, const char *text, const char *after)
{
	return put(b, before) && put_escaped(b, text) && put(b, after);
}

static bool put_head(struct buf *b, const struct config *c, const struct howto_place *place)
{
	bool fits = put(b, "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">"
			   "<meta name=\"viewport\" content=\"width=device-width,"
			   "initial-scale=1\"><title>") &&
		    put_in(b, "", place->authority ? place->authority : "Registry mirror",
			   "</title>") &&
		    put(b, guide_style) && put(b, "</head><body><main><h1>Registry mirror</h1>");

	if (place->authority)
		fits = fits && put_in(b, "<p class=\"soft\">", place->authority, "</p>");
	fits = fits &&
	       put(b, "<p>Images pulled through this mirror come from its cache, or are "
		      "fetched once from their registry. Every byte is checked against the "
		      "digest that the registry gave. It mirrors:</p><div class=\"chips\">");
	for (unsigned i = 0; i < c->mirrors_count; i++)
		fits = fits && put_in(b, "<span class=\"chip\">", c->mirrors[i].name, "</span>");
	fits = fits && put(b, "</div><nav>");
	for (unsigned i = 0; i < HOWTO_COUNT; i++)
		fits = fits && put_in(b, "<a href=\"#", howto_names[i], "\">") &&
		       put_in(b, "", howto_names[i], "</a>");
	return fits && put(b, "</nav>");
}

static bool put_client(struct buf *b, const char *name, const struct howto *h)
{
	bool fits = put_in(b, "<section id=\"", name, "\">") &&
		    put_in(b, "<h2>", h->title, "</h2>");

	for (unsigned i = 0; i < h->files_count; i++)
		fits = fits && put_in(b, "<p class=\"path\">", h->files[i].path, "</p>") &&
		       put_in(b, "<pre>", h->files[i].text, "</pre>");
	fits = fits && put(b, "<ul>");
	for (unsigned i = 0; i < h->notes_count; i++)
		fits = fits && put_in(b, "<li>", h->notes[i], "</li>");
	return fits && put(b, "</ul></section>");
}

char *guide_make(struct arena *a, const struct config *c)
{
	const size_t cap = GUIDE_HEAD + ESCAPES * howto_bytes(c);
	struct howto_place place;
	struct howto h;
	struct buf b;
	char *mem = arena_alloc(a, cap);
	bool fits;

	if (!mem || !howto_look(a, c, &place))
		return NULL;
	buf_init(&b, mem, cap - 1); /* arena memory is zeroed: the NUL is there */
	fits = put_head(&b, c, &place);
	for (unsigned i = 0; i < HOWTO_COUNT && fits; i++)
		fits = howto_make(a, c, (enum howto_client)i, &h) &&
		       put_client(&b, howto_names[i], &h);
	fits = fits && put(&b, "<p class=\"soft\">A click on a box marks all of it.</p>"
			       "</main></body></html>\n");
	return fits ? mem : NULL;
}

/* The arena of a request is too small for what many mirrors need, so the page gets its own. */
static char *guide_for(struct xfer *x)
{
	const struct config *c = x->proxy->config;
	struct arena own;
	char *made, *kept = NULL;

	arena_init(&own, GUIDE_HEAD + (2 + ESCAPES) * howto_bytes(c));
	made = guide_make(&own, c);
	if (made)
		kept = arena_dup(&x->arena, slice_of(made));
	arena_fini(&own);
	return kept;
}

bool guide_route(struct xfer *x)
{
	const struct slice path = slice_first(x->target, slice_find(x->target, '?'));
	const struct config *c = x->proxy->config;
	char *html;

	if (!x->wants_html || !slice_eq(path, SLICE("/")) ||
	    (x->method != METHOD_GET && x->method != METHOD_HEAD))
		return false;
	if (!c->server.page || !howto_is_ours(c, x->host))
		return false;
	x->cache = "local";
	html = guide_for(x);
	if (html)
		answer_html(x, 200, "style-src 'unsafe-inline'", html);
	else
		answer_text(x, 503, "text/plain", "out of memory\n");
	return true;
}
