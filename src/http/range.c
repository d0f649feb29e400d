/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/range.h"

#include "base/assert.h"
#include "http/msg.h"

/* Digits at the head of *s; what does not fit is UINT64_MAX, which lies behind any file's end. */
static bool take_number(struct slice *s, uint64_t *out)
{
	uint64_t n = 0;
	bool over = false;
	size_t i = 0;

	for (; i < s->len && s->ptr[i] >= '0' && s->ptr[i] <= '9'; i++) {
		over |= __builtin_mul_overflow(n, 10, &n);
		over |= __builtin_add_overflow(n, (uint64_t)(s->ptr[i] - '0'), &n);
	}
	*out = over ? UINT64_MAX : n;
	*s = slice_skip(*s, i);
	return i > 0;
}

/* One of "5-9", "5-", "-5".  False: bad syntax; out->bytes 0: not satisfiable. */
static bool parse_spec(struct slice s, uint64_t size, struct range *out)
{
	uint64_t first = 0, last = UINT64_MAX;
	bool has_first = take_number(&s, &first);
	bool has_last;

	*out = (struct range){ 0 };
	if (s.len == 0 || s.ptr[0] != '-')
		return false;
	s = slice_skip(s, 1);
	has_last = take_number(&s, &last);
	if (s.len > 0 || (!has_first && !has_last))
		return false;
	if (!has_first) {
		out->bytes = last < size ? last : size;
		out->from = size - out->bytes;
		return true;
	}
	if (!has_last || last >= size)
		last = size - 1;
	if (first < size && first <= last)
		*out = (struct range){ first, last - first + 1 };
	return true;
}

enum range_result range_parse(struct slice value, uint64_t size, struct range *out, unsigned max,
			      unsigned *count)
{
	const struct slice unit = SLICE("bytes=");
	uint64_t budget = size > UINT64_MAX / 2 ? UINT64_MAX : 2 * size;
	bool over = false;
	unsigned n = 0, specs = 0;

	assert(max > 0);
	*count = 0;
	if (!slice_ieq(slice_first(value, unit.len), unit))
		return RANGE_IGNORE;
	value = slice_skip(value, unit.len);
	while (value.len > 0) {
		struct slice spec = slice_trim(slice_cut(&value, ','));
		struct range r;

		if (spec.len == 0) /* RFC 9110 5.6.1.2: empty elements are not counted */
			continue;
		if (!parse_spec(spec, size, &r))
			return RANGE_IGNORE;
		specs++;
		if (r.bytes == 0)
			continue;
		if (n == max)
			return RANGE_TOO_MANY;
		over |= r.bytes > budget;
		budget -= over ? 0 : r.bytes;
		out[n++] = r;
	}
	if (specs == 0)
		return RANGE_IGNORE;
	if (over && n > 2)
		return RANGE_TOO_MANY;
	*count = n;
	return n > 0 ? RANGE_OK : RANGE_UNSATISFIABLE;
}

bool content_range_parse(struct slice value, uint64_t *from, uint64_t *to, uint64_t *total)
{
	const struct slice unit = SLICE("bytes ");
	struct slice first, last;

	if (!slice_ieq(slice_first(value, unit.len), unit))
		return false;
	value = slice_trim(slice_skip(value, unit.len));
	first = slice_cut(&value, '-');
	last = slice_cut(&value, '/');
	if (!http_parse_uint(first, from) || !http_parse_uint(last, to) || *from > *to)
		return false;
	if (slice_eq(value, SLICE("*"))) {
		*total = UINT64_MAX;
		return true;
	}
	return http_parse_uint(value, total) && *to < *total;
}

static struct slice without_weak(struct slice etag)
{
	return slice_starts(etag, SLICE("W/")) ? slice_skip(etag, 2) : etag;
}

bool etag_matches(struct slice list, struct slice etag)
{
	struct slice wanted = without_weak(etag);

	if (etag.len == 0)
		return false;
	list = slice_trim(list);
	if (slice_eq(list, SLICE("*")))
		return true;
	while (list.len > 0) {
		struct slice tag = without_weak(list);
		size_t end;

		if (list.ptr[0] == ' ' || list.ptr[0] == '\t' || list.ptr[0] == ',') {
			list = slice_skip(list, 1);
			continue;
		}
		if (tag.len == 0 || tag.ptr[0] != '"')
			return false;
		end = 1 + slice_find(slice_skip(tag, 1), '"');
		if (end == tag.len)
			return false;
		if (slice_eq(slice_first(tag, end + 1), wanted))
			return true;
		list = slice_skip(tag, end + 1);
	}
	return false;
}
