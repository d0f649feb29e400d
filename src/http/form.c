/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/form.h"

#include <string.h>

#include "http/uri.h"

/* In place; its new length goes to *len. */
static bool form_decode(char *text, size_t *len)
{
	size_t n = 0;

	for (size_t i = 0; i < *len; i++) {
		char c = text[i];

		if (c == '+')
			c = ' ';
		if (c == '%') {
			int byte = percent_byte(slice_range(text + i, text + *len));

			if (byte < 0)
				return false;
			c = (char)byte;
			i += 2;
		}
		if ((unsigned char)c < ' ' || c == 0x7f)
			return false;
		text[n++] = c;
	}
	*len = n;
	return true;
}

static bool form_take(char *text, size_t len, struct form_field *fields, unsigned count)
{
	char *equals = memchr(text, '=', len);
	size_t name_len = equals ? (size_t)(equals - text) : len;
	char *value = equals ? equals + 1 : text + len;
	size_t value_len = equals ? len - name_len - 1 : 0;

	if (!form_decode(text, &name_len) || !form_decode(value, &value_len))
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (!slice_eq((struct slice){ text, name_len }, slice_of(fields[i].name)))
			continue;
		if (fields[i].value.ptr)
			return false;
		fields[i].value = (struct slice){ value, value_len };
	}
	return true;
}

bool form_parse(char *text, size_t len, struct form_field *fields, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		fields[i].value = SLICE_NONE;
	while (len > 0) {
		char *end = memchr(text, '&', len);
		size_t pair = end ? (size_t)(end - text) : len;

		if (pair > 0 && !form_take(text, pair, fields, count))
			return false;
		pair += end != NULL;
		text += pair;
		len -= pair;
	}
	return true;
}

bool form_add(struct buf *to, const char *name, struct slice value)
{
	if (!buf_append(to, buf_len(to) ? SLICE("&") : SLICE("")) ||
	    !buf_append(to, slice_of(name)) || !buf_append(to, SLICE("=")))
		return false;
	for (size_t i = 0; i < value.len; i++) {
		static const char digits[] = "0123456789ABCDEF";
		unsigned char c = (unsigned char)value.ptr[i];
		char text[3] = { '%', digits[c >> 4], digits[c & 15] };

		if (!buf_append(to, uri_is_unreserved((char)c) ? (struct slice){ value.ptr + i, 1 }
							       : (struct slice){ text, 3 }))
			return false;
	}
	return true;
}
