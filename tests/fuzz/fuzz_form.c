/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A form is decoded within its own memory, and what was found says the same when sent on. */
#include "http/form.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct form_field first[] = { { .name = "scope" }, { .name = "password" } };
	struct form_field again[] = { { .name = "scope" }, { .name = "password" } };
	char *text = malloc(size + 1), *mem = malloc(3 * size + 32);
	struct buf b;

	if (!text || !mem)
		abort();
	memcpy(text, data, size);
	buf_init(&b, mem, 3 * size + 32);
	if (form_parse(text, size, first, 2)) {
		for (unsigned i = 0; i < 2; i++)
			if (first[i].value.ptr && !form_add(&b, first[i].name, first[i].value))
				abort();
		if (!form_parse(mem, buf_len(&b), again, 2))
			abort();
		for (unsigned i = 0; i < 2; i++)
			if (!slice_eq(first[i].value, again[i].value))
				abort();
	}
	free(text);
	free(mem);
	return 0;
}
