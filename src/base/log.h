/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The event log: one line per event on stderr, "LEVEL subject key=value ...".  Thread-safe; a line
 * is one write(2).  Text from outside goes through log_quote.  Secrets are never passed here.
 */
#pragma once

#include <stdbool.h>

#include "base/assert.h"
#include "base/slice.h"

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lines above this level are dropped; LOG_INFO at start. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) printf_like(2, 3);

/* For values that come from outside: quoted, control bytes and quotes escaped, cut at 200 bytes. */
struct log_quoted {
	char text[256];
};
struct log_quoted log_quote(struct slice s);
#define LOG_Q(s) (log_quote(s).text)

#define log_err(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_enabled(LOG_DEBUG))                                                        \
			log_line(LOG_DEBUG, __VA_ARGS__);                                          \
	} while (0)

/*
 * At most one line a second per call site; the next one that gets out says how many were held back.
 * For what a hostile peer could repeat at will.
 */
struct log_site {
	long last_s;
	unsigned held;
};
bool log_site_ok(struct log_site *site, unsigned *held);
#define log_limited(level, fmt, ...)                                                               \
	do {                                                                                       \
		static struct log_site site_;                                                      \
		unsigned held_;                                                                    \
		if (log_enabled(level) && log_site_ok(&site_, &held_))                             \
			log_line(level, fmt " held=%u", __VA_ARGS__, held_);                       \
	} while (0)
