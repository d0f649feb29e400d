/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/forward.h"

/* Of one hop, and never passed on; what is needed of them is written anew. */
static const struct slice of_hop[] = {
	{ "Connection", 10 },
	{ "Keep-Alive", 10 },
	{ "Proxy-Connection", 16 },
	{ "TE", 2 },
	{ "Trailer", 7 },
	{ "Transfer-Encoding", 17 },
	{ "Upgrade", 7 },
	{ "Content-Length", 14 },
	{ "Proxy-Authenticate", 18 },
	{ "Expect", 6 },
	{ "Proxy-Authorization", 19 },
	{ "HTTP2-Settings", 14 },
};

/* Of a request: ours to say. */
static const struct slice ours[] = {
	{ "Host", 4 },
	{ "X-Forwarded-For", 15 },
	{ "X-Forwarded-Host", 16 },
	{ "X-Forwarded-Proto", 17 },
};

/* Servers that hand fields to programs as variables cannot tell '_' from '-'. */
static bool is_name(struct slice name, struct slice wanted)
{
	if (name.len != wanted.len)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i] == '_' ? '-' : name.ptr[i];

		if (strncasecmp(&c, wanted.ptr + i, 1) != 0)
			return false;
	}
	return true;
}

static bool is_among(struct slice name, const struct slice *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_name(name, names[i]))
			return true;
	return false;
}

static bool is_of_hop(const struct msg *m, const struct field *f)
{
	return is_among(f->name, of_hop, countof(of_hop)) ||
	       msg_has_token(m, "Connection", f->name);
}

static bool is_websocket(const struct msg *m)
{
	return msg_has_token(m, "Connection", SLICE("upgrade")) &&
	       slice_ieq(msg_field(m, "Upgrade"), SLICE("websocket"));
}

bool forward_is_websocket(const struct msg *m)
{
	return m->method == METHOD_GET && m->major == 1 && m->minor == 1 && m->body == BODY_NONE &&
	       is_websocket(m);
}

bool forward_is_switched(const struct msg *m)
{
	return m->status == 101 && is_websocket(m);
}

static bool put_field(struct buf *out, struct slice name, struct slice value)
{
	return buf_append(out, name) && buf_append(out, SLICE(": ")) && buf_append(out, value) &&
	       buf_append(out, SLICE("\r\n"));
}

static bool put_forwarded(const struct msg *m, const struct forward *f, struct buf *out)
{
	unsigned at = 0;
	struct slice value;

	if (!buf_append(out, SLICE("X-Forwarded-For: ")))
		return false;
	while (!f->anew && msg_field_next(m, "X-Forwarded-For", &at, &value))
		if (value.len && (!buf_append(out, value) || !buf_append(out, SLICE(", "))))
			return false;
	return buf_append(out, f->client) && buf_append(out, SLICE("\r\n")) &&
	       put_field(out, SLICE("X-Forwarded-Proto"),
			 f->https ? SLICE("https") : SLICE("http")) &&
	       put_field(out, SLICE("X-Forwarded-Host"), m->authority);
}

static bool put_framing(const struct msg *m, const struct forward *f, struct buf *out)
{
	bool wants = m->method == METHOD_POST || m->method == METHOD_PUT ||
		     m->method == METHOD_PATCH;

	if (m->expect_continue && f->body != BODY_NONE &&
	    !put_field(out, SLICE("Expect"), SLICE("100-continue")))
		return false;
	if (f->websocket)
		return buf_append(out, SLICE("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
	if (f->body == BODY_CHUNKED)
		return buf_append(out, SLICE("Transfer-Encoding: chunked\r\n"));
	if (f->body == BODY_LENGTH || wants) /* (RFC 9110 8.6) */
		return buf_printf(out, "Content-Length: %llu\r\n",
				  f->body == BODY_LENGTH ? (unsigned long long)f->body_bytes : 0);
	return true;
}

/* All in one: HTTP/2 cuts it into pieces (RFC 9113 8.2.3). */
static bool put_cookies(const struct msg *m, struct buf *out)
{
	unsigned at = 0;
	struct slice value;
	bool more = false;

	if (!msg_field(m, "Cookie").ptr || msg_has_token(m, "Connection", SLICE("Cookie")))
		return true;
	if (!buf_append(out, SLICE("Cookie: ")))
		return false;
	while (msg_field_next(m, "Cookie", &at, &value)) {
		if ((more && !buf_append(out, SLICE("; "))) || !buf_append(out, value))
			return false;
		more = true;
	}
	return buf_append(out, SLICE("\r\n"));
}

bool forward_request(const struct msg *m, const struct forward *f, struct buf *out)
{
	if (!buf_append(out, m->method_text) || !buf_append(out, SLICE(" ")) ||
	    !buf_append(out, m->target) || !buf_append(out, SLICE(" HTTP/1.1\r\n")) ||
	    !put_field(out, SLICE("Host"), f->host))
		return false;
	for (unsigned i = 0; i < m->fields_count; i++) {
		const struct field *e = &m->fields[i];

		if (is_of_hop(m, e) || is_among(e->name, ours, countof(ours)) ||
		    slice_ieq(e->name, SLICE("Cookie")))
			continue;
		if (!put_field(out, e->name, e->value))
			return false;
	}
	return put_cookies(m, out) && put_forwarded(m, f, out) && put_framing(m, f, out) &&
	       buf_append(out, SLICE("\r\n"));
}

bool forward_answer_has(const struct msg *m, unsigned i)
{
	return !is_of_hop(m, &m->fields[i]);
}
