/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/via.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	SOCKS_VERSION = 5,
	SOCKS_NO_AUTH = 0,
	SOCKS_PASSWORD = 2,
	SOCKS_NO_METHOD = 0xff,
	SOCKS_CONNECT = 1,
	SOCKS_V4 = 1,
	SOCKS_NAME = 3,
	SOCKS_V6 = 4,
};

static void fail(struct via *v, const char *fmt, ...) printf_like(2, 3);
static void fail(struct via *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(v->why, sizeof(v->why), fmt, ap);
	va_end(ap);
	v->state = VIA_FAILED;
}

static void put(struct via *v, const void *bytes, size_t len)
{
	assert(len <= sizeof(v->out) - v->out_len);
	memcpy(v->out + v->out_len, bytes, len);
	v->out_len += len;
}

static void put_byte(struct via *v, unsigned byte)
{
	uint8_t b = (uint8_t)byte;

	put(v, &b, 1);
}

static void put_text(struct via *v, const char *text)
{
	put(v, text, strlen(text));
}

/* A length of one byte and the bytes. */
static void put_counted(struct via *v, const char *text)
{
	size_t len = strlen(text);

	put_byte(v, (unsigned)len);
	put(v, text, len);
}

/* ---- SOCKS5 ---- */

static void socks_hello(struct via *v)
{
	put_byte(v, SOCKS_VERSION);
	put_byte(v, v->to->user ? 2 : 1);
	put_byte(v, SOCKS_NO_AUTH);
	if (v->to->user)
		put_byte(v, SOCKS_PASSWORD);
	v->state = VIA_HELLO;
}

static void socks_secret(struct via *v)
{
	put_byte(v, 1);
	put_counted(v, v->to->user);
	put_counted(v, v->to->password);
	v->state = VIA_SECRET;
}

static void socks_connect(struct via *v)
{
	uint8_t ip[16];
	uint16_t port = htons(v->to->port);

	put_byte(v, SOCKS_VERSION);
	put_byte(v, SOCKS_CONNECT);
	put_byte(v, 0);
	if (inet_pton(AF_INET, v->to->host, ip) == 1) {
		put_byte(v, SOCKS_V4);
		put(v, ip, 4);
	} else if (inet_pton(AF_INET6, v->to->host, ip) == 1) {
		put_byte(v, SOCKS_V6);
		put(v, ip, 16);
	} else {
		put_byte(v, SOCKS_NAME);
		put_counted(v, v->to->host);
	}
	put(v, &port, 2);
	v->state = VIA_CONNECT;
}

static size_t socks_method(struct via *v, struct slice in)
{
	unsigned method;

	if (in.len < 2)
		return 0;
	method = (uint8_t)in.ptr[1];
	if (method == SOCKS_NO_AUTH)
		socks_connect(v);
	else if (method == SOCKS_PASSWORD && v->to->user)
		socks_secret(v);
	else if (method == SOCKS_NO_METHOD || method == SOCKS_PASSWORD)
		fail(v, "it wants %s",
		     v->to->user ? "another login than user and password" : "a user and password");
	else
		fail(v, "it chose a login that was not offered");
	return v->state == VIA_FAILED ? 0 : 2;
}

static size_t socks_logged_in(struct via *v, struct slice in)
{
	if (in.len < 2)
		return 0;
	if (in.ptr[1] != 0) {
		fail(v, "it refused user and password");
		return 0;
	}
	socks_connect(v);
	return 2;
}

static const char *socks_reply_text(unsigned code)
{
	static const char *const text[] = {
		NULL,
		"general failure",
		"not allowed by its rules",
		"network unreachable",
		"host unreachable",
		"connection refused",
		"time to live expired",
		"command not supported",
		"address type not supported",
	};

	return code < countof(text) ? text[code] : "unknown code";
}

static size_t socks_connected(struct via *v, struct slice in)
{
	size_t need;

	if (in.len < 2)
		return 0;
	if (in.ptr[1] != 0) {
		fail(v, "it could not connect: %s", socks_reply_text((uint8_t)in.ptr[1]));
		return 0;
	}
	if (in.len < 5)
		return 0;
	switch (in.ptr[3]) {
	case SOCKS_V4: need = 4 + 4 + 2; break;
	case SOCKS_V6: need = 4 + 16 + 2; break;
	case SOCKS_NAME: need = 4 + 1 + (size_t)(uint8_t)in.ptr[4] + 2; break;
	default: fail(v, "it answered with an unknown type of address"); return 0;
	}
	if (in.len < need)
		return 0;
	v->state = VIA_OPEN;
	return need;
}

static size_t socks_feed(struct via *v, struct slice in)
{
	unsigned version = v->state == VIA_SECRET ? 1 : SOCKS_VERSION;

	if (in.len > 0 && (uint8_t)in.ptr[0] != version) {
		fail(v, "it does not speak SOCKS5");
		return 0;
	}
	switch (v->state) {
	case VIA_HELLO: return socks_method(v, in);
	case VIA_SECRET: return socks_logged_in(v, in);
	case VIA_CONNECT: return socks_connected(v, in);
	case VIA_OPEN:
	case VIA_FAILED: break;
	}
	return 0;
}

/* ---- CONNECT ---- */

static void put_base64(struct via *v, const char *text, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		uint32_t n = (uint32_t)(uint8_t)text[i] << 16;
		char four[4] = { '=', '=', '=', '=' };

		if (i + 1 < len)
			n |= (uint32_t)(uint8_t)text[i + 1] << 8;
		if (i + 2 < len)
			n |= (uint8_t)text[i + 2];
		for (unsigned j = 0; j < 4 && (j < 2 || i + j - 1 < len); j++)
			four[j] = digits[n >> (18 - 6 * j) & 63];
		put(v, four, 4);
	}
}

static void http_connect(struct via *v)
{
	bool v6 = strchr(v->to->host, ':') != NULL;
	char place[300], secret[2 * VIA_SECRET_MAX + 2];
	int n;

	snprintf(place, sizeof(place), "%s%.255s%s:%u", v6 ? "[" : "", v->to->host, v6 ? "]" : "",
		 v->to->port);
	put_text(v, "CONNECT ");
	put_text(v, place);
	put_text(v, " HTTP/1.1\r\nHost: ");
	put_text(v, place);
	put_text(v, "\r\n");
	if (v->to->user) {
		n = snprintf(secret, sizeof(secret), "%s:%s", v->to->user, v->to->password);
		assert(n > 0 && (size_t)n < sizeof(secret));
		put_text(v, "Proxy-Authorization: Basic ");
		put_base64(v, secret, (size_t)n);
		put_text(v, "\r\n");
		explicit_bzero(secret, sizeof(secret));
	}
	put_text(v, "\r\n");
	v->state = VIA_CONNECT;
}

/* "HTTP/1.x NNN" and a blank or the line's end; 0: it is none. */
static unsigned http_status(struct slice line)
{
	const char *p = line.ptr;
	unsigned status = 0;

	if (line.len < 12 || !slice_starts(line, SLICE("HTTP/1.")) || p[8] != ' ')
		return 0;
	if (line.len > 12 && p[12] != ' ' && p[12] != '\r')
		return 0;
	for (unsigned i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return 0;
		status = status * 10 + (unsigned)(p[i] - '0');
	}
	return status;
}

/* The bytes up to the end of the empty line that ends a head; 0: it has not come. */
static size_t head_end(struct slice in)
{
	const char *end = memmem(in.ptr, in.len, "\r\n\r\n", 4);

	return end ? (size_t)(end - in.ptr) + 4 : 0;
}

static size_t http_feed(struct via *v, struct slice in)
{
	size_t n = in.len ? head_end(slice_first(in, VIA_HEAD_MAX)) : 0;
	unsigned status;

	if (n == 0) {
		if (in.len >= VIA_HEAD_MAX)
			fail(v, "its answer's head is longer than %d bytes", VIA_HEAD_MAX);
		return 0;
	}
	status = http_status(slice_first(in, slice_find(in, '\n')));
	if (status / 100 == 1 && status != 101) /* an interim one */
		return n;
	if (status / 100 == 2)
		v->state = VIA_OPEN;
	else if (status == 407)
		fail(v, "it %s (status 407)",
		     v->to->user ? "refused user and password" : "wants a user and password");
	else if (status)
		fail(v, "it answered CONNECT with status %u", status);
	else
		fail(v, "it does not speak HTTP/1");
	return v->state == VIA_FAILED ? 0 : n;
}

/* ---- either ---- */

void via_init(struct via *v, const struct via_target *to)
{
	assert(to->kind == VIA_SOCKS5 || to->kind == VIA_HTTP);
	memset(v, 0, sizeof(*v));
	v->to = to;
	if (strlen(to->host) > VIA_SECRET_MAX ||
	    (to->user &&
	     (strlen(to->user) > VIA_SECRET_MAX || strlen(to->password) > VIA_SECRET_MAX)))
		fail(v, "a name, user or password is too long for it");
	else if (to->kind == VIA_SOCKS5)
		socks_hello(v);
	else
		http_connect(v);
}

size_t via_feed(struct via *v, struct slice in)
{
	if (v->state == VIA_OPEN || v->state == VIA_FAILED)
		return 0;
	explicit_bzero(v->out, v->out_len);
	v->out_len = 0;
	return v->to->kind == VIA_SOCKS5 ? socks_feed(v, in) : http_feed(v, in);
}

const char *via_why(const struct via *v)
{
	return v->why;
}

void via_fini(struct via *v)
{
	explicit_bzero(v->out, sizeof(v->out));
	v->out_len = 0;
}
