/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

bool buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	buf_compact(b);
	va_start(ap, fmt);
	n = vsnprintf(buf_tail(b), buf_room(b), fmt, ap);
	va_end(ap);
	assert(n >= 0);
	if ((size_t)n >= buf_room(b))
		return false;
	b->tail += (size_t)n;
	return true;
}
