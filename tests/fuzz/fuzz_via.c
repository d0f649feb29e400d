/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Answers of an outgoing proxy, in pieces: the first byte says which kind, the second how large. */
#include "net/via.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct via_target to = { VIA_SOCKS5, NULL, "secret", "registry.example.com", 443 };
	size_t at = 2, end = 2, piece;
	struct via v;

	if (size < 2)
		return 0;
	to.kind = data[0] & 1 ? VIA_HTTP : VIA_SOCKS5;
	to.user = data[0] & 2 ? "user" : NULL;
	piece = data[1] + 1u;
	via_init(&v, &to);
	while (end < size && v.state != VIA_OPEN && v.state != VIA_FAILED) {
		size_t taken;

		end = size - end < piece ? size : end + piece;
		do {
			taken = via_feed(&v, (struct slice){ (const char *)data + at, end - at });
			assert(taken <= end - at);
			at += taken;
			assert(via_out(&v).len <= VIA_OUT_MAX);
		} while (taken > 0 && v.state != VIA_OPEN);
	}
	if (v.state == VIA_FAILED)
		assert(via_why(&v)[0] && !strstr(via_why(&v), "secret"));
	via_fini(&v);
	return 0;
}
