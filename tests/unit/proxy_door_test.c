/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The pure parts that door.h is made of: badges, who is counted, whom balancers name. */
#include "proxy/badge.h"

#include "http/basic.h"
#include "net/ppin.h"
#include "proxy/crowd.h"
#include "proxy/forwarded.h"
#include "test.h"

enum { NOW_S = 1000000 };

static struct addr addr_of(const char *text)
{
	struct addr a;

	check_eq(addr_parse_ip(slice_of(text), &a), 0);
	return a;
}

/* "user password", or NULL. */
static const char *basic(const char *value)
{
	static char out[BASIC_MAX + 2];
	char mem[BASIC_MAX + 1];
	struct slice user, password;

	if (!basic_parse(slice_of(value), mem, &user, &password))
		return NULL;
	snprintf(out, sizeof(out), "%s %s", user.ptr, password.ptr);
	return out;
}

TEST(basic_credentials_of_clients)
{
	check_str(basic("Basic YWxpY2U6YTpi"), "alice a:b");
	check_str(basic("basic   YTo="), "a ");
	check_str(basic("Basic YTo"), "a ");
	check_str(basic("Basic OmE="), NULL);
	check_str(basic("Basic YQ=="), NULL);
	check_str(basic("Basic YQBhOmI="), NULL);
	check_str(basic("Basic Y"), NULL);
	check_str(basic("Basic Y*Bh"), NULL);
	check_str(basic("Bearer YWxpY2U6YTpi"), NULL);
	check_str(basic("Basic"), NULL);
}

TEST(badges)
{
	const struct slice user = SLICE("al ice"), hash = SLICE("$2y$05$hash");
	char value[512], name[BADGE_USER_MAX + 1];
	struct arena a;
	char *badge;

	arena_init(&a, 64 * 1024);
	badge = badge_make(&a, user, hash, NOW_S);
	require(badge);
	snprintf(value, sizeof(value), "Bearer %s", badge);
	check(badge_user(slice_of(value), name));
	check_str(name, "al ice");
	check(badge_is_good(slice_of(value), user, hash, NOW_S));
	check(badge_is_good(slice_of(value), user, hash, NOW_S + BADGE_LIFE_S - 1));
	check(!badge_is_good(slice_of(value), user, hash, NOW_S + BADGE_LIFE_S));
	check(!badge_is_good(slice_of(value), user, SLICE("$2y$05$other"), NOW_S));
	check(!badge_is_good(slice_of(value), SLICE("bob"), hash, NOW_S));
	for (size_t i = strlen("Bearer sluice1."); value[i]; i++) {
		char was = value[i];

		value[i] = was == '0' ? '1' : '0';
		/* Of another user it would be looked for with that user's hash. */
		if (badge_user(slice_of(value), name))
			check(!badge_is_good(slice_of(value), slice_of(name), hash, NOW_S));
		value[i] = was;
	}
	check(!badge_user(SLICE("Bearer eyJhbGciOi.J9.x"), name));
	check(!badge_user(SLICE("Basic sluice1.61.1.2"), name));
	check(!badge_user(SLICE("Bearer sluice1.6g.1.2"), name));
	check(!badge_user(SLICE("Bearer sluice1.00.1.2"), name));
	arena_fini(&a);
}

TEST(addresses_count_connections_and_rates)
{
	const struct conf_limits l = { .client_connections = 2, .client_requests = 3 };
	struct addr a = addr_of("192.0.2.1"), b = addr_of("192.0.2.2");
	struct addr v6 = addr_of("2001:db8::1"), same = addr_of("2001:db8::2");
	struct crowd *c = crowd_new();

	require(c);
	check(crowd_enter(c, &a, &l, false, 1000));
	check(crowd_enter(c, &a, &l, false, 1000));
	check(!crowd_enter(c, &a, &l, false, 1000));
	check(crowd_enter(c, &b, &l, false, 1000));
	crowd_leave(c, &a, 1000);
	check(crowd_enter(c, &a, &l, false, 1000));
	check(crowd_enter(c, &v6, &l, false, 1000));
	check(crowd_enter(c, &same, &l, false, 1000));
	check(!crowd_enter(c, &v6, &l, false, 1000));
	for (unsigned i = 0; i < 3; i++)
		check(crowd_request(c, &a, &l, 2000));
	check(!crowd_request(c, &a, &l, 2000));
	check(crowd_request(c, &b, &l, 2000));
	check(crowd_request(c, &a, &l, 2334));
	check(!crowd_request(c, &a, &l, 2334));
	crowd_free(c);
}

TEST(all_together_have_limits_too)
{
	const struct conf_limits l = { .handshakes = 2, .requests = 2 };
	struct crowd *c = crowd_new();
	unsigned in = 0, served = 0;

	require(c);
	for (unsigned i = 0; i < 10; i++) {
		char text[32];
		struct addr a;

		snprintf(text, sizeof(text), "192.0.2.%u", i);
		a = addr_of(text);
		in += crowd_enter(c, &a, &l, true, 1000);
		served += crowd_request(c, &a, &l, 1000);
		check(crowd_enter(c, &a, &l, false, 1000));
	}
	check_eq(in, 2);
	check_eq(served, 2);
	crowd_free(c);
}

TEST(wrong_passwords_are_forgiven_slowly)
{
	struct addr a = addr_of("192.0.2.1"), b = addr_of("192.0.2.2");
	struct crowd *c = crowd_new();

	require(c);
	for (unsigned i = 0; i < CROWD_WRONG_MAX; i++) {
		check(crowd_may_guess(c, &a, 1000));
		crowd_guessed_wrong(c, &a, 1000);
	}
	check(!crowd_may_guess(c, &a, 1000));
	check(crowd_may_guess(c, &b, 1000));
	check(crowd_may_guess(c, &a, 1000 + CROWD_WRONG_MS));
	crowd_guessed_wrong(c, &a, 1000 + CROWD_WRONG_MS);
	check(!crowd_may_guess(c, &a, 1001 + CROWD_WRONG_MS));
	crowd_free(c);
}

static const char *found(const char *peer, const char *first, const char *second)
{
	static char text[ADDR_TEXT_MAX];
	struct conf_net nets[] = { { .bits = 104 }, { .bits = 128, .ip = { [15] = 1 } } };
	struct conf_nets trusted = { nets, 2 };
	struct msg m = { .fields_count = 0 };
	struct addr a = addr_of(peer), ten = addr_of("10.0.0.0");

	addr_ip(&ten, nets[0].ip);
	if (first)
		m.fields[m.fields_count++] =
			(struct field){ SLICE("X-Forwarded-For"), slice_of(first) };
	if (second)
		m.fields[m.fields_count++] =
			(struct field){ SLICE("x-forwarded-for"), slice_of(second) };
	forwarded_find(&m, &trusted, &a);
	addr_format_ip(&a, text);
	return text;
}

TEST(whom_balancers_name)
{
	check_str(found("192.0.2.1", "8.8.8.8", NULL), "192.0.2.1");
	check_str(found("10.0.0.1", NULL, NULL), "10.0.0.1");
	check_str(found("10.0.0.1", "8.8.8.8", NULL), "8.8.8.8");
	check_str(found("::1", "8.8.8.8", NULL), "8.8.8.8");
	check_str(found("10.0.0.1", "1.1.1.1, 8.8.8.8, 10.0.0.2", NULL), "8.8.8.8");
	check_str(found("10.0.0.1", "1.1.1.1, 8.8.8.8", "10.0.0.2"), "8.8.8.8");
	check_str(found("10.0.0.1", "10.0.0.9,10.0.0.8", NULL), "10.0.0.9");
	check_str(found("10.0.0.1", "8.8.8.8:99", NULL), "8.8.8.8");
	check_str(found("10.0.0.1", "[2001:db8::1]:99", NULL), "2001:db8::1");
	check_str(found("10.0.0.1", "8.8.8.8, unknown", NULL), "10.0.0.1");
	check_str(found("10.0.0.1", "8.8.8.8,", NULL), "10.0.0.1");
}

/* "address used", "more", "none" or "bad". */
static const char *header(const char *bytes, size_t len)
{
	static char text[ADDR_TEXT_MAX + 16];
	char ip[ADDR_TEXT_MAX];
	struct addr a = addr_of("10.0.0.1");
	size_t used;

	switch (ppin_parse((struct slice){ bytes, len }, &used, &a)) {
	case PPIN_NONE: return "none";
	case PPIN_MORE: return "more";
	case PPIN_BAD: return "bad";
	case PPIN_DONE: break;
	}
	addr_format_ip(&a, ip);
	snprintf(text, sizeof(text), "%s %zu", ip, used);
	return text;
}

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(s) header(s, sizeof(s) - 1)

TEST(proxy_headers)
{
	check_str(BYTES("PROXY TCP4 192.0.2.7 10.0.0.1 4096 443\r\nGET"), "192.0.2.7 40");
	check_str(BYTES("PROXY TCP6 2001:db8::7 ::1 1 2\r\n"), "2001:db8::7 32");
	check_str(BYTES("PROXY UNKNOWN whatever\r\n"), "10.0.0.1 24");
	check_str(BYTES("PROXY TCP4 192.0.2.7"), "more");
	check_str(BYTES("PRO"), "more");
	check_str(BYTES(""), "more");
	check_str(BYTES("POST / HTTP/1.1\r\n"), "none");
	check_str(BYTES("\x16\3\1"), "none");
	check_str(BYTES("PROXY TCP4 ::1 ::1 1 2\r\n"), "bad");
	check_str(BYTES("PROXY TCP4 192.0.2.7 10.0.0.1 70000 443\r\n"), "bad");
	check_str(BYTES("PROXY TCP4 192.0.2.7 10.0.0.1 1 443\n"), "bad");
	check_str(BYTES(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\x7f\0\0\1\1\2\1\xbb"), "192.0.2.1 28");
	check_str(BYTES(SIGNATURE "\x21\x11\0\x0d\xc0\0\2\1\x7f\0\0\1\1\2\1\xbb"), "more");
	check_str(BYTES(SIGNATURE "\x20\0\0\0"), "10.0.0.1 16");
	check_str(BYTES(SIGNATURE "\x21\0\0\0"), "10.0.0.1 16");
	check_str(BYTES(SIGNATURE "\x21\x11\0\4\xc0\0\2\1"), "bad");
	check_str(BYTES(SIGNATURE "\x31\x11\0\0"), "bad");
	check_str(BYTES(SIGNATURE "\x21\x11\xff\xff"), "bad");
}
