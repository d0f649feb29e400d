/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Subcommands that are one word to the server. */
#include "cli/ask.h"

enum { QUIET_S = 60, UPGRADE_S = 60 };

int cmd_reload(const struct cli_args *args)
{
	return cli_ask(args, (const char *[]){ "reload" }, 1, QUIET_S, NULL, NULL);
}

int cmd_upgrade(const struct cli_args *args)
{
	return cli_ask(args, (const char *[]){ "upgrade" }, 1, QUIET_S + UPGRADE_S, NULL, NULL);
}

int cmd_status(const struct cli_args *args)
{
	return cli_ask(args, (const char *[]){ "status" }, 1, QUIET_S, NULL, NULL);
}
