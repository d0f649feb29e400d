/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int log_level_now = LOG_INFO;

static const char *const level_names[] = { "error", "warn", "info", "debug" };

void log_set_level(enum log_level level)
{
	__atomic_store_n(&log_level_now, (int)level, __ATOMIC_RELAXED);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= __atomic_load_n(&log_level_now, __ATOMIC_RELAXED);
}

/* stderr may be a pipe that nobody reads: a line that cannot be written at once is given up. */
static void log_write(const char *line, size_t len)
{
	ssize_t n;

	do
		n = write(STDERR_FILENO, line, len);
	while (n < 0 && errno == EINTR);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[2048];
	struct timespec ts;
	struct tm tm;
	size_t len;
	va_list ap;
	int n;

	if (!log_enabled(level))
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	len = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	n = snprintf(line + len, sizeof(line) - len, ".%03ldZ %s ", ts.tv_nsec / 1000000,
		     level_names[level]);
	len += (size_t)n;
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	len += (size_t)n < sizeof(line) - len - 1 ? (size_t)n : sizeof(line) - len - 2;
	line[len++] = '\n';
	log_write(line, len);
}

struct log_quoted log_quote(struct slice s)
{
	struct log_quoted q;
	const size_t cut = 200;
	size_t n = 0;

	q.text[n++] = '"';
	for (size_t i = 0; i < s.len && n < cut; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '"' || c == '\\')
			q.text[n++] = '\\';
		if (c >= 0x20 && c < 0x7f)
			q.text[n++] = (char)c;
		else
			n += (size_t)snprintf(q.text + n, 5, "\\x%02x", c);
		if (n >= cut && i + 1 < s.len)
			n += (size_t)snprintf(q.text + n, 4, "...");
	}
	q.text[n++] = '"';
	q.text[n] = '\0';
	return q;
}

bool log_site_ok(struct log_site *site, unsigned *held)
{
	struct timespec ts;
	long last = __atomic_load_n(&site->last_s, __ATOMIC_RELAXED);

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	if (last == ts.tv_sec + 1 ||
	    !__atomic_compare_exchange_n(&site->last_s, &last, ts.tv_sec + 1, false,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		__atomic_fetch_add(&site->held, 1, __ATOMIC_RELAXED);
		return false;
	}
	*held = __atomic_exchange_n(&site->held, 0, __ATOMIC_RELAXED);
	return true;
}

void assert_failed(const char *file, int line, const char *what)
{
	log_line(LOG_ERR, "bug at %s:%d: %s", file, line, what);
	abort();
}
