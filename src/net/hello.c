/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/hello.h"

enum {
	RECORD_TYPE_HANDSHAKE = 22,
	MSG_CLIENT_HELLO = 1,
	MSG_HEADER = 4,
	EXT_SNI = 0,
	EXT_ALPN = 16,
	EXT_VERSIONS = 43,
	RANDOM = 32,
	SESSION_ID_MAX = 32,
	VERSION_10 = 0x0301,
	VERSION_12 = 0x0303,
	VERSION_13 = 0x0304,
};

static unsigned be16(const char *p)
{
	return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}

/* Takes <n> bytes off the front of *s. */
static bool take(struct slice *s, size_t n, struct slice *out)
{
	if (s->len < n)
		return false;
	*out = slice_first(*s, n);
	*s = slice_skip(*s, n);
	return true;
}

static bool take_int(struct slice *s, unsigned width, unsigned *v)
{
	struct slice b;

	if (!take(s, width, &b))
		return false;
	*v = width == 1 ? (uint8_t)b.ptr[0] : be16(b.ptr);
	return true;
}

/* A vector: a length of <width> bytes, then so many bytes. */
static bool take_vec(struct slice *s, unsigned width, struct slice *out)
{
	unsigned n;

	return take_int(s, width, &n) && take(s, n, out);
}

/* RFC 6066 3: a list with one host name in practice; other kinds of name are stepped over. */
static bool read_sni(struct slice ext, struct hello *h)
{
	struct slice list, name;
	unsigned kind;

	if (h->sni[0] || !take_vec(&ext, 2, &list) || ext.len)
		return false;
	while (list.len) {
		if (!take_int(&list, 1, &kind) || !take_vec(&list, 2, &name))
			return false;
		if (kind != 0)
			continue;
		if (h->sni[0] || name.len == 0 || name.len >= sizeof(h->sni))
			return false;
		for (size_t i = 0; i < name.len; i++) {
			char c = name.ptr[i];

			if (c <= ' ' || c > '~')
				return false;
			h->sni[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
		}
		h->sni[name.len] = '\0';
	}
	return true;
}

static bool read_alpn(struct slice ext, struct hello *h)
{
	struct slice list, name;

	if (h->alpn.ptr || !take_vec(&ext, 2, &list) || ext.len || list.len == 0)
		return false;
	h->alpn = list;
	while (list.len)
		if (!take_vec(&list, 1, &name) || name.len == 0)
			return false;
	return true;
}

static bool read_versions(struct slice ext, struct hello *h)
{
	struct slice list;
	unsigned v;

	if (!take_vec(&ext, 1, &list) || ext.len || list.len == 0 || list.len % 2)
		return false;
	h->version_max = 0;
	while (take_int(&list, 2, &v))
		if (v >= VERSION_10 && v <= VERSION_13 && v > h->version_max)
			h->version_max = (uint16_t)v;
	return true;
}

static bool read_extensions(struct slice all, struct hello *h)
{
	bool versions = false;
	struct slice ext;
	unsigned type;

	while (all.len) {
		if (!take_int(&all, 2, &type) || !take_vec(&all, 2, &ext))
			return false;
		if (type == EXT_SNI && !read_sni(ext, h))
			return false;
		if (type == EXT_ALPN && !read_alpn(ext, h))
			return false;
		if (type != EXT_VERSIONS)
			continue;
		if (versions || !read_versions(ext, h))
			return false;
		versions = true;
	}
	return true;
}

/* The message without its header. */
static bool read_message(struct slice m, struct hello *h)
{
	struct slice skipped, id, ext;
	unsigned version;

	if (!take_int(&m, 2, &version) || version < VERSION_10 || version >> 8 != 3)
		return false;
	h->version_max = (uint16_t)(version > VERSION_12 ? (unsigned)VERSION_12 : version);
	if (!take(&m, RANDOM, &skipped) || !take_vec(&m, 1, &id) || id.len > SESSION_ID_MAX)
		return false;
	if (!take_vec(&m, 2, &skipped) || skipped.len == 0 || skipped.len % 2)
		return false;
	if (!take_vec(&m, 1, &skipped) || skipped.len == 0)
		return false;
	if (m.len == 0)
		return true; /* TLS 1.2 without extensions */
	return take_vec(&m, 2, &ext) && m.len == 0 && read_extensions(ext, h);
}

/* The whole message's length by its header; 0: bad. */
static size_t message_bytes(const char *head)
{
	size_t n = (size_t)(uint8_t)head[1] << 16 | be16(head + 2);

	if (head[0] != MSG_CLIENT_HELLO || n + MSG_HEADER > TLS_HELLO_MAX)
		return 0;
	return n + MSG_HEADER;
}

/*
 * Takes the payload of the records together, until the message is whole.  What cannot become a
 * ClientHello is bad at its first bytes: a client that speaks plain HTTP is told at once.
 */
static enum hello_result join_records(struct slice raw, char scratch[TLS_HELLO_MAX], size_t *bytes,
				      size_t *raw_bytes)
{
	struct slice left = raw, payload;
	size_t have = 0, want = 0;

	for (;;) {
		if (left.len > 0 && left.ptr[0] != RECORD_TYPE_HANDSHAKE)
			return HELLO_BAD;
		if (left.len > 1 && left.ptr[1] != 3)
			return HELLO_BAD;
		if (left.len < TLS_HEADER)
			return HELLO_MORE;
		size_t n = be16(left.ptr + 3);

		if (n == 0 || n > TLS_PLAIN_MAX || n > TLS_HELLO_MAX - have)
			return HELLO_BAD;
		left = slice_skip(left, TLS_HEADER);
		payload = slice_first(left, n);
		memcpy(scratch + have, payload.ptr, payload.len);
		have += payload.len;
		if (have >= MSG_HEADER && want == 0) {
			want = message_bytes(scratch);
			if (want == 0)
				return HELLO_BAD;
		}
		if (want && have > want)
			return HELLO_BAD; /* nothing may follow before our answer */
		if (payload.len < n)
			return HELLO_MORE;
		left = slice_skip(left, n);
		if (want && have == want)
			break;
	}
	*bytes = want;
	*raw_bytes = raw.len - left.len;
	return HELLO_DONE;
}

enum hello_result hello_parse(struct slice raw, char scratch[TLS_HELLO_MAX], struct hello *out)
{
	size_t bytes;

	*out = (struct hello){ 0 };
	enum hello_result r = join_records(raw, scratch, &bytes, &out->raw_bytes);
	if (r != HELLO_DONE)
		return r;
	if (!read_message((struct slice){ scratch + MSG_HEADER, bytes - MSG_HEADER }, out))
		return HELLO_BAD;
	return HELLO_DONE;
}

bool hello_offers(const struct hello *h, struct slice protocol)
{
	struct slice list = h->alpn, name;

	while (take_vec(&list, 1, &name))
		if (slice_eq(name, protocol))
			return true;
	return false;
}
