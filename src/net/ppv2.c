/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ppv2.h"

#include <string.h>

enum { HEAD = 16, TCP4 = 0x11, TCP6 = 0x21, UNKNOWN = 0 };

/* IPv4, perhaps within IPv6: where its four bytes are; else NULL. */
static const void *as_v4(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return &a->in.sin_addr;
	if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return &a->in6.sin6_addr.s6_addr[12];
	return NULL;
}

static const void *port_of(const struct addr *a)
{
	return a->sa.sa_family == AF_INET ? &a->in.sin_port : &a->in6.sin6_port;
}

static char *put(char *at, const void *what, size_t len)
{
	memcpy(at, what, len);
	return at + len;
}

size_t ppv2_make(const struct addr *from, const struct addr *to, char out[PPV2_MAX])
{
	static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";
	const void *from4 = as_v4(from), *to4 = as_v4(to);
	bool v4 = from4 && to4;
	bool v6 = !from4 && !to4 && from->sa.sa_family == AF_INET6 && to->sa.sa_family == AF_INET6;
	char *at = out + HEAD;

	if (v4) {
		at = put(at, from4, 4);
		at = put(at, to4, 4);
	} else if (v6) {
		at = put(at, &from->in6.sin6_addr, 16);
		at = put(at, &to->in6.sin6_addr, 16);
	}
	if (v4 || v6) {
		at = put(at, port_of(from), 2);
		at = put(at, port_of(to), 2);
	}
	memcpy(out, signature, sizeof(signature));
	out[12] = 0x21; /* version 2, PROXY */
	out[13] = v4 ? TCP4 : v6 ? TCP6 : UNKNOWN;
	out[14] = 0;
	out[15] = (char)(at - out - HEAD);
	return (size_t)(at - out);
}
