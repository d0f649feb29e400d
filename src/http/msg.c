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
	static const char *const reasons[] = {
		[100] = "Continue",
		[101] = "Switching Protocols",
		[200] = "OK",
		[201] = "Created",
		[202] = "Accepted",
		[203] = "Non-Authoritative Information",
		[204] = "No Content",
		[205] = "Reset Content",
		[206] = "Partial Content",
		[207] = "Multi-Status",
		[300] = "Multiple Choices",
		[301] = "Moved Permanently",
		[302] = "Found",
		[303] = "See Other",
		[304] = "Not Modified",
		[307] = "Temporary Redirect",
		[308] = "Permanent Redirect",
		[400] = "Bad Request",
		[401] = "Unauthorized",
		[402] = "Payment Required",
		[403] = "Forbidden",
		[404] = "Not Found",
		[405] = "Method Not Allowed",
		[406] = "Not Acceptable",
		[407] = "Proxy Authentication Required",
		[408] = "Request Timeout",
		[409] = "Conflict",
		[410] = "Gone",
		[411] = "Length Required",
		[412] = "Precondition Failed",
		[413] = "Content Too Large",
		[414] = "URI Too Long",
		[415] = "Unsupported Media Type",
		[416] = "Range Not Satisfiable",
		[417] = "Expectation Failed",
		[421] = "Misdirected Request",
		[422] = "Unprocessable Content",
		[423] = "Locked",
		[424] = "Failed Dependency",
		[425] = "Too Early",
		[426] = "Upgrade Required",
		[428] = "Precondition Required",
		[429] = "Too Many Requests",
		[431] = "Request Header Fields Too Large",
		[451] = "Unavailable For Legal Reasons",
		[500] = "Internal Server Error",
		[501] = "Not Implemented",
		[502] = "Bad Gateway",
		[503] = "Service Unavailable",
		[504] = "Gateway Timeout",
		[505] = "HTTP Version Not Supported",
		[507] = "Insufficient Storage",
		[511] = "Network Authentication Required",
	};
	const char *reason = NULL;

	if (status >= 0 && status < (int)countof(reasons))
		reason = reasons[status];
	return reason ? reason : "Unknown";
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

/* RFC 9110 5.6.7; months and days are English, since this program never calls setlocale(). */
bool http_parse_date(struct slice s, int64_t *unix_s)
{
	static const char *const formats[] = {
		"%a, %d %b %Y %H:%M:%S GMT",
		"%A, %d-%b-%y %H:%M:%S GMT",
		"%a %b %d %H:%M:%S %Y",
	};
	char text[64];

	if (s.len == 0 || s.len >= sizeof(text))
		return false;
	memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	for (size_t i = 0; i < countof(formats); i++) {
		struct tm tm = { 0 };
		const char *end = strptime(text, formats[i], &tm);

		if (!end || end != text + s.len)
			continue;
		*unix_s = timegm(&tm);
		return true;
	}
	return false;
}
