/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Any bytes as a configuration: refused with a reason, or taken; its dump is read back the same. */
#include <stdint.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool dump(struct slice text, struct buf *out)
{
	struct config_errors errs;
	struct config *c;
	int err = config_parse("fuzz", text, &c, &errs);

	assert((err == 0) == (errs.errors.count == 0));
	assert((err == 0) == (c != NULL));
	config_errors_fini(&errs);
	if (!c)
		return false;
	if (!config_dump(c, out))
		out->tail = 0;
	config_unref(c);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char first[256 * 1024], second[256 * 1024];
	struct buf a, b;

	buf_init(&a, first, sizeof(first));
	buf_init(&b, second, sizeof(second));
	if (!dump((struct slice){ (const char *)data, size }, &a) || a.tail == 0)
		return 0;
	assert(dump(buf_data(&a), &b));
	assert(slice_eq(buf_data(&a), buf_data(&b)));
	return 0;
}
