/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

/*
 * What the registries of RFC 6890 say is not globally reachable, and what embeds a v4 address
 * without being one.  192.88.99/24 (6to4 relays) is gone; 192.0.0/24 is taken whole.
 */
static const struct {
	uint32_t net;
	unsigned bits;
} private_v4[] = {
	{ 0x00000000, 8 },  /* 0/8: this network */
	{ 0x0a000000, 8 },  /* 10/8 */
	{ 0x64400000, 10 }, /* 100.64/10: shared by carriers */
	{ 0x7f000000, 8 },  /* 127/8 */
	{ 0xa9fe0000, 16 }, /* 169.254/16: link-local, cloud metadata */
	{ 0xac100000, 12 }, /* 172.16/12 */
	{ 0xc0000000, 24 }, /* 192.0.0/24: protocol assignments */
	{ 0xc0000200, 24 }, /* 192.0.2/24: documentation */
	{ 0xc0586300, 24 }, /* 192.88.99/24: 6to4 relays */
	{ 0xc0a80000, 16 }, /* 192.168/16 */
	{ 0xc6120000, 15 }, /* 198.18/15: benchmarking */
	{ 0xc6336400, 24 }, /* 198.51.100/24: documentation */
	{ 0xcb007100, 24 }, /* 203.0.113/24: documentation */
	{ 0xe0000000, 3 },  /* 224/4 multicast, 240/4 reserved, broadcast */
};

static const struct {
	uint8_t net[16];
	unsigned bits;
} private_v6[] = {
	{ { 0x01, 0x00 }, 64 },                         /* 100::/64: discard */
	{ { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 48 }, /* 64:ff9b:1::/48: local NAT64 */
	{ { 0x20, 0x01, 0x00, 0x00 }, 23 }, /* 2001::/23: Teredo, ORCHID, benchmarking */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 }, /* 2001:db8::/32: documentation */
	{ { 0x3f, 0xff, 0x00 }, 20 },       /* 3fff::/20: documentation */
	{ { 0x5f, 0x00 }, 16 },             /* 5f00::/16: segment routing */
	{ { 0xfc }, 7 },                    /* fc00::/7: unique local */
	{ { 0xfe, 0x80 }, 10 },             /* fe80::/10: link-local */
	{ { 0xfe, 0xc0 }, 10 },             /* fec0::/10: site-local, once */
	{ { 0xff }, 8 },                    /* ff00::/8: multicast */
};

static bool v4_is_private(uint32_t ip)
{
	for (size_t i = 0; i < countof(private_v4); i++) {
		uint32_t mask = ~(uint32_t)0 << (32 - private_v4[i].bits);

		if ((ip & mask) == private_v4[i].net)
			return true;
	}
	return false;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned rest = bits % 8;

	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

static uint32_t v4_at(const uint8_t *ip)
{
	return (uint32_t)ip[0] << 24 | (uint32_t)ip[1] << 16 | (uint32_t)ip[2] << 8 | ip[3];
}

static bool v6_is_private(const uint8_t ip[16])
{
	static const uint8_t zero[16];
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

	/* ::, ::1, and the v4-compatible form of old, which nothing routes. */
	if (memcmp(ip, zero, 12) == 0)
		return true;
	if (memcmp(ip, mapped, 12) == 0 || memcmp(ip, nat64, 12) == 0)
		return v4_is_private(v4_at(ip + 12));
	if (ip[0] == 0x20 && ip[1] == 0x02)
		return v4_is_private(v4_at(ip + 2));
	for (size_t i = 0; i < countof(private_v6); i++)
		if (bits_equal(ip, private_v6[i].net, private_v6[i].bits))
			return true;
	return false;
}

bool addr_is_private(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return v4_is_private(ntohl(a->in.sin_addr.s_addr));
	assert(a->sa.sa_family == AF_INET6);
	return v6_is_private(a->in6.sin6_addr.s6_addr);
}

bool addr_is_loopback(const struct addr *a)
{
	const uint8_t *ip = a->in6.sin6_addr.s6_addr;

	if (a->sa.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
	if (a->sa.sa_family != AF_INET6)
		return false;
	return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr) ||
	       (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr) && ip[12] == 127);
}

bool addr_names_loopback(struct slice host)
{
	struct addr a = { .len = sizeof(a.in6) };
	char text[ADDR_TEXT_MAX];

	if (host.len >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", SLICE_FMT(host));
	a.sa.sa_family = AF_INET;
	if (inet_pton(AF_INET, text, &a.in.sin_addr) == 1)
		return addr_is_loopback(&a);
	a.sa.sa_family = AF_INET6;
	return inet_pton(AF_INET6, text, &a.in6.sin6_addr) == 1 && addr_is_loopback(&a);
}

void addr_format_ip(const struct addr *a, char out[ADDR_TEXT_MAX])
{
	const void *ip = a->sa.sa_family == AF_INET ? (const void *)&a->in.sin_addr
						    : (const void *)&a->in6.sin6_addr;

	if (!inet_ntop(a->sa.sa_family, ip, out, ADDR_TEXT_MAX))
		unreachable("an address is v4 or v6");
}

void addr_format(const struct addr *a, char out[ADDR_TEXT_MAX])
{
	bool v6 = a->sa.sa_family == AF_INET6;
	char ip[ADDR_TEXT_MAX];

	addr_format_ip(a, ip);
	snprintf(out, ADDR_TEXT_MAX, "%s%.46s%s:%u", v6 ? "[" : "", ip, v6 ? "]" : "",
		 ntohs(v6 ? a->in6.sin6_port : a->in.sin_port));
}

static int port_parse(struct slice s, uint16_t *out)
{
	unsigned port = 0;

	if (s.len == 0 || s.len > 5)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return -EINVAL;
		port = port * 10 + (unsigned)(s.ptr[i] - '0');
	}
	if (port > 65535)
		return -EINVAL;
	*out = htons((uint16_t)port);
	return 0;
}

int addr_parse(struct slice text, struct addr *out)
{
	bool v6 = text.len > 0 && text.ptr[0] == '[';
	struct slice port = v6 ? slice_skip(text, 1) : text;
	struct slice ip = slice_cut(&port, v6 ? ']' : ':');
	char buf[INET6_ADDRSTRLEN];

	*out = (struct addr){ 0 };
	if (v6 && (port.len == 0 || port.ptr[0] != ':'))
		return -EINVAL;
	port = slice_skip(port, v6);
	if (ip.len >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, ip.ptr, ip.len);
	buf[ip.len] = '\0';
	if (v6) {
		out->in6.sin6_family = AF_INET6;
		out->len = sizeof(out->in6);
		if (inet_pton(AF_INET6, buf, &out->in6.sin6_addr) != 1)
			return -EINVAL;
		return port_parse(port, &out->in6.sin6_port);
	}
	out->in.sin_family = AF_INET;
	out->len = sizeof(out->in);
	if (inet_pton(AF_INET, buf, &out->in.sin_addr) != 1)
		return -EINVAL;
	return port_parse(port, &out->in.sin_port);
}

void addr_ip(const struct addr *a, uint8_t out[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (a->sa.sa_family == AF_INET6) {
		memcpy(out, &a->in6.sin6_addr, 16);
		return;
	}
	memcpy(out, mapped, sizeof(mapped));
	memcpy(out + 12, &a->in.sin_addr, 4);
}

int addr_parse_ip(struct slice text, struct addr *out)
{
	bool v6 = slice_starts(text, SLICE("["));
	struct slice rest = slice_skip(text, v6), host = rest;
	char ip[INET6_ADDRSTRLEN];

	if (v6)
		host = slice_cut(&rest, ']');
	else if (slice_find(text, '.') < slice_find(text, ':'))
		host = slice_cut(&rest, ':');
	*out = (struct addr){ .len = sizeof(out->in) };
	if (host.len == 0 || host.len >= sizeof(ip))
		return -EINVAL;
	memcpy(ip, host.ptr, host.len);
	ip[host.len] = '\0';
	if (strlen(ip) != host.len)
		return -EINVAL;
	out->in.sin_family = AF_INET;
	if (!v6 && inet_pton(AF_INET, ip, &out->in.sin_addr) == 1)
		return 0;
	*out = (struct addr){ .len = sizeof(out->in6) };
	out->in6.sin6_family = AF_INET6;
	return inet_pton(AF_INET6, ip, &out->in6.sin6_addr) == 1 ? 0 : -EINVAL;
}
