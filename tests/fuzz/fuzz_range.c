/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Eight bytes of size, then a field value: Range, Content-Range and a list of entity tags. */
#include "http/range.h"

#include "base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ranges(struct slice value, uint64_t size)
{
	struct range out[16];
	unsigned count = 0;
	enum range_result r = range_parse(value, size, out, countof(out), &count);

	assert((r == RANGE_OK) == (count > 0));
	assert(count <= countof(out));
	for (unsigned i = 0; i < count; i++) {
		assert(out[i].bytes > 0);
		assert(out[i].from < size);
		assert(out[i].bytes <= size - out[i].from);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice value;
	uint64_t bytes, from, to, total;

	if (size < sizeof(bytes))
		return 0;
	memcpy(&bytes, data, sizeof(bytes));
	value = (struct slice){ (const char *)data + sizeof(bytes), size - sizeof(bytes) };
	check_ranges(value, bytes);
	check_ranges(value, bytes & 0xff); /* near the numbers that are found in short texts */
	if (content_range_parse(value, &from, &to, &total))
		assert(from <= to && to < total);
	if (etag_matches(value, SLICE("\"a\"")))
		assert(slice_find(value, '*') < value.len || slice_find(value, 'a') < value.len);
	return 0;
}
