/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/msg.h"

#include <stdio.h>
#include <time.h>

bool msg_field_next(const struct msg *m, const char *name, unsigned *at, struct slice *value)
{
	const struct slice wanted = slice_of(name);

	while (*at < m->fields_count) {
		const struct field *f = &m->fields[(*at)++];

		if (slice_ieq(f->name, wanted)) {
			*value = f->value;
			return true;
		}
	}
	return false;
}

struct slice msg_field(const struct msg *m, const char *name)
{
	struct slice value = SLICE_NONE;
	unsigned at = 0;

	msg_field_next(m, name, &at, &value);
	return value;
}

bool msg_has_token(const struct msg *m, const char *name, struct slice token)
{
	struct slice list;
	unsigned at = 0;

	assert(token.len > 0);
	while (msg_field_next(m, name, &at, &list))
		while (list.len > 0)
			if (slice_ieq(slice_trim(slice_cut(&list, ',')), token))
				return true;
	return false;
}

const char *http_reason(int status)
{
	switch (status) {
	case 100: return "Continue";
	case 200: return "OK";
	case 206: return "Partial Content";
	case 301: return "Moved Permanently";
	case 302: return "Found";
	case 304: return "Not Modified";
	case 307: return "Temporary Redirect";
	case 308: return "Permanent Redirect";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 412: return "Precondition Failed";
	case 413: return "Content Too Large";
	case 414: return "URI Too Long";
	case 416: return "Range Not Satisfiable";
	case 417: return "Expectation Failed";
	case 421: return "Misdirected Request";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	case 505: return "HTTP Version Not Supported";
	default: return "Unknown";
	}
}

bool http_parse_uint(struct slice s, uint64_t *out)
{
	uint64_t n = 0;

	/* 19 digits always fit into 64 bits. */
	if (s.len == 0 || s.len > 19)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned char)s.ptr[i] - (unsigned)'0';

		if (digit > 9)
			return false;
		n = n * 10 + digit;
	}
	*out = n;
	return true;
}

void http_format_date(int64_t unix_s, char out[32])
{
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)unix_s;
	struct tm tm;
	int n;

	/* The format has four digits for the year. */
	assert(unix_s >= 0 && unix_s <= 253402300799);
	gmtime_r(&t, &tm);
	n = snprintf(out, 32, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
		     months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	assert(n == 29);
}
