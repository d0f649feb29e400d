/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/limits.h"
#include "cli/cli.h"

enum { DUMP_MAX = 16 * CONFIG_FILE_MAX };

static bool print_config(const struct config *c)
{
	char *mem = malloc(DUMP_MAX);
	struct buf out;
	bool ok;

	buf_init(&out, mem, mem ? DUMP_MAX : 0);
	ok = mem && config_dump(c, &out) && fwrite(mem, 1, buf_len(&out), stdout) == buf_len(&out);
	free(mem);
	return ok ? true : cli_fail("the configuration cannot be printed");
}

int cmd_check(const struct cli_args *args)
{
	struct config *c = cli_load(args->file);
	bool ok = c != NULL;

	if (ok && args->verbose)
		ok = print_config(c);
	else if (ok)
		printf("%s is good\n", args->file);
	if (c)
		config_unref(c);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
