/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The command line.  The only file that knows all others.
 *
 * Exit: 0 done; 1 it could not be done, stderr says why; 100 the command line was wrong.  Some
 * commands have more to say: cli/cli.h.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "base/version.h"
#include "cli/cli.h"
#include "server/server.h"

static const char default_file[] = "/etc/sluice/sluice.ini";

enum { MAIN_WORDS_MAX = 100 };

static int cmd_version(const struct cli_args *args)
{
	(void)args;
	printf("sluice %s\n", version_text());
	return EXIT_SUCCESS;
}

static const struct cli_command commands[] = {
	{ "serve", "c:", 0, cmd_serve, "[-c FILE]", "run the mirror" },
	{ "check", "c:v", 0, cmd_check, "[-c FILE] [-v]",
	  "look for mistakes in the configuration; -v prints all of it as it would be used" },
	{ "verify", "c:j", 0, cmd_verify, "[-c FILE] [--json]",
	  "compare all cached files with their digests; damaged ones go to quarantine" },
	{ "doctor", "c:jv", 0, cmd_doctor, "[-c FILE] [--json] [-v]",
	  "look at this host, the certificates and every upstream; -v: with the event log" },
	{ "clients", "c:j", 1, cmd_clients,
	  "[-c FILE] [--json] [docker|containerd|podman|k3s|buildkit]",
	  "what to configure at these clients of the mirror, or at one of them" },
	{ "reload", "c:j", 0, cmd_reload, "[-c FILE] [--json]",
	  "have the server take up its changed configuration and certificates" },
	{ "upgrade", "c:j", 0, cmd_upgrade, "[-c FILE] [--json]",
	  "start the new program in the place of the running one, without a failed request" },
	{ "status", "c:j", 0, cmd_status, "[-c FILE] [--json]", "ask the server how it is" },
	{ "top", "c:j", 0, cmd_top, "[-c FILE] [--json]",
	  "show what the server does, anew every two seconds; q quits" },
	{ "ls", "c:j", 1, cmd_ls, "[-c FILE] [--json] [images|blobs|IMAGE]",
	  "list what is cached: images by their tags, all files, or the parts of one image" },
	{ "du", "c:j", 0, cmd_du, "[-c FILE] [--json]",
	  "sum up what mirrors and repositories have of the cache, and have alone" },
	{ "pin", "c:j", MAIN_WORDS_MAX, cmd_pin, "[-c FILE] [--json] [IMAGE...]",
	  "keep images from being evicted; without a name, list those that are" },
	{ "unpin", "c:j", MAIN_WORDS_MAX, cmd_unpin, "[-c FILE] [--json] IMAGE...",
	  "let them be evicted again" },
	{ "purge", "c:j", MAIN_WORDS_MAX, cmd_purge, "[-c FILE] [--json] IMAGE|DIGEST|MIRROR...",
	  "remove from the cache; what other tags or pins need stays" },
	{ "refresh", "c:j", MAIN_WORDS_MAX, cmd_refresh, "[-c FILE] [--json] IMAGE...",
	  "ask the registry now what a tag is" },
	{ "warm", "c:j", 1, cmd_warm, "[-c FILE] [--json] LIST",
	  "pull the images of a list into the cache: an image a line, then its platforms" },
	{ "version", "", 0, cmd_version, "", "print the version" },
	{ "print", "", 1, cmd_print, "man|commands|completion", NULL },
};

static void usage(FILE *to)
{
	fprintf(to, "sluice %s: a mirror for container registries\n\nusage:\n", version_text());
	for (size_t i = 0; i < countof(commands); i++)
		if (commands[i].help)
			fprintf(to, "  sluice %-7s %-28s %s\n", commands[i].name, commands[i].args,
				commands[i].help);
	fprintf(to, "\nFILE is %s unless given.\n", default_file);
}

static const struct cli_command *command_find(const char *name)
{
	struct slice s = slice_of(name);

	if (slice_eq(s, SLICE("--version")))
		s = SLICE("version");
	for (size_t i = 0; i < countof(commands); i++)
		if (slice_eq(s, slice_of(commands[i].name)))
			return &commands[i];
	return NULL;
}

static bool wants_help(const char *word)
{
	struct slice s = slice_of(word);

	return slice_eq(s, SLICE("help")) || slice_eq(s, SLICE("--help")) ||
	       slice_eq(s, SLICE("-h"));
}

int main(int argc, char **argv)
{
	const struct cli_command *cmd = argc > 1 ? command_find(argv[1]) : NULL;
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	struct cli_args args = { .file = default_file,
				 .commands = commands,
				 .commands_count = countof(commands) };
	bool good = cmd != NULL;
	int option;

	if (argc > 1 && wants_help(argv[argc > 2 ? 2 : 1])) {
		usage(stdout);
		return EXIT_SUCCESS;
	}
	optind = 2;
	opterr = 0;
	while (good && (option = getopt_long(argc, argv, cmd->options, longs, NULL)) != -1) {
		switch (option) {
		case 'c': args.file = optarg; break;
		case 'v': args.verbose = true; break;
		case 'j': good = args.json = strchr(cmd->options, 'j') != NULL; break;
		default: good = false; break;
		}
	}
	args.argc = argc - optind;
	args.argv = argv + optind;
	if (!good || args.argc > cmd->rest_max) {
		usage(stderr);
		return CLI_USAGE;
	}
	return cmd->run(&args);
}
