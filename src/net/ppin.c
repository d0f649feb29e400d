/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ppin.h"

#include "base/units.h"
#include "net/addr.h"

enum { HEAD = 16, LINE_MAX_BYTES = 107, LOCAL = 0x20, PROXY = 0x21, TCP4 = 0x11, TCP6 = 0x21 };

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* Is <in> the beginning of <what>, as far as it goes? */
static bool begins(struct slice in, struct slice what)
{
	size_t n = in.len < what.len ? in.len : what.len;

	return memcmp(in.ptr, what.ptr, n) == 0;
}

static void take_v4(struct addr *a, const char *ip, const char *port)
{
	*a = (struct addr){ .len = sizeof(a->in) };
	a->in.sin_family = AF_INET;
	memcpy(&a->in.sin_addr, ip, 4);
	memcpy(&a->in.sin_port, port, 2);
}

static void take_v6(struct addr *a, const char *ip, const char *port)
{
	*a = (struct addr){ .len = sizeof(a->in6) };
	a->in6.sin6_family = AF_INET6;
	memcpy(&a->in6.sin6_addr, ip, 16);
	memcpy(&a->in6.sin6_port, port, 2);
}

static enum ppin_result parse_v2(struct slice in, size_t *used, struct addr *client)
{
	const uint8_t *p = (const uint8_t *)in.ptr;
	const char *at = in.ptr + HEAD;
	size_t len;

	if (in.len < HEAD)
		return PPIN_MORE;
	len = (size_t)p[14] << 8 | p[15];
	if ((p[12] != LOCAL && p[12] != PROXY) || HEAD + len > PPIN_MAX)
		return PPIN_BAD;
	if (in.len < HEAD + len)
		return PPIN_MORE;
	*used = HEAD + len;
	if (p[12] == LOCAL)
		return PPIN_DONE;
	if (p[13] == TCP4 && len >= 12)
		take_v4(client, at, at + 8);
	else if (p[13] == TCP6 && len >= 36)
		take_v6(client, at, at + 32);
	else if (p[13] == TCP4 || p[13] == TCP6)
		return PPIN_BAD;
	return PPIN_DONE;
}

static bool parse_port(struct slice text, uint16_t *port)
{
	uint64_t n;

	if (!units_parse_uint(text, &n) || n > 65535)
		return false;
	*port = htons((uint16_t)n);
	return true;
}

/* "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443" */
static enum ppin_result parse_line(struct slice line, struct addr *client)
{
	struct slice family, from, to;
	struct addr a, unused;
	uint16_t port, other;

	(void)slice_cut(&line, ' ');
	family = slice_cut(&line, ' ');
	if (slice_eq(family, SLICE("UNKNOWN")))
		return PPIN_DONE;
	from = slice_cut(&line, ' ');
	to = slice_cut(&line, ' ');
	if (addr_parse_ip(from, &a) != 0 || addr_parse_ip(to, &unused) != 0 ||
	    !parse_port(slice_cut(&line, ' '), &port) || !parse_port(line, &other))
		return PPIN_BAD;
	if (!slice_eq(family, a.sa.sa_family == AF_INET ? SLICE("TCP4") : SLICE("TCP6")))
		return PPIN_BAD;
	if (a.sa.sa_family == AF_INET)
		a.in.sin_port = port;
	else
		a.in6.sin6_port = port;
	*client = a;
	return PPIN_DONE;
}

static enum ppin_result parse_v1(struct slice in, size_t *used, struct addr *client)
{
	size_t end = slice_find(in, '\n');

	if (end >= LINE_MAX_BYTES)
		return PPIN_BAD;
	if (end == in.len)
		return PPIN_MORE;
	if (in.ptr[end - 1] != '\r')
		return PPIN_BAD;
	*used = end + 1;
	return parse_line(slice_first(in, end - 1), client);
}

enum ppin_result ppin_parse(struct slice in, size_t *used, struct addr *client)
{
	const struct slice v2 = { signature, sizeof(signature) }, v1 = SLICE("PROXY ");

	if (in.len == 0)
		return PPIN_MORE;
	if (begins(in, v2))
		return in.len < v2.len ? PPIN_MORE : parse_v2(in, used, client);
	if (begins(in, v1))
		return in.len < v1.len ? PPIN_MORE : parse_v1(in, used, client);
	return PPIN_NONE;
}
