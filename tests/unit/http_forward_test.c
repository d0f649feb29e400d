/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/forward.h"

#include "http/h1.h"
#include "test.h"

static struct msg m;
static char out[HTTP_HEAD_MAX];

/* The head that goes on for <text>, or NULL. */
static const char *forwarded(const char *text, struct forward f)
{
	struct h1_error e;
	struct buf b;
	size_t used;

	if (h1_parse_request(slice_of(text), &m, &used, &e) != H1_DONE)
		return NULL;
	if (!f.host.ptr)
		f.host = m.authority;
	f.client = SLICE("192.0.2.9");
	f.body = m.body;
	f.body_bytes = m.body_bytes;
	f.websocket = forward_is_websocket(&m);
	buf_init(&b, out, sizeof(out) - 1);
	if (!forward_request(&m, &f, &b))
		return NULL;
	out[b.tail] = '\0';
	return out;
}

#define OURS "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.b\r\n"

TEST(what_is_of_one_hop_stays_there)
{
	check_str(forwarded("GET /x?y HTTP/1.1\r\nHost: a.b\r\nConnection: close, X-Hop, te\r\n"
			    "x-hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\n"
			    "Proxy-Authorization: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
			    "Trailer: x\r\nX-End: 1\r\n\r\n",
			    (struct forward){ 0 }),
		  "GET /x?y HTTP/1.1\r\nHost: a.b\r\nX-End: 1\r\n" OURS "\r\n");
	/* What a client disowns is its own business; what we say is not. */
	check_str(forwarded("GET / HTTP/1.1\r\nHost: a.b\r\n"
			    "Connection: Cookie, Host, X-Forwarded-For, Content-Length\r\n"
			    "Cookie: a\r\nContent-Length: 3\r\n\r\n",
			    (struct forward){ 0 }),
		  "GET / HTTP/1.1\r\nHost: a.b\r\n" OURS "Content-Length: 3\r\n\r\n");
}

TEST(who_the_client_is_is_ours_to_say)
{
	check_str(forwarded("GET / HTTP/1.1\r\nHost: a.b:1\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n"
			    "x-forwarded-for:\r\nX-Forwarded-For: 3.3.3.3\r\n"
			    "X_Forwarded_For: 4.4.4.4\r\nX-Forwarded_Proto: x\r\n"
			    "X-Forwarded-Proto: x\r\nX-Forwarded-Host: x\r\n\r\n",
			    (struct forward){ .host = SLICE("in:8"), .https = true }),
		  "GET / HTTP/1.1\r\nHost: in:8\r\n"
		  "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.9\r\n"
		  "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a.b:1\r\n\r\n");
	check_str(forwarded("GET / HTTP/1.1\r\nHost: a.b\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
			    (struct forward){ .anew = true }),
		  "GET / HTTP/1.1\r\nHost: a.b\r\n" OURS "\r\n");
	check_str(
		forwarded("GET http://q.r/x HTTP/1.1\r\nHost: a.b\r\n\r\n", (struct forward){ 0 }),
		"GET /x HTTP/1.1\r\nHost: q.r\r\nX-Forwarded-For: 192.0.2.9\r\n"
		"X-Forwarded-Proto: http\r\nX-Forwarded-Host: q.r\r\n\r\n");
}

TEST(bodies_are_framed_anew)
{
	static const struct {
		const char *fields;
		const char *framing;
	} cases[] = {
		{ "Content-Length: 007\r\n", "Content-Length: 7\r\n" },
		{ "Transfer-Encoding: Chunked\r\n", "Transfer-Encoding: chunked\r\n" },
		{ "", "Content-Length: 0\r\n" },
		{ "Expect: 100-continue\r\nContent-Length: 1\r\n",
		  "Expect: 100-continue\r\nContent-Length: 1\r\n" },
		{ "Expect: 100-continue\r\n", "Content-Length: 0\r\n" },
		{ "Expect: other\r\n", "Content-Length: 0\r\n" },
		{ "Content_Length: 9\r\nTransfer_Encoding: chunked\r\n", "Content-Length: 0\r\n" },
	};
	char text[200], want[300];

	for (unsigned i = 0; i < countof(cases); i++) {
		snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a.b\r\n%s\r\n",
			 cases[i].fields);
		snprintf(want, sizeof(want), "POST / HTTP/1.1\r\nHost: a.b\r\n" OURS "%s\r\n",
			 cases[i].framing);
		check_str(forwarded(text, (struct forward){ 0 }), want);
	}
}

TEST(cookies_are_one_field)
{
	check(strstr(forwarded("GET / HTTP/1.1\r\nHost: a.b\r\nCookie: a=1\r\nX: 1\r\n"
			       "cookie: b=2\r\n\r\n",
			       (struct forward){ 0 }),
		     "\r\nX: 1\r\nCookie: a=1; b=2\r\n"));
}

TEST(websockets_alone_may_switch)
{
	static const struct {
		const char *text;
		bool is;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, upgrade\r\n"
		  "Upgrade: WebSocket\r\n\r\n",
		  true },
		{ "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
		  false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
		  "Upgrade: websocket, h2c\r\n\r\n",
		  false },
		{ "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\n"
		  "Upgrade: websocket\r\n\r\n",
		  false },
		{ "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
		  "Upgrade: websocket\r\n\r\n",
		  false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
		  "Content-Length: 1\r\n\r\n",
		  false },
	};

	for (unsigned i = 0; i < countof(cases); i++) {
		const char *text = forwarded(cases[i].text, (struct forward){ 0 });

		require(text);
		check_eq(forward_is_websocket(&m), cases[i].is);
		check_eq(strstr(text, "Upgrade: websocket\r\n") != NULL, cases[i].is);
	}
}

TEST(answers_keep_what_is_of_both_ends)
{
	const char *text = "HTTP/1.1 101 x\r\nConnection: Upgrade, X-Hop\r\nUpgrade: websocket\r\n"
			   "X-Hop: 1\r\nSet-Cookie: a\r\nDate: x\r\n\r\n";
	static const bool has[] = { false, false, false, true, true };
	struct h1_error e;
	size_t used;

	check_eq(h1_parse_response(slice_of(text), false, &m, &used, &e), H1_BAD);
	require(h1_parse_switch(slice_of(text), &m, &used, &e) == H1_DONE);
	check(forward_is_switched(&m));
	for (unsigned i = 0; i < m.fields_count; i++)
		check_eq(forward_answer_has(&m, i), has[i]);
	text = "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
	require(h1_parse_switch(slice_of(text), &m, &used, &e) == H1_DONE);
	check(!forward_is_switched(&m));
}

TEST(what_does_not_fit_is_refused)
{
	struct forward f = { .host = SLICE("a.b"), .client = SLICE("1.2.3.4") };
	struct h1_error e;
	struct buf b;
	size_t used, len;

	require(forwarded("PUT /x HTTP/1.1\r\nHost: a.b\r\nCookie: q\r\nX: y\r\n\r\n", f));
	len = strlen(out);
	require(h1_parse_request(
			slice_of("PUT /x HTTP/1.1\r\nHost: a.b\r\nCookie: q\r\nX: y\r\n\r\n"), &m,
			&used, &e) == H1_DONE);
	f.client = SLICE("192.0.2.9");
	for (size_t cap = 0; cap <= len; cap++) {
		buf_init(&b, out, cap);
		check_eq(forward_request(&m, &f, &b), cap == len);
	}
}
