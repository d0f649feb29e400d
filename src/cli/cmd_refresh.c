/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sluice refresh IMAGE...: the registry is asked at once what a tag is now. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/channel.h"
#include "proxy/image.h"
#include "proxy/oci.h"

enum { REFRESH_ARENA = 64 * 1024 };

static bool told(const struct cli_args *args, const char *name, const struct channel_answer *a)
{
	if (args->json)
		printf("{\"image\":\"%s\",\"digest\":\"%s\"}\n", name, a->digest);
	else
		printf("%s is %s\n", name, a->digest);
	return true;
}

static bool refresh(const struct cli_args *args, const struct config *c, struct channel *ch,
		    struct arena *arena, const char *text)
{
	struct channel_answer a;
	struct image_name n;
	const char *why, *name, *path, *accept;

	if (!image_name_parse(arena, c, slice_of(text), &n, &why))
		return cli_fail("%s: %s", text, why);
	if (n.ref_is_digest)
		return cli_fail("%s: a digest never means anything else; name a tag", text);
	name = arena_printf(arena, "%s/%.*s:%.*s", c->mirrors[n.mirror].name, SLICE_FMT(n.repo),
			    SLICE_FMT(n.ref));
	path = arena_printf(arena, "/v2/%s/%.*s/manifests/%.*s", c->mirrors[n.mirror].name,
			    SLICE_FMT(n.repo), SLICE_FMT(n.ref));
	accept = arena_printf(arena, "Accept: %s\r\n", oci_accept_manifests);
	if (!name || !path || !accept)
		return cli_fail("no memory");
	if (!channel_ask(ch, "HEAD", path, accept, NULL, NULL, NULL, &a) || a.status != 200)
		return cli_fail("%s: %s", name, a.why);
	if (strcmp(a.cache, "stale") == 0)
		return cli_fail("%s: the registry does not answer; it is still %s here", name,
				a.digest);
	return told(args, name, &a);
}

int cmd_refresh(const struct cli_args *args)
{
	struct config *c;
	struct channel ch;
	bool ready, all;

	if (args->argc == 0) {
		(void)cli_fail("name the tags to ask for, such as docker.io/library/nginx:latest");
		return CLI_USAGE;
	}
	c = cli_load(args->file);
	if (!c)
		return EXIT_FAILURE;
	ready = channel_init(&ch, args) ? channel_reach(&ch) : cli_fail("no memory");
	all = ready;
	for (int i = 0; ready && i < args->argc; i++) {
		struct arena arena;

		arena_init(&arena, REFRESH_ARENA);
		all = refresh(args, c, &ch, &arena, args->argv[i]) && all;
		arena_fini(&arena);
	}
	channel_fini(&ch);
	config_unref(c);
	return all ? EXIT_SUCCESS : EXIT_FAILURE;
}
