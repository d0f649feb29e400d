/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/h1.h"

#include <stdlib.h>

#include "test.h"

static struct msg m;
static struct h1_error err;
static size_t used;

static enum h1_result request(const char *text)
{
	memset(&m, 0xa5, sizeof(m)); /* nothing may rely on a zeroed message */
	return h1_parse_request(slice_of(text), &m, &used, &err);
}

static enum h1_result response(const char *text, bool head)
{
	memset(&m, 0xa5, sizeof(m));
	return h1_parse_response(slice_of(text), head, &m, &used, &err);
}

/* 0: accepted; -1: incomplete; else the status of the refusal. */
static int request_status(const char *text)
{
	enum h1_result r = request(text);

	return r == H1_DONE ? 0 : r == H1_MORE ? -1 : err.status;
}

#define REQ(fields) "GET /v2/ HTTP/1.1\r\nHost: m\r\n" fields "\r\n"
#define REQ10(fields) "GET /v2/ HTTP/1.0\r\n" fields "\r\n"
#define RES(status, fields) "HTTP/1.1 " status "\r\n" fields "\r\n"

static const char real_request[] =
	"GET /v2/library/debian/manifests/bookworm?ns=docker.io HTTP/1.1\r\n"
	"Host: mirror.example.com:8443\r\n"
	"User-Agent: containers/5.23.1 (github.com/containers/image)\r\n"
	"Accept: application/vnd.oci.image.manifest.v1+json\r\n"
	"Accept: application/vnd.docker.distribution.manifest.v2+json\r\n"
	"Accept: application/vnd.docker.distribution.manifest.v1+prettyjws\r\n"
	"Accept: application/vnd.docker.distribution.manifest.list.v2+json\r\n"
	"Docker-Distribution-Api-Version: registry/2.0\r\n"
	"Accept-Encoding: gzip\r\n"
	"Connection: close\r\n\r\nrest";

TEST(request_of_a_real_client)
{
	struct slice v;
	unsigned at = 0, accepts = 0;

	require(request(real_request) == H1_DONE);
	check_eq(used, sizeof(real_request) - 5);
	check(m.method == METHOD_GET);
	check(slice_eq(m.target, SLICE("/v2/library/debian/manifests/bookworm?ns=docker.io")));
	check(slice_eq(m.authority, SLICE("mirror.example.com:8443")));
	check(!m.keep_alive);
	check(!m.expect_continue);
	check(m.body == BODY_NONE);
	check_eq(m.fields_count, 9);
	while (msg_field_next(&m, "accept", &at, &v))
		accepts++;
	check_eq(accepts, 4);
	check(slice_eq(msg_field(&m, "accept-encoding"), SLICE("gzip")));
	check(!msg_field(&m, "range").ptr);
}

TEST(methods_are_known_or_other)
{
	request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
	check(m.method == METHOD_HEAD);
	request("PUT / HTTP/1.1\r\nHost: a\r\n\r\n");
	check(m.method == METHOD_PUT);
	request("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
	check(m.method == METHOD_OTHER);
	check(slice_eq(m.method_text, SLICE("PROPFIND")));
	request("get / HTTP/1.1\r\nHost: a\r\n\r\n");
	check(m.method == METHOD_OTHER);
}

TEST(keep_alive_follows_version_and_connection)
{
	request(REQ(""));
	check(m.keep_alive);
	request(REQ("Connection: foo, CLOSE\r\n"));
	check(!m.keep_alive);
	request(REQ("Connection: keep-alive\r\nConnection: close\r\n"));
	check(!m.keep_alive);
	request(REQ10(""));
	check(!m.keep_alive);
	request(REQ10("Connection: Keep-Alive\r\n"));
	check(m.keep_alive);
	request(REQ10("Connection: keep-alive, close\r\n"));
	check(!m.keep_alive);
}

TEST(absolute_form_wins_over_host)
{
	require(request("GET http://Other:80/v2/?a=b HTTP/1.1\r\nHost: m\r\n\r\n") == H1_DONE);
	check(slice_eq(m.authority, SLICE("Other:80")));
	check(slice_eq(m.target, SLICE("/v2/?a=b")));
	require(request("GET HTTPS://[::1] HTTP/1.1\r\nHost: m\r\n\r\n") == H1_DONE);
	check(slice_eq(m.authority, SLICE("[::1]")));
	check(slice_eq(m.target, SLICE("/")));
	check_eq(request_status("GET http://u@h/ HTTP/1.1\r\nHost: m\r\n\r\n"), 400);
	check_eq(request_status("GET http:///x HTTP/1.1\r\nHost: m\r\n\r\n"), 400);
	check_eq(request_status("GET http://h?x HTTP/1.1\r\nHost: m\r\n\r\n"), 400);
	check_eq(request_status("GET http://h/ HTTP/1.1\r\n\r\n"), 400);
}

TEST(empty_lines_before_a_request)
{
	check_eq(request_status("\r\n\r\n" REQ("")), 0);
	check_eq(used, 4 + strlen(REQ("")));
	check_eq(request_status("\r\n\r\n\r\n" REQ("")), 400);
	check_eq(request_status("\n" REQ("")), 400);
	check_eq(request_status("\r"), -1);
	check_eq(request_status("\rX"), 400);
	check_eq(request_status(""), -1);
}

TEST(request_lines_refused)
{
	static const struct {
		const char *line;
		int status;
	} cases[] = {
		{ "GET /  HTTP/1.1", 400 },
		{ "GET  / HTTP/1.1", 400 },
		{ " GET / HTTP/1.1", 400 },
		{ "GET / HTTP/1.1 ", 400 },
		{ "GET /\tHTTP/1.1", 400 },
		{ "GET\t/ HTTP/1.1", 400 },
		{ "GET / http/1.1", 400 },
		{ "GET / HTTP/1.10", 400 },
		{ "GET / HTTP/1,1", 400 },
		{ "GET / HTTP/+1.1", 400 },
		{ "GET /", 400 },
		{ "GET", 400 },
		{ "GET / HTTP/1.2", 505 },
		{ "GET / HTTP/0.9", 505 },
		{ "PRI * HTTP/2.0", 505 },
		{ "OPTIONS * HTTP/1.1", 400 },
		{ "CONNECT h:443 HTTP/1.1", 400 },
		{ "GET ftp://h/ HTTP/1.1", 400 },
		{ "GET /a#b HTTP/1.1", 400 },
		{ "GET /\x80 HTTP/1.1", 400 },
		{ "GET /\x7f HTTP/1.1", 400 },
		{ "GET /a\rb HTTP/1.1", 400 },
		{ "G(T / HTTP/1.1", 400 },
		{ "GET: / HTTP/1.1", 400 },
		{ "\x16\x03\x01", 400 },
		{ "GET v2/ HTTP/1.1", 400 },
	};
	char text[256];

	for (size_t i = 0; i < countof(cases); i++) {
		snprintf(text, sizeof(text), "%s\r\nHost: m\r\n\r\n", cases[i].line);
		if (!check_eq(request_status(text), cases[i].status))
			printf("# line: %s\n", cases[i].line);
	}
}

static const struct {
	const char *fields;
	int status;
} fields_cases[] = {
	{ "Host: m\r\nA : b\r\n", 400 },
	{ "Host: m\r\n: b\r\n", 400 },
	{ "Host: m\r\nA\r\n", 400 },
	{ "Host: m\r\nA: b\r\n c\r\n", 400 },
	{ "Host: m\r\n A: b\r\n", 400 },
	{ "Host: m\r\nA: b\rc\r\n", 400 },
	{ "Host: m\r\nA: b\n", 400 },
	{ "Host: m\r\nA: b\n\r\n", 400 },
	{ "Host: m\r\nA: b\r\r\n", 400 },
	{ "Host: m\r\nA\x80: b\r\n", 400 },
	{ "Host: m\r\nA: \x01\r\n", 400 },
	{ "Host: m\r\nA: \x7f\r\n", 400 },
	{ "", 400 },
	{ "Host: m\r\nHost: m\r\n", 400 },
	{ "Host: m\r\nhOST: n\r\n", 400 },
	{ "Host:\r\n", 400 },
	{ "Host: a b\r\n", 400 },
	{ "Host: a,b\r\n", 400 },
	{ "Host: u@a\r\n", 400 },
	{ "Host: a/b\r\n", 400 },
	{ "Host: a:\r\n", 400 },
	{ "Host: a:0\r\n", 400 },
	{ "Host: a:65536\r\n", 400 },
	{ "Host: a:1x\r\n", 400 },
	{ "Host: [::1\r\n", 400 },
	{ "Host: ::1\r\n", 400 },
	/* Framing: what request smuggling is made of. */
	{ "Host: m\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400 },
	{ "Host: m\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400 },
	{ "Host: m\r\nContent-Length: 5\r\nContent-Length: 5\r\n", 400 },
	{ "Host: m\r\nContent-Length: 5\r\nContent-Length: 6\r\n", 400 },
	{ "Host: m\r\nContent-Length: 5, 5\r\n", 400 },
	{ "Host: m\r\nContent-Length: 5,\r\n", 400 },
	{ "Host: m\r\nContent-Length: +5\r\n", 400 },
	{ "Host: m\r\nContent-Length: -5\r\n", 400 },
	{ "Host: m\r\nContent-Length: 0x5\r\n", 400 },
	{ "Host: m\r\nContent-Length: 5 5\r\n", 400 },
	{ "Host: m\r\nContent-Length: \r\n", 400 },
	{ "Host: m\r\nContent-Length: 5.0\r\n", 400 },
	{ "Host: m\r\nContent-Length: 18446744073709551621\r\n", 400 },
	{ "Host: m\r\nContent-Length : 5\r\n", 400 },
	{ "Host: m\r\nTransfer-Encoding: chunked, chunked\r\n", 501 },
	{ "Host: m\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501 },
	{ "Host: m\r\nTransfer-Encoding: identity\r\n", 501 },
	{ "Host: m\r\nTransfer-Encoding: gzip, chunked\r\n", 501 },
	{ "Host: m\r\nTransfer-Encoding: chunked, identity\r\n", 501 },
	{ "Host: m\r\nTransfer-Encoding: xchunked\r\n", 501 },
	{ "Host: m\r\nTransfer-Encoding: \"chunked\"\r\n", 501 },
	{ "Host: m\r\nTransfer-Encoding: chunked;q=1\r\n", 501 },
	{ "Host: m\r\nTransfer-Encoding:\r\n", 501 },
	{ "Host: m\r\nTransfer-Encoding: \x0b"
	  "chunked\r\n",
	  400 },
	{ "Host: m\r\nTransfer-Encoding\t: chunked\r\n", 400 },
	{ "Host: m\r\nTransfer-Encoding:\r\n chunked\r\n", 400 },
};

TEST(fields_refused)
{
	char text[256];

	for (size_t i = 0; i < countof(fields_cases); i++) {
		snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n", fields_cases[i].fields);
		if (!check_eq(request_status(text), fields_cases[i].status))
			printf("# fields: %s\n", fields_cases[i].fields);
	}
	check_eq(request_status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
	check_eq(h1_parse_request(SLICE("GET / HTTP/1.1\r\nHost: m\r\nA: \0\r\n\r\n"), &m, &used,
				  &err),
		 H1_BAD);
}

TEST(fields_accepted)
{
	require(request(REQ("A:b\r\nB: \t c d\t \r\nC:\r\nD: \x80\xff\r\n")) == H1_DONE);
	check(slice_eq(msg_field(&m, "a"), SLICE("b")));
	check(slice_eq(msg_field(&m, "b"), SLICE("c d")));
	check(msg_field(&m, "c").ptr && msg_field(&m, "c").len == 0);
	check(slice_eq(msg_field(&m, "d"), SLICE("\x80\xff")));
	require(request(REQ("Content-Length: 0005\r\nExpect: 100-Continue\r\n")) == H1_DONE);
	check(m.body == BODY_LENGTH);
	check_eq(m.body_bytes, 5);
	check(m.expect_continue);
	require(request(REQ10("Expect: 100-continue\r\n")) == H1_DONE);
	check(!m.expect_continue);
	check(!m.authority.ptr);
	require(request(REQ("Transfer-Encoding: \t Chunked \t\r\n")) == H1_DONE);
	check(m.body == BODY_CHUNKED);
	check(m.keep_alive);
}

TEST(limits_of_a_head)
{
	enum { BIG = HTTP_HEAD_MAX + 100 };
	static char text[BIG + 1];
	struct slice all = { text, BIG };
	size_t n;

	memset(text, 'a', BIG);
	memcpy(text, "GET /", 5);
	check_eq(h1_parse_request(slice_first(all, HTTP_HEAD_MAX - 1), &m, &used, &err), H1_MORE);
	check_eq(h1_parse_request(slice_first(all, HTTP_HEAD_MAX), &m, &used, &err), H1_BAD);
	check_eq(err.status, 414);
	memcpy(text, "GET / HTTP/1.1\r\nHost: m\r\nA: ", 28);
	check_eq(h1_parse_request(all, &m, &used, &err), H1_BAD);
	check_eq(err.status, 431);
	memcpy(text + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
	check_eq(h1_parse_request(all, &m, &used, &err), H1_DONE);
	check_eq(used, HTTP_HEAD_MAX);
	memcpy(text + HTTP_HEAD_MAX - 4, "a\r\n\r\n", 5);
	check_eq(h1_parse_request(all, &m, &used, &err), H1_BAD);
	check_eq(err.status, 431);

	n = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: m\r\n");
	for (unsigned i = 1; i < HTTP_FIELDS_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "A:%u\r\n", i);
	snprintf(text + n, sizeof(text) - n, "\r\n");
	check_eq(request_status(text), 0);
	check_eq(m.fields_count, HTTP_FIELDS_MAX);
	snprintf(text + n, sizeof(text) - n, "A: b\r\n\r\n");
	check_eq(request_status(text), 431);
}

TEST(responses_and_their_bodies)
{
	require(response(RES("200 OK", "Content-Length: 7\r\n"), false) == H1_DONE);
	check_eq(m.status, 200);
	check(m.body == BODY_LENGTH && m.body_bytes == 7 && m.keep_alive);
	require(response(RES("200 OK", "Content-Length: 7\r\n"), true) == H1_DONE);
	check(m.body == BODY_NONE && m.body_bytes == 0 && m.keep_alive);
	require(response(RES("304 Not Modified", "Content-Length: 7\r\n"), false) == H1_DONE);
	check(m.body == BODY_NONE && m.keep_alive);
	require(response(RES("204 No Content", ""), false) == H1_DONE);
	check(m.body == BODY_NONE && m.keep_alive);
	require(response(RES("204 No Content", "Content-Length: 7\r\n"), false) == H1_DONE);
	check(m.body == BODY_NONE && !m.keep_alive);
	require(response(RES("100 Continue", ""), false) == H1_DONE);
	check(m.body == BODY_NONE && m.status == 100);
	require(response(RES("200 OK", ""), false) == H1_DONE);
	check(m.body == BODY_UNTIL_CLOSE && !m.keep_alive);
	require(response(RES("200 OK", "Transfer-Encoding: chunked\r\n"), false) == H1_DONE);
	check(m.body == BODY_CHUNKED && m.keep_alive);
	require(response("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", false) == H1_DONE);
	check(m.minor == 0 && !m.keep_alive);
	/* The same length said twice is one length (RFC 9112 6.3), from an upstream. */
	require(response(RES("200 OK", "Content-Length: 7, 7\r\nContent-Length: 7\r\n"), false) ==
		H1_DONE);
	check(m.body == BODY_LENGTH && m.body_bytes == 7);
}

TEST(status_lines)
{
	check_eq(response(RES("200 ", "Content-Length: 0\r\n"), false), H1_DONE);
	check_eq(response(RES("200", "Content-Length: 0\r\n"), false), H1_DONE);
	check_eq(response(RES("404 Not \xc3\xa4 Found", "Content-Length: 0\r\n"), false), H1_DONE);
	check_eq(m.status, 404);
	check_eq(response(RES("99 x", ""), false), H1_BAD);
	check_eq(err.status, 502);
	check_eq(response(RES("600 x", ""), false), H1_BAD);
	check_eq(response(RES("0200 x", ""), false), H1_BAD);
	check_eq(response(RES("20x x", ""), false), H1_BAD);
	check_eq(response(RES(" 200 x", ""), false), H1_BAD);
	check_eq(response(RES("101 Switching Protocols", ""), false), H1_BAD);
	check_eq(response(RES("200 a\x01", ""), false), H1_BAD);
	check_eq(response("HTTP/2 200 OK\r\n\r\n", false), H1_BAD);
	check_eq(response("ICY 200 OK\r\n\r\n", false), H1_BAD);
	check_eq(response("\r\n" RES("200 OK", ""), false), H1_BAD);
}

TEST(responses_refused)
{
	static const char *const fields[] = {
		"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
		"Content-Length: 7\r\nContent-Length: 8\r\n",
		"Content-Length: 7, 8\r\n",
		"Content-Length: 7,\r\n",
		"Content-Length: , 7\r\n",
		"Content-Length: -1\r\n",
		"Transfer-Encoding: gzip, chunked\r\n",
		"Transfer-Encoding: identity\r\n",
	};
	char text[256];

	for (size_t i = 0; i < countof(fields); i++) {
		snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%s\r\n", fields[i]);
		check_eq(response(text, false), H1_BAD);
		check_eq(err.status, 502);
	}
}

/* Each prefix gives MORE or what the whole gives; and the verdict comes at a fixed byte. */
TEST(heads_may_be_split_anywhere)
{
	static const char *const texts[] = {
		real_request,
		"\r\n" REQ("A: b\r\n") "x",
		REQ("A: b\rc\r\n"),
		REQ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
		"GET / HTTP/3.0\r\n\r\n",
		"\r\n\r\n\r\nGET",
	};

	for (size_t i = 0; i < countof(texts); i++) {
		enum h1_result whole = request(texts[i]);
		size_t whole_used = used, len = strlen(texts[i]);
		struct h1_error whole_err = err;
		bool decided = false;

		for (size_t n = 0; n <= len; n++) {
			char *part = malloc(n + 1); /* of that size: ASan sees a read past it */
			enum h1_result r;

			memcpy(part, texts[i], n);
			r = h1_parse_request((struct slice){ part, n }, &m, &used, &err);
			check(r == H1_MORE ? !decided : r == whole);
			decided |= r != H1_MORE;
			if (r == H1_DONE)
				check_eq(used, whole_used);
			if (r == H1_BAD)
				check_str(err.why, whole_err.why);
			free(part);
		}
		check(decided);
	}
}

/* The payload of <text> fed in pieces of <step> bytes; the result; *rest: bytes behind the body. */
static enum h1_result body_feed(struct msg *head, const char *text, size_t len, size_t step,
				char *out, size_t *out_len, size_t *rest)
{
	struct h1_body b;
	size_t at = 0, end = 0;
	enum h1_result r = H1_MORE;

	h1_body_init(&b, head);
	*out_len = 0;
	while (r == H1_MORE && (at < len || end == 0)) {
		struct slice in, payload;
		size_t n;

		end = at + step < len ? at + step : len;
		in = (struct slice){ text + at, end - at };
		r = h1_body_next(&b, in, &n, &payload);
		check(n <= in.len);
		check(payload.len <= n);
		memcpy(out + *out_len, payload.len ? payload.ptr : "", payload.len);
		*out_len += payload.len;
		at += n;
		if (r == H1_MORE && n == 0)
			break;
	}
	*rest = len - at;
	return r;
}

TEST(chunked_bodies_may_be_split_anywhere)
{
	static const char text[] = "5\r\nhello\r\n00000000000000A;x=\"y\"\r\n, my world\r\n"
				   "0\r\nX-Sum: 1\r\nY:\r\n\r\nNEXT";
	struct msg head = { .body = BODY_CHUNKED };
	char out[64];
	size_t len, rest;

	for (size_t step = 1; step < sizeof(text); step++) {
		check_eq(body_feed(&head, text, sizeof(text) - 1, step, out, &len, &rest), H1_DONE);
		check_eq(len, 15);
		check_mem(out, "hello, my world", 15);
		check_eq(rest, 4);
	}
	check_eq(body_feed(&head, text, sizeof(text) - 6, 7, out, &len, &rest), H1_MORE);
}

TEST(chunk_framing_refused)
{
	static const char *const texts[] = {
		"\r\n",
		"x\r\n",
		"+5\r\nhello\r\n",
		"-5\r\nhello\r\n",
		"0x5\r\nhello",
		" 5\r\nhello",
		"5 \r\nhello",
		"5\t\r\nhello",
		"5\nhello\r\n",
		"5\r\rhello",
		"5\r\nhello\n",
		"5\r\nhello\rX",
		"5\r\nhelloX",
		"5;a\nhello",
		"5;a\r hello",
		"5;\x01\r\nhello",
		"0\n\n",
		"0\r\n\n",
		"0\r\n\rX",
		"0\r\n A: b\r\n\r\n",
		"0\r\nA : b\r\n",
		"0\r\nA\r\n\r\n",
		"0\r\nA: b\n\r\n",
		"0\r\nA: b\r c\r\n",
		"0\r\n: b\r\n",
		"10000000000000000\r\n",
		"00000000000000005\r\nhello",
	};
	struct msg head = { .body = BODY_CHUNKED };
	char out[64];
	size_t len, rest;

	for (size_t i = 0; i < countof(texts); i++)
		for (size_t step = 1; step < 30; step++)
			if (!check_eq(body_feed(&head, texts[i], strlen(texts[i]), step, out, &len,
						&rest),
				      H1_BAD))
				printf("# text: %s\n", texts[i]);
}

TEST(chunk_extensions_and_trailers_are_bounded)
{
	static char text[9000];
	struct msg head = { .body = BODY_CHUNKED };
	char out[8];
	size_t len, rest;

	memset(text, 'a', sizeof(text));
	memcpy(text, "1;", 2);
	memcpy(text + 2 + 256, "\r\nx\r\n0\r\n\r\n", 11);
	check_eq(body_feed(&head, text, 2 + 256 + 11, 4096, out, &len, &rest), H1_DONE);
	memset(text + 2, 'a', 300);
	memcpy(text + 2 + 257, "\r\nx\r\n0\r\n\r\n", 11);
	check_eq(body_feed(&head, text, 2 + 257 + 11, 4096, out, &len, &rest), H1_BAD);
	memset(text, 'a', sizeof(text));
	memcpy(text, "0\r\na:", 5);
	check_eq(body_feed(&head, text, 3 + 8192, 4096, out, &len, &rest), H1_MORE);
	check_eq(body_feed(&head, text, 3 + 8193, 4096, out, &len, &rest), H1_BAD);
}

TEST(bodies_of_the_other_kinds)
{
	struct msg head = { .body = BODY_LENGTH, .body_bytes = 4 };
	struct h1_body b;
	struct slice payload;
	char out[64];
	size_t len, rest, n;

	for (size_t step = 1; step < 7; step++) {
		check_eq(body_feed(&head, "abcdef", 6, step, out, &len, &rest), H1_DONE);
		check_eq(len, 4);
		check_eq(rest, 2);
	}
	check_eq(body_feed(&head, "abc", 3, 2, out, &len, &rest), H1_MORE);
	head.body_bytes = 0;
	check_eq(body_feed(&head, "abc", 3, 2, out, &len, &rest), H1_DONE);
	check_eq(rest, 3);
	head.body = BODY_NONE;
	check_eq(body_feed(&head, "abc", 3, 2, out, &len, &rest), H1_DONE);
	check_eq(rest, 3);
	head.body = BODY_UNTIL_CLOSE;
	check_eq(body_feed(&head, "abc", 3, 2, out, &len, &rest), H1_MORE);
	check_eq(len, 3);
	/* A result that is final stays so. */
	head.body = BODY_CHUNKED;
	h1_body_init(&b, &head);
	check_eq(h1_body_next(&b, SLICE("x"), &n, &payload), H1_BAD);
	check_eq(h1_body_next(&b, SLICE("0\r\n\r\n"), &n, &payload), H1_BAD);
	check_eq(n, 0);
	h1_body_init(&b, &head);
	check_eq(h1_body_next(&b, SLICE("0\r\n\r\n"), &n, &payload), H1_DONE);
	check_eq(h1_body_next(&b, SLICE("x"), &n, &payload), H1_DONE);
	check_eq(n, 0);
}
