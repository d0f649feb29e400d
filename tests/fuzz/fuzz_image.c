/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Manifests of any shape, and names of images: what was taken of them is within its bounds. */
#include "proxy/image.h"

#include <stdlib.h>

#include "proxy/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf_mirror mirrors[] = { { .name = "docker.io" }, { .name = "quay.io" } };
static const struct config config = { .mirrors = mirrors, .mirrors_count = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size };
	struct image_part *parts;
	struct image_name n;
	const char *why;
	struct arena a;
	int count = image_parts_parse(in, &parts);

	if (count > IMAGE_PARTS_MAX + 1 || (count < 0 && parts))
		abort();
	for (int i = 0; i < count; i++)
		if (strnlen(parts[i].platform, sizeof(parts[i].platform)) ==
		    sizeof(parts[i].platform))
			abort();
	free(parts);
	arena_init(&a, 64 * 1024);
	if (image_name_parse(&a, &config, in, &n, &why)) {
		if (!oci_name_ok(n.repo) || n.mirror < 0 || n.mirror > 1)
			abort();
		if (n.ref_is_digest ? !oci_digest_ok(n.ref) : !oci_tag_ok(n.ref))
			abort();
	} else if (!why) {
		abort();
	}
	arena_fini(&a);
	return 0;
}
