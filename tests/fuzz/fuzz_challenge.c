/* SPDX-License-Identifier: GPL-3.0-or-later */
/* WWW-Authenticate and Link; credentials of whatever was found. */
#include "http/challenge.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice value = { (const char *)data, size };
	struct slice target = SLICE_NONE;
	struct challenge c;
	struct arena a;
	char *text;

	arena_init(&a, 256 * 1024);
	if (challenge_parse(&a, value, &c)) {
		assert(c.scheme != CHALLENGE_NONE);
		text = basic_credentials(&a, c.realm, c.scope);
		if (text)
			assert(strlen(text) == 6 + (c.realm.len + c.scope.len + 3) / 3 * 4);
	}
	if (link_next(value, &target))
		assert(target.ptr >= value.ptr && target.len <= value.len);
	arena_fini(&a);
	return 0;
}
