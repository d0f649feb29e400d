/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A head is parsed line by line, and only whole lines are judged: so any prefix of an input gives
 * H1_MORE or the verdict that the whole input gets.  The caller calls again with all bytes so far.
 */
#include "http/h1.h"

#include "http/uri.h"

enum {
	EMPTY_LINES_MAX = 2,
	CHUNK_DIGITS_MAX = 16, /* of a 64-bit size, leading zeros among them */
	CHUNK_EXT_MAX = 256,
	TRAILERS_MAX = 8 * 1024,
};

/* RFC 9110 5.6.2: tchar. */
static const bool token_chars[256] = {
	['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1,         ['\''] = 1,
	['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1,
	['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['a' ... 'z'] = 1, ['~'] = 1,
};

/* RFC 9110 5.5: what a field value is made of, obs-text included. */
static const bool value_chars[256] = {
	['\t'] = 1,
	[0x20 ... 0x7e] = 1,
	[0x80 ... 0xff] = 1,
};

/* One head while it is parsed. */
struct head {
	const char *at;
	const char *end;
	bool full; /* the input reaches the limit: what is not there may never come */
	bool is_request;
	bool may_switch; /* 101 is an answer */
	unsigned hosts;
	unsigned lengths;
	unsigned codings;
	uint64_t length;
	struct slice host;
	struct slice coding; /* Transfer-Encoding, the last one */
	struct msg *m;
	struct h1_error *e;
};

/* Without a way out of the loop: nearly all heads are right. */
static bool all_of(struct slice s, const bool table[256])
{
	bool all = true;

	for (size_t i = 0; i < s.len; i++)
		all &= table[(unsigned char)s.ptr[i]];
	return all;
}

static cold enum h1_result bad(struct head *h, int status, const char *why)
{
	/* To a client, whatever is wrong with an upstream's answer is the gateway's trouble. */
	*h->e = (struct h1_error){ h->is_request ? status : 502, why };
	return H1_BAD;
}

/* DONE: *line is the next one, without its CRLF. */
static enum h1_result next_line(struct head *h, struct slice *line)
{
	const char *lf = memchr(h->at, '\n', (size_t)(h->end - h->at));

	if (!lf)
		return h->full ? bad(h, 431, "head is too long") : H1_MORE;
	if (lf == h->at || lf[-1] != '\r')
		return bad(h, 400, "line ends in LF without CR");
	*line = slice_range(h->at, lf - 1);
	h->at = lf + 1;
	return H1_DONE;
}

static void head_init(struct head *h, struct slice data, bool is_request, struct msg *m,
		      struct h1_error *e)
{
	struct slice seen = slice_first(data, HTTP_HEAD_MAX);

	*h = (struct head){
		.at = seen.ptr,
		.end = seen.len ? seen.ptr + seen.len : seen.ptr,
		.full = seen.len == HTTP_HEAD_MAX,
		.is_request = is_request,
		.m = m,
		.e = e,
	};
	/* The fields are 3 KB and need no clearing: fields_count bounds them. */
	memset(m, 0, offsetof(struct msg, fields));
}

static enum http_method method_of(struct slice s)
{
	static const struct {
		struct slice text;
		enum http_method method;
	} methods[] = {
		{ { "GET", 3 }, METHOD_GET },         { { "HEAD", 4 }, METHOD_HEAD },
		{ { "POST", 4 }, METHOD_POST },       { { "PUT", 3 }, METHOD_PUT },
		{ { "PATCH", 5 }, METHOD_PATCH },     { { "DELETE", 6 }, METHOD_DELETE },
		{ { "OPTIONS", 7 }, METHOD_OPTIONS },
	};

	for (size_t i = 0; i < countof(methods); i++)
		if (slice_eq(s, methods[i].text))
			return methods[i].method;
	return METHOD_OTHER;
}

/* "HTTP/1.0" and "HTTP/1.1"; other numbers are another protocol, anything else is not HTTP. */
static enum h1_result parse_version(struct head *h, struct slice s)
{
	if (s.len != 8 || memcmp(s.ptr, "HTTP/", 5) != 0 || s.ptr[6] != '.' || s.ptr[5] < '0' ||
	    s.ptr[5] > '9' || s.ptr[7] < '0' || s.ptr[7] > '9')
		return bad(h, 400, "malformed HTTP version");
	if (s.ptr[5] != '1' || s.ptr[7] > '1')
		return bad(h, 505, "HTTP version is neither 1.0 nor 1.1");
	h->m->major = 1;
	h->m->minor = (uint8_t)(s.ptr[7] - '0');
	return H1_DONE;
}

static enum h1_result parse_absolute_form(struct head *h, struct slice rest)
{
	size_t n = 0;

	while (n < rest.len && rest.ptr[n] != '/' && rest.ptr[n] != '?')
		n++;
	h->m->authority = slice_first(rest, n);
	if (!authority_split(h->m->authority, NULL, NULL))
		return bad(h, 400, "bad authority in the request target");
	/* "http://host?query" has no path, which no client sends. */
	if (n < rest.len && rest.ptr[n] == '?')
		return bad(h, 400, "request target without a path");
	h->m->target = n < rest.len ? slice_skip(rest, n) : SLICE("/");
	return H1_DONE;
}

static enum h1_result parse_target(struct head *h, struct slice s)
{
	static const bool is_target[256] = {
		['!' ... '"'] = true,
		['$' ... '~'] = true,
	};
	static const struct slice schemes[] = { { "http://", 7 }, { "https://", 8 } };

	if (s.len == 0)
		return bad(h, 400, "empty request target");
	if (!all_of(s, is_target))
		return bad(h, 400, "forbidden byte in the request target");
	if (s.ptr[0] == '/') {
		h->m->target = s;
		return H1_DONE;
	}
	for (size_t i = 0; i < countof(schemes); i++)
		if (slice_ieq(slice_first(s, schemes[i].len), schemes[i]))
			return parse_absolute_form(h, slice_skip(s, schemes[i].len));
	return bad(h, 400, "request target is neither a path nor an http URL");
}

static enum h1_result parse_request_line(struct head *h, struct slice line)
{
	struct slice rest = line;
	struct slice method = slice_cut(&rest, ' ');
	struct slice target = slice_cut(&rest, ' ');

	if (method.len == 0 || !all_of(method, token_chars))
		return bad(h, 400, "malformed method");
	h->m->method_text = method;
	h->m->method = method_of(method);
	if (parse_version(h, rest) == H1_BAD)
		return H1_BAD;
	return parse_target(h, target);
}

static enum h1_result parse_status_line(struct head *h, struct slice line)
{
	struct slice rest = line;
	struct slice version = slice_cut(&rest, ' ');
	struct slice code = slice_cut(&rest, ' ');
	uint64_t status = 0;

	if (parse_version(h, version) == H1_BAD)
		return H1_BAD;
	if (code.len != 3 || !http_parse_uint(code, &status) || status < 100 || status > 599)
		return bad(h, 502, "malformed status");
	if (status == 101 && !h->may_switch)
		return bad(h, 502, "switch of protocols that was not asked for");
	if (!all_of(rest, value_chars))
		return bad(h, 502, "forbidden byte in the reason phrase");
	h->m->status = (int)status;
	return H1_DONE;
}

/* Repeated equal lengths are tolerated from upstreams (RFC 9112 6.3), never from clients. */
static enum h1_result parse_length(struct head *h, struct slice list)
{
	for (;;) {
		size_t comma = slice_find(list, ',');
		uint64_t n = 0;

		if (!http_parse_uint(slice_trim(slice_first(list, comma)), &n))
			return bad(h, 400, "malformed Content-Length");
		if (h->lengths > 0 && (h->is_request || n != h->length))
			return bad(h, 400, "several Content-Lengths");
		h->length = n;
		h->lengths++;
		if (comma == list.len)
			return H1_DONE;
		list = slice_skip(list, comma + 1);
	}
}

static enum h1_result note_host(struct head *h, struct slice value)
{
	if (h->hosts++ > 0)
		return bad(h, 400, "several Host fields");
	if (!authority_split(value, NULL, NULL))
		return bad(h, 400, "malformed Host");
	h->host = value;
	return H1_DONE;
}

/* The fields that decide where the message ends and whom it is for. */
static enum h1_result note_field(struct head *h, const struct field *f)
{
	switch (f->name.len) {
	case 4:
		if (h->is_request && slice_ieq(f->name, SLICE("Host")))
			return note_host(h, f->value);
		break;
	case 6:
		if (slice_ieq(f->name, SLICE("Expect")))
			h->m->expect_continue |= slice_ieq(f->value, SLICE("100-continue"));
		break;
	case 14:
		if (slice_ieq(f->name, SLICE("Content-Length")))
			return parse_length(h, f->value);
		break;
	case 17:
		if (slice_ieq(f->name, SLICE("Transfer-Encoding"))) {
			h->coding = f->value;
			h->codings++;
		}
		break;
	}
	return H1_DONE;
}

static enum h1_result parse_field(struct head *h, struct slice line)
{
	size_t colon = 0;
	struct field *f;

	while (colon < line.len && token_chars[(unsigned char)line.ptr[colon]])
		colon++;
	if (colon == 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
		return bad(h, 400, "folded field");
	if (colon == 0 || colon == line.len || line.ptr[colon] != ':')
		return bad(h, 400, "malformed field name");
	if (h->m->fields_count == HTTP_FIELDS_MAX)
		return bad(h, 431, "too many fields");
	f = &h->m->fields[h->m->fields_count++];
	f->name = slice_first(line, colon);
	f->value = slice_trim(slice_skip(line, colon + 1));
	if (!all_of(f->value, value_chars))
		return bad(h, 400, "forbidden byte in a field value");
	return note_field(h, f);
}

/* DONE: the empty line was reached. */
static enum h1_result parse_fields(struct head *h)
{
	for (;;) {
		struct slice line;
		enum h1_result r = next_line(h, &line);

		if (r != H1_DONE)
			return r;
		if (line.len == 0)
			return H1_DONE;
		if (parse_field(h, line) == H1_BAD)
			return H1_BAD;
	}
}

/* What both kinds of message share: the framing fields may not contradict (RFC 9112 6.1, 6.3). */
static enum h1_result settle_framing(struct head *h)
{
	struct msg *m = h->m;

	if (h->codings > 0) {
		if (h->lengths > 0)
			return bad(h, 400, "both Content-Length and Transfer-Encoding");
		if (m->minor == 0)
			return bad(h, 400, "Transfer-Encoding in HTTP/1.0");
		if (h->codings > 1 || !slice_ieq(h->coding, SLICE("chunked")))
			return bad(h, 501, "transfer coding other than chunked");
		m->body = BODY_CHUNKED;
	} else if (h->lengths > 0) {
		m->body = BODY_LENGTH;
		m->body_bytes = h->length;
	}
	m->keep_alive = !msg_has_token(m, "Connection", SLICE("close")) &&
			(m->minor > 0 || msg_has_token(m, "Connection", SLICE("keep-alive")));
	return H1_DONE;
}

static enum h1_result settle_request(struct head *h)
{
	struct msg *m = h->m;

	if (m->minor > 0 && h->hosts == 0)
		return bad(h, 400, "no Host field");
	if (!m->authority.ptr) /* absolute-form wins (RFC 9112 3.2.2) */
		m->authority = h->host;
	if (m->minor == 0)
		m->expect_continue = false;
	return settle_framing(h);
}

static enum h1_result settle_response(struct head *h, bool head)
{
	struct msg *m = h->m;
	bool bodiless = m->status < 200 || m->status == 204;

	if (settle_framing(h) == H1_BAD)
		return H1_BAD;
	/* A body announced where none may be: whether it comes, only the connection's end tells. */
	if (bodiless && (m->body == BODY_CHUNKED || m->body_bytes > 0))
		m->keep_alive = false;
	if (bodiless || m->status == 304 || head) {
		m->body = BODY_NONE;
		m->body_bytes = 0;
	} else if (m->body == BODY_NONE) {
		m->body = BODY_UNTIL_CLOSE;
		m->keep_alive = false;
	}
	return H1_DONE;
}

static enum h1_result skip_empty_lines(struct head *h)
{
	for (unsigned n = 0; h->at < h->end && *h->at == '\r'; n++) {
		if (n == EMPTY_LINES_MAX)
			return bad(h, 400, "too many empty lines before a request");
		if (h->end - h->at < 2)
			return H1_MORE;
		if (h->at[1] != '\n')
			return bad(h, 400, "CR without LF");
		h->at += 2;
	}
	return h->at < h->end ? H1_DONE : H1_MORE;
}

enum h1_result h1_parse_request(struct slice data, struct msg *m, size_t *used, struct h1_error *e)
{
	struct head h;
	struct slice line;
	enum h1_result r;

	head_init(&h, data, true, m, e);
	r = skip_empty_lines(&h);
	if (r != H1_DONE)
		return r;
	/* A TLS hello on a plain port has no LF to wait for. */
	if (!token_chars[(unsigned char)*h.at])
		return bad(&h, 400, "malformed method");
	r = next_line(&h, &line);
	if (r == H1_BAD && e->status == 431)
		return bad(&h, 414, "request line is too long");
	if (r == H1_DONE)
		r = parse_request_line(&h, line);
	if (r == H1_DONE)
		r = parse_fields(&h);
	if (r == H1_DONE)
		r = settle_request(&h);
	if (r == H1_DONE)
		*used = (size_t)(h.at - data.ptr);
	return r;
}

static enum h1_result parse_response(struct slice data, bool head, bool may_switch, struct msg *m,
				     size_t *used, struct h1_error *e)
{
	struct head h;
	struct slice line;
	enum h1_result r;

	head_init(&h, data, false, m, e);
	h.may_switch = may_switch;
	if (h.at == h.end)
		return H1_MORE;
	r = next_line(&h, &line);
	if (r == H1_DONE)
		r = parse_status_line(&h, line);
	if (r == H1_DONE)
		r = parse_fields(&h);
	if (r == H1_DONE)
		r = settle_response(&h, head);
	if (r == H1_DONE)
		*used = (size_t)(h.at - data.ptr);
	return r;
}

enum h1_result h1_parse_response(struct slice data, bool head, struct msg *m, size_t *used,
				 struct h1_error *e)
{
	return parse_response(data, head, false, m, used, e);
}

enum h1_result h1_parse_switch(struct slice data, struct msg *m, size_t *used, struct h1_error *e)
{
	return parse_response(data, false, true, m, used, e);
}

/* Where in the chunked coding (RFC 9112 7.1) the next byte stands. */
enum chunk_state {
	CHUNK_SIZE, /* seen: digits */
	CHUNK_EXT,  /* seen: bytes of the extension */
	CHUNK_SIZE_LF,
	CHUNK_DATA, /* left: of it */
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	TRAILER_START, /* of a line; seen, from here on: bytes of all trailers */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	TRAILER_END_LF, /* of the empty line */
	CHUNKS_DONE,
	CHUNKS_BAD,
};

void h1_body_init(struct h1_body *b, const struct msg *m)
{
	*b = (struct h1_body){
		.kind = m->body,
		.left = m->body == BODY_LENGTH ? m->body_bytes : 0,
		.state = CHUNK_SIZE,
	};
}

static enum chunk_state chunk_enter(struct h1_body *b, enum chunk_state next)
{
	b->seen = 0;
	return next;
}

static enum chunk_state chunk_size_byte(struct h1_body *b, unsigned char c)
{
	unsigned digit = c - (unsigned)'0';

	if (digit > 9) {
		digit = (c | 0x20) - (unsigned)'a';
		digit = digit < 6 ? digit + 10 : 16;
	}
	if (digit < 16) {
		if (b->seen++ == CHUNK_DIGITS_MAX)
			return CHUNKS_BAD;
		b->left = b->left << 4 | digit;
		return CHUNK_SIZE;
	}
	if (b->seen == 0)
		return CHUNKS_BAD;
	if (c == ';')
		return chunk_enter(b, CHUNK_EXT);
	return c == '\r' ? CHUNK_SIZE_LF : CHUNKS_BAD;
}

static enum chunk_state trailer_byte(struct h1_body *b, unsigned char c)
{
	if (++b->seen > TRAILERS_MAX)
		return CHUNKS_BAD;
	switch ((enum chunk_state)b->state) {
	case TRAILER_START:
		if (c == '\r')
			return TRAILER_END_LF;
		return token_chars[c] ? TRAILER_NAME : CHUNKS_BAD;
	case TRAILER_NAME:
		if (c == ':')
			return TRAILER_VALUE;
		return token_chars[c] ? TRAILER_NAME : CHUNKS_BAD;
	case TRAILER_VALUE:
		if (c == '\r')
			return TRAILER_LF;
		return value_chars[c] ? TRAILER_VALUE : CHUNKS_BAD;
	case TRAILER_LF: return c == '\n' ? TRAILER_START : CHUNKS_BAD;
	default: return c == '\n' ? CHUNKS_DONE : CHUNKS_BAD;
	}
}

/* The state after one byte of framing. */
static enum chunk_state chunk_byte(struct h1_body *b, unsigned char c)
{
	switch ((enum chunk_state)b->state) {
	case CHUNK_SIZE: return chunk_size_byte(b, c);
	case CHUNK_EXT:
		if (c == '\r')
			return CHUNK_SIZE_LF;
		return value_chars[c] && b->seen++ < CHUNK_EXT_MAX ? CHUNK_EXT : CHUNKS_BAD;
	case CHUNK_SIZE_LF:
		if (c != '\n')
			return CHUNKS_BAD;
		return b->left > 0 ? CHUNK_DATA : chunk_enter(b, TRAILER_START);
	case CHUNK_DATA_CR: return c == '\r' ? CHUNK_DATA_LF : CHUNKS_BAD;
	case CHUNK_DATA_LF: return c == '\n' ? chunk_enter(b, CHUNK_SIZE) : CHUNKS_BAD;
	case TRAILER_START:
	case TRAILER_NAME:
	case TRAILER_VALUE:
	case TRAILER_LF:
	case TRAILER_END_LF: return trailer_byte(b, c);
	case CHUNK_DATA:
	case CHUNKS_DONE:
	case CHUNKS_BAD: break;
	}
	unreachable("a state without framing");
}

/* Payload: as much as there is and as is left. */
static struct slice take_payload(struct h1_body *b, struct slice in)
{
	struct slice out = slice_first(in, in.len < b->left ? in.len : (size_t)b->left);

	b->left -= out.len;
	return out;
}

static enum h1_result chunked_next(struct h1_body *b, struct slice in, size_t *used,
				   struct slice *out)
{
	size_t n = 0;

	while (n < in.len && b->state != CHUNK_DATA && b->state < CHUNKS_DONE)
		b->state = (uint8_t)chunk_byte(b, (unsigned char)in.ptr[n++]);
	if (b->state == CHUNK_DATA && n < in.len) {
		*out = take_payload(b, slice_skip(in, n));
		n += out->len;
		if (b->left == 0)
			b->state = CHUNK_DATA_CR;
	}
	*used = n;
	if (b->state == CHUNKS_BAD)
		return H1_BAD;
	return b->state == CHUNKS_DONE ? H1_DONE : H1_MORE;
}

enum h1_result h1_body_next(struct h1_body *b, struct slice in, size_t *used, struct slice *out)
{
	*used = 0;
	*out = SLICE_NONE;
	switch (b->kind) {
	case BODY_NONE: return H1_DONE;
	case BODY_LENGTH:
		*out = take_payload(b, in);
		*used = out->len;
		return b->left == 0 ? H1_DONE : H1_MORE;
	case BODY_CHUNKED: return chunked_next(b, in, used, out);
	case BODY_UNTIL_CLOSE:
		*out = in;
		*used = in.len;
		return H1_MORE;
	}
	unreachable("kind of body");
}
