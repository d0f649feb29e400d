/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/via.h"

#include "test.h"

static struct via v;

static const struct via_target socks = {
	VIA_SOCKS5, NULL, NULL, "registry.example.com", 443,
};
static const struct via_target socks_login = {
	VIA_SOCKS5, "me", "s3cr", "registry.example.com", 443,
};
static const struct via_target http_login = {
	VIA_HTTP, "me", "pa:ss", "registry.example.com", 443,
};

static void check_out(const char *bytes, size_t len)
{
	check_eq(via_out(&v).len, len);
	if (via_out(&v).len == len)
		check_mem(via_out(&v).ptr, bytes, len);
}
#define OUT(text) check_out(text, sizeof(text) - 1)
#define FEED(text) via_feed(&v, SLICE(text))

/* Every proper beginning of an answer takes nothing and changes nothing. */
static void feed_slowly(const char *bytes, size_t len)
{
	enum via_state before = v.state;
	char copy[400];

	for (size_t i = 0; i < len; i++) {
		memcpy(copy, bytes, i);
		check_eq(via_feed(&v, (struct slice){ copy, i }), 0);
		check_eq(v.state, before);
	}
	memcpy(copy, bytes, len);
	memcpy(copy + len, "MORE", 4);
	check_eq(via_feed(&v, (struct slice){ copy, len + 4 }), len);
}
#define SLOWLY(text) feed_slowly(text, sizeof(text) - 1)

TEST(socks_without_login)
{
	via_init(&v, &socks);
	OUT("\5\1\0");
	SLOWLY("\5\0");
	OUT("\5\1\0\3\24registry.example.com\1\273");
	SLOWLY("\5\0\0\1\0\0\0\0\0\0");
	check_eq(v.state, VIA_OPEN);
	check_eq(FEED("x"), 0);
}

TEST(socks_with_login)
{
	via_init(&v, &socks_login);
	OUT("\5\2\0\2");
	SLOWLY("\5\2");
	OUT("\1\2me\4s3cr");
	SLOWLY("\1\0");
	OUT("\5\1\0\3\24registry.example.com\1\273");
	SLOWLY("\5\0\0\3\3abc\0\1");
	check_eq(v.state, VIA_OPEN);
	via_fini(&v);
	check(!memmem(v.out, sizeof(v.out), "s3cr", 4));
}

TEST(socks_sends_addresses_as_addresses)
{
	struct via_target to = socks;

	to.host = "192.0.2.1";
	via_init(&v, &to);
	check_eq(FEED("\5\0"), 2);
	OUT("\5\1\0\1\300\0\2\1\1\273");
	to.host = "2001:db8::1";
	via_init(&v, &to);
	check_eq(FEED("\5\0"), 2);
	OUT("\5\1\0\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\1\273");
	SLOWLY("\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
	check_eq(v.state, VIA_OPEN);
}

static void refused(const struct via_target *to, const char *first, size_t first_len,
		    const char *then, size_t then_len, const char *why)
{
	via_init(&v, to);
	if (first_len)
		check_eq(via_feed(&v, (struct slice){ first, first_len }), first_len);
	check_eq(via_feed(&v, (struct slice){ then, then_len }), 0);
	check_eq(v.state, VIA_FAILED);
	if (!check(strstr(via_why(&v), why) != NULL))
		printf("# %s\n", via_why(&v));
	check(!strstr(via_why(&v), "s3cr"));
	check_eq(via_out(&v).len, 0);
}
#define REFUSED(to, first, then, why)                                                              \
	refused(to, first, sizeof(first) - 1, then, sizeof(then) - 1, why)

TEST(socks_refusals)
{
	REFUSED(&socks, "", "HTTP/1.1 400 Bad\r\n\r\n", "SOCKS5");
	REFUSED(&socks, "", "\4\0", "SOCKS5");
	REFUSED(&socks, "", "\5\377", "user and password");
	REFUSED(&socks, "", "\5\2", "user and password");
	REFUSED(&socks_login, "", "\5\1", "not offered");
	REFUSED(&socks_login, "\5\2", "\1\1", "refused user");
	REFUSED(&socks, "\5\0", "\5\5\0\1\0\0\0\0\0\0", "connection refused");
	REFUSED(&socks, "\5\0", "\5\2\0", "rules");
	REFUSED(&socks, "\5\0", "\5\77", "unknown");
	REFUSED(&socks, "\5\0", "\5\0\0\2\0\0\0\0\0\0", "type of address");
}

TEST(connect_sends_host_and_login)
{
	struct via_target to = http_login;

	via_init(&v, &to);
	OUT("CONNECT registry.example.com:443 HTTP/1.1\r\n"
	    "Host: registry.example.com:443\r\n"
	    "Proxy-Authorization: Basic bWU6cGE6c3M=\r\n\r\n");
	SLOWLY("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n");
	check_eq(v.state, VIA_OPEN);
	to.user = NULL;
	to.host = "2001:db8::1";
	via_init(&v, &to);
	OUT("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n");
	check_eq(FEED("HTTP/1.0 200\r\n\r\n"), 16);
	check_eq(v.state, VIA_OPEN);
}

TEST(connect_refusals)
{
	static char endless[VIA_HEAD_MAX + 10];
	struct via_target plain = http_login;

	plain.user = NULL;
	REFUSED(&http_login, "", "HTTP/1.1 407 No\r\n\r\n", "refused user");
	REFUSED(&plain, "", "HTTP/1.1 407 No\r\n\r\n", "wants a user");
	REFUSED(&plain, "", "HTTP/1.1 503 No\r\n\r\n", "503");
	REFUSED(&plain, "", "HTTP/1.1 101 Switch\r\n\r\n", "101");
	REFUSED(&plain, "", "HTTP/1.1 2000 No\r\n\r\n", "HTTP/1");
	REFUSED(&plain, "", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1");
	REFUSED(&plain, "HTTP/1.1 100 Go on\r\n\r\n", "HTTP/1.1 404 No\r\n\r\n", "404");
	memset(endless, 'a', sizeof(endless));
	via_init(&v, &plain);
	check_eq(via_feed(&v, (struct slice){ endless, sizeof(endless) }), 0);
	check_eq(v.state, VIA_FAILED);
}

TEST(what_is_too_long_is_not_sent)
{
	struct via_target to = socks_login;
	char longest[300];

	memset(longest, 'a', sizeof(longest));
	longest[VIA_SECRET_MAX] = '\0';
	to.password = longest;
	to.user = longest;
	to.host = longest;
	to.kind = VIA_HTTP;
	via_init(&v, &to);
	check_eq(v.state, VIA_CONNECT);
	longest[VIA_SECRET_MAX] = 'a';
	longest[VIA_SECRET_MAX + 1] = '\0';
	via_init(&v, &to);
	check_eq(v.state, VIA_FAILED);
	check_eq(via_out(&v).len, 0);
}
