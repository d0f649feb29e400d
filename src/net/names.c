/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/names.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <time.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include "base/err.h"

enum { KIND_DNS = 1, KIND_IP = 2, ENTRY_HEADER = 3, NAME_MAX_BYTES = 255 };

/* A name that is longer than DNS allows, or that is empty, can match nothing. */
static bool is_storable(int len)
{
	return len > 0 && len <= NAME_MAX_BYTES;
}

static void add(struct cert_names *n, int kind, const char *bytes, int len)
{
	uint16_t stored = (uint16_t)len;

	n->mem[n->len] = (char)kind;
	memcpy(n->mem + n->len + 1, &stored, sizeof(stored));
	memcpy(n->mem + n->len + ENTRY_HEADER, bytes, stored);
	n->len += ENTRY_HEADER + stored;
}

static size_t bytes_needed(const DecodedCert *c)
{
	size_t n = ENTRY_HEADER + NAME_MAX_BYTES; /* the common name; and never malloc(0) */

	for (const DNS_entry *e = c->altNames; e; e = e->next)
		if (is_storable(e->len))
			n += ENTRY_HEADER + (size_t)e->len;
	return n;
}

int64_t names_time(const uint8_t *field, int field_len, int64_t unknown)
{
	const byte *date;
	struct tm tm = { 0 };
	byte format;
	int len;

	if (!field || wc_GetDateInfo(field, field_len, &date, &format, &len) != 0)
		return unknown;
	if (wc_GetDateAsCalendarTime(date, len, format, &tm) != 0)
		return unknown;
	return timegm(&tm);
}

static int collect(struct cert_names *n, const DecodedCert *c)
{
	n->mem = malloc(bytes_needed(c));
	if (!n->mem)
		return ERR_TLS_CERT;
	n->not_after = names_time(c->afterDate, c->afterDateLen, INT64_MAX);
	for (const DNS_entry *e = c->altNames; e; e = e->next) {
		if (e->type == ASN_DNS_TYPE && is_storable(e->len))
			add(n, KIND_DNS, e->name, e->len);
		if (e->type == ASN_IP_TYPE && (e->len == 4 || e->len == 16))
			add(n, KIND_IP, e->name, e->len);
	}
	if (!c->extSubjAltNameSet && c->subjectCN && is_storable(c->subjectCNLen))
		add(n, KIND_DNS, c->subjectCN, c->subjectCNLen);
	return 0;
}

int names_init(struct cert_names *n, struct slice der)
{
	DecodedCert c;
	int err = ERR_TLS_CERT;

	*n = (struct cert_names){ 0 };
	wc_InitDecodedCert(&c, (const byte *)der.ptr, (word32)der.len, NULL);
	if (wc_ParseCert(&c, CERT_TYPE, NO_VERIFY, NULL) == 0)
		err = collect(n, &c);
	wc_FreeDecodedCert(&c);
	return err;
}

void names_fini(struct cert_names *n)
{
	free(n->mem);
	*n = (struct cert_names){ 0 };
}

char *names_common(struct slice der)
{
	char *name = NULL;
	DecodedCert c;

	wc_InitDecodedCert(&c, (const byte *)der.ptr, (word32)der.len, NULL);
	if (wc_ParseCert(&c, CERT_TYPE, NO_VERIFY, NULL) == 0 && c.subjectCN &&
	    is_storable(c.subjectCNLen) && !memchr(c.subjectCN, '\0', (size_t)c.subjectCNLen))
		name = strndup(c.subjectCN, (size_t)c.subjectCNLen);
	wc_FreeDecodedCert(&c);
	return name;
}

static bool dns_matches(struct slice pattern, struct slice host)
{
	struct slice rest;

	if (!slice_starts(pattern, SLICE("*.")))
		return slice_ieq(pattern, host);
	rest = host;
	if (slice_cut(&rest, '.').len == 0)
		return false;
	pattern = slice_skip(pattern, 2);
	return slice_find(pattern, '.') < pattern.len && slice_ieq(pattern, rest);
}

/* 4 or 16 bytes of address in <out>; 0: not a literal. */
static size_t parse_ip(struct slice host, uint8_t out[16])
{
	char text[INET6_ADDRSTRLEN];

	if (host.len >= sizeof(text))
		return 0;
	memcpy(text, host.ptr, host.len);
	text[host.len] = '\0';
	if (inet_pton(AF_INET, text, out) == 1)
		return 4;
	return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

bool names_cover(const struct cert_names *n, struct slice host)
{
	struct slice left = { n->mem, n->len };
	uint8_t ip[16];

	if (host.len == 0)
		return false;
	size_t ip_len = parse_ip(host, ip);

	if (host.ptr[host.len - 1] == '.')
		host.len--;
	while (left.len) {
		uint16_t len;

		memcpy(&len, left.ptr + 1, sizeof(len));
		struct slice entry = { left.ptr + ENTRY_HEADER, len };
		bool is_ip = left.ptr[0] == KIND_IP;

		if (is_ip && ip_len == len && memcmp(ip, entry.ptr, len) == 0)
			return true;
		if (!is_ip && ip_len == 0 && dns_matches(entry, host))
			return true;
		left = slice_skip(left, ENTRY_HEADER + (size_t)len);
	}
	return false;
}

bool names_print(const struct cert_names *n, struct buf *out)
{
	struct slice left = { n->mem, n->len };
	char text[INET6_ADDRSTRLEN];
	bool fits = true;

	while (left.len && fits) {
		const bool is_ip = left.ptr[0] == KIND_IP;
		uint16_t len;

		memcpy(&len, left.ptr + 1, sizeof(len));
		const char *entry = left.ptr + ENTRY_HEADER;

		fits = left.ptr == n->mem || buf_append(out, SLICE(", "));
		if (fits && is_ip)
			fits = inet_ntop(len == 4 ? AF_INET : AF_INET6, entry, text,
					 sizeof(text)) &&
			       buf_append(out, slice_of(text));
		else if (fits)
			fits = buf_append(out, (struct slice){ entry, len });
		left = slice_skip(left, ENTRY_HEADER + (size_t)len);
	}
	return fits;
}
