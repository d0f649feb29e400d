/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Subcommands other than serve: each is one function, in a file cmd_*.c of its own, that main.c's
 * table names.  They print to stdout what was asked for, to stderr what went wrong, and return the
 * exit status.
 */
#pragma once

#include <stdbool.h>

#include "base/assert.h"
#include "config/config.h"

enum { CLI_USAGE = 100 }; /* exit status: the command line was wrong */

struct cli_command;

struct cli_args {
	const char *file; /* of the configuration */
	bool verbose;     /* -v */
	bool json;        /* --json */
	int argc;         /* what follows the options; its number is what main.c's table permits */
	char **argv;
	const struct cli_command *commands; /* all that there are */
	unsigned commands_count;
};

/* A row of main.c's table. */
struct cli_command {
	const char *name;
	const char *options; /* for getopt */
	int rest_max;        /* words after the options */
	int (*run)(const struct cli_args *args);
	/* "[-c FILE] [--json] [this|that]": the help prints it, and the completion offers what is
	 * in it. */
	const char *args;
	const char *help; /* NULL: for the build alone, and in no help */
};

/* "sluice: ..." to stderr.  Always false. */
cold printf_like(1, 2) bool cli_fail(const char *fmt, ...);

/* A JSON string, quoted, to stdout. */
void cli_json_text(const char *text);

/* The configuration, counted; NULL: all that is wrong with it was printed. */
struct config *cli_load(const char *file) must_check;

/* Exit: 0 it is good, 1 it is not. */
int cmd_check(const struct cli_args *args);
/* Exit: 0 all is well, 1 something is damaged, 2 it could not be done. */
int cmd_verify(const struct cli_args *args);
/* For the build: sluice.ini(5), the commands of sluice(8), bash's completion. */
int cmd_print(const struct cli_args *args);
/* Exit: 0 printed, 1 it could not be. */
int cmd_clients(const struct cli_args *args);
/* Exit: 0 all is well, 1 something is wrong, 2 something could not be looked at. */
int cmd_doctor(const struct cli_args *args);
/* By the control socket.  Exit: 0 it was done, 1 it was not, or no server answers. */
int cmd_reload(const struct cli_args *args);
int cmd_upgrade(const struct cli_args *args);
int cmd_status(const struct cli_args *args);
int cmd_top(const struct cli_args *args);
int cmd_ls(const struct cli_args *args);
int cmd_du(const struct cli_args *args);
int cmd_pin(const struct cli_args *args);
int cmd_unpin(const struct cli_args *args);
int cmd_purge(const struct cli_args *args);
int cmd_refresh(const struct cli_args *args);
/* Exit: 0 all is cached, 1 some could not be had, 2 it could not be begun. */
int cmd_warm(const struct cli_args *args);
