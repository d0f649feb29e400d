/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/addr.h"

#include <errno.h>

#include "test.h"

static bool is_private(const char *ip_port)
{
	struct addr a;

	check_eq(addr_parse(slice_of(ip_port), &a), 0);
	return addr_is_private(&a);
}

TEST(addr_text_round_trip)
{
	static const char *const good[] = { "1.2.3.4:443", "0.0.0.0:0", "[::]:443", "[::1]:65535",
					    "[2606:4700::1]:80" };
	char text[ADDR_TEXT_MAX];
	struct addr a;

	for (size_t i = 0; i < countof(good); i++) {
		check_eq(addr_parse(slice_of(good[i]), &a), 0);
		addr_format(&a, text);
		check_str(text, good[i]);
	}
	check_eq(addr_parse(SLICE("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535"), &a), 0);
	addr_format(&a, text);
	check_str(text, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
	addr_format_ip(&a, text);
	check_str(text, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

TEST(addr_bad_text_is_refused)
{
	static const char *const bad[] = { "",           ":",          "1.2.3.4",
					   "1.2.3.4:",   "1.2.3:1",    "1.2.3.4:65536",
					   "1.2.3.4:-1", "::1:443",    "[::1]",
					   "[::1]443",   "[::1:443",   "[1.2.3.4]:1",
					   "host:1",     "1.2.3.4:1x", "1.2.3.4:000001",
					   "[" };
	struct addr a;

	for (size_t i = 0; i < countof(bad); i++)
		check_eq(addr_parse(slice_of(bad[i]), &a), -EINVAL);
}

TEST(addr_private_v4)
{
	static const char *const yes[] = {
		"0.0.0.0:1",   "10.255.0.1:1",      "100.64.0.1:1", "100.127.255.255:1",
		"127.9.9.9:1", "169.254.169.254:1", "172.16.0.1:1", "172.31.255.255:1",
		"192.0.0.9:1", "192.168.1.1:1",     "198.19.0.1:1", "203.0.113.7:1",
		"224.0.0.1:1", "255.255.255.255:1"
	};
	static const char *const no[] = {
		"1.1.1.1:1",        "9.255.255.255:1",  "11.0.0.0:1",       "100.63.255.255:1",
		"100.128.0.0:1",    "172.15.255.255:1", "172.32.0.0:1",     "192.0.1.1:1",
		"198.17.255.255:1", "198.20.0.0:1",     "223.255.255.255:1"
	};

	for (size_t i = 0; i < countof(yes); i++)
		check(is_private(yes[i]));
	for (size_t i = 0; i < countof(no); i++)
		check(!is_private(no[i]));
}

TEST(addr_private_v6)
{
	static const char *const yes[] = {
		"[::]:1",
		"[::1]:1",
		"[::ffff:10.0.0.1]:1",
		"[64:ff9b::7f00:1]:1",
		"[64:ff9b:1::1]:1",
		"[2002:7f00:1::]:1",
		"[2002:c0a8:101::1]:1",
		"[fd00::1]:1",
		"[fe80::1]:1",
		"[ff02::1]:1",
		"[2001:db8::1]:1",
		"[2001::1]:1",
		"[3fff::1]:1",
		"[::7f00:1]:1",
		"[100::1]:1",
	};
	static const char *const no[] = {
		"[2606:4700::1]:1",    "[::ffff:8.8.8.8]:1", "[64:ff9b::808:808]:1",
		"[2002:808:808::1]:1", "[2a00::1]:1",        "[2001:4860::1]:1",
		"[3fff:1000::1]:1",
	};

	for (size_t i = 0; i < countof(yes); i++)
		check(is_private(yes[i]));
	for (size_t i = 0; i < countof(no); i++)
		check(!is_private(no[i]));
}

TEST(loopback_is_known_in_all_its_forms)
{
	static const char *const yes[] = { "127.0.0.1", "127.255.1.2", "::1", "::ffff:127.0.0.1" };
	static const char *const no[] = {
		"10.0.0.1",      "128.0.0.1", "::", "::2",  "::ffff:10.0.0.1",
		"127.0.0.1.a.b", "localhost", "",   "127.1"
	};

	for (unsigned i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		check(addr_names_loopback(slice_of(yes[i])));
	for (unsigned i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		check(!addr_names_loopback(slice_of(no[i])));
}
