/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Any bytes; and every cut of them must say MORE, or the same as the whole. */
#include "net/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char scratch[TLS_HELLO_MAX];
	struct slice all = { (const char *)data, size };
	struct hello h;
	enum hello_result whole = hello_parse(all, scratch, &h);
	size_t step = size / 16 + 1;

	if (whole == HELLO_DONE) {
		assert(h.raw_bytes <= size);
		assert(strlen(h.sni) < sizeof(h.sni));
		(void)hello_offers(&h, SLICE("h2"));
	}
	for (size_t n = 0; n < size; n += step) {
		enum hello_result part = hello_parse(slice_first(all, n), scratch, &h);

		assert(part == HELLO_MORE || part == whole);
	}
	return 0;
}
