/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first, for the formatters. */
static const struct unit time_units[] = {
	{ "d", 24 * 60 * 60 * 1000 },
	{ "h", 60 * 60 * 1000 },
	{ "m", 60 * 1000 },
	{ "s", 1000 },
	{ "ms", 1 },
};
static const struct unit byte_units[] = {
	{ "T", 1ull << 40 }, { "G", 1ull << 30 }, { "M", 1ull << 20 },
	{ "K", 1ull << 10 }, { "", 1 },
};

/* Takes the digits off the front of <text>. */
static bool take_digits(struct slice *text, uint64_t *n)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < text->len && text->ptr[i] >= '0' && text->ptr[i] <= '9'; i++)
		if (__builtin_mul_overflow(sum, 10, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(text->ptr[i] - '0'), &sum))
			return false;
	if (i == 0)
		return false;
	*text = slice_skip(*text, i);
	*n = sum;
	return true;
}

static bool scale(uint64_t n, uint64_t factor, uint64_t *out)
{
	if (n > UINT64_MAX / factor)
		return false;
	*out = n * factor;
	return true;
}

bool units_parse_uint(struct slice text, uint64_t *n)
{
	uint64_t sum;

	if (!take_digits(&text, &sum) || text.len)
		return false;
	*n = sum;
	return true;
}

bool units_parse_ms(struct slice text, uint64_t *ms)
{
	uint64_t n;

	if (!take_digits(&text, &n))
		return false;
	if (text.len == 0 && n == 0) {
		*ms = 0;
		return true;
	}
	for (size_t i = 0; i < countof(time_units); i++)
		if (slice_eq(text, slice_of(time_units[i].name)))
			return scale(n, time_units[i].factor, ms);
	return false;
}

/* "", "B", "K", "KB", "KiB". */
static bool is_byte_unit(struct slice text, const char *name)
{
	struct slice unit = slice_of(name);

	if (!slice_ieq(slice_first(text, unit.len), unit))
		return false;
	text = slice_skip(text, unit.len);
	return text.len == 0 || slice_ieq(text, SLICE("B")) ||
	       (unit.len && slice_ieq(text, SLICE("iB")));
}

bool units_parse_bytes(struct slice text, uint64_t *bytes)
{
	uint64_t n;

	if (!take_digits(&text, &n))
		return false;
	for (size_t i = 0; i < countof(byte_units); i++)
		if (is_byte_unit(text, byte_units[i].name))
			return scale(n, byte_units[i].factor, bytes);
	return false;
}

static void format(uint64_t n, const struct unit *u, char *out)
{
	while (n % u->factor)
		u++;
	snprintf(out, UNITS_TEXT_MAX, "%" PRIu64 "%s", n / u->factor, u->name);
}

void units_format_ms(uint64_t ms, char out[UNITS_TEXT_MAX])
{
	format(ms, ms ? time_units : &time_units[countof(time_units) - 2], out); /* 0: "0s" */
}

void units_format_bytes(uint64_t bytes, char out[UNITS_TEXT_MAX])
{
	format(bytes, bytes ? byte_units : &byte_units[countof(byte_units) - 1], out);
}

/* By hand: snprintf() was a twentieth of a small request. */
char *units_format_uint(uint64_t n, char out[UNITS_TEXT_MAX])
{
	char digits[20]; /* 2^64 has as many */
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	memcpy(out, digits + at, sizeof(digits) - at);
	out += sizeof(digits) - at;
	*out = '\0';
	return out;
}
