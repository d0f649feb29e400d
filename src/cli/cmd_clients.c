/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "proxy/howto.h"

/* One file alone is all of stdout, so that it can be written where it belongs. */
static void print_text(const struct howto *h, bool alone)
{
	const bool bare = alone && h->files_count == 1;
	FILE *words = bare ? stderr : stdout;

	fprintf(words, "# %s\n", h->title);
	for (unsigned i = 0; i < h->files_count; i++) {
		fprintf(words, "\n# file: %s\n", h->files[i].path);
		fflush(words);
		fputs(h->files[i].text, stdout);
		fflush(stdout);
	}
	if (h->notes_count)
		fputc('\n', words);
	for (unsigned i = 0; i < h->notes_count; i++)
		fprintf(words, "# - %s\n", h->notes[i]);
}

static void print_list(const char *key, const char *const *texts, unsigned count)
{
	printf(",\"%s\":[", key);
	for (unsigned i = 0; i < count; i++) {
		fputs(i ? "," : "", stdout);
		cli_json_text(texts[i]);
	}
	putchar(']');
}

static void print_json(enum howto_client client, const struct howto *h)
{
	printf("{\"client\":\"%s\",\"files\":[", howto_names[client]);
	for (unsigned i = 0; i < h->files_count; i++) {
		fputs(i ? ",{\"path\":" : "{\"path\":", stdout);
		cli_json_text(h->files[i].path);
		fputs(",\"text\":", stdout);
		cli_json_text(h->files[i].text);
		putchar('}');
	}
	putchar(']');
	print_list("notes", h->notes, h->notes_count);
	puts("}");
}

/* -1: all of them; -2: there is no such client. */
static int client_of(const struct cli_args *args)
{
	if (args->argc == 0)
		return -1;
	for (int i = 0; i < HOWTO_COUNT; i++)
		if (strcmp(args->argv[0], howto_names[i]) == 0)
			return i;
	return -2;
}

static bool print_clients(const struct cli_args *args, const struct config *c, int which)
{
	struct howto_place place;
	struct arena a;
	struct howto h;
	bool ok = true;

	arena_init(&a, howto_bytes(c) + 64 * 1024);
	for (int i = 0; i < HOWTO_COUNT && ok; i++) {
		if (which >= 0 && which != i)
			continue;
		ok = howto_make(&a, c, (enum howto_client)i, &h);
		if (!ok)
			break;
		if (args->json)
			print_json((enum howto_client)i, &h);
		else
			print_text(&h, which >= 0);
		if (!args->json && which < 0 && i < HOWTO_COUNT - 1)
			fputs("\n\n", stdout);
	}
	ok = ok && howto_look(&a, c, &place);
	for (unsigned i = 0; ok && i < place.left_out_count; i++)
		(void)cli_fail("[mirror %s] is left out: it has no `host`, and [server] has none; "
			       "give one of them a name that clients can reach",
			       place.left_out[i]);
	arena_fini(&a);
	return ok ? true : cli_fail("no memory");
}

int cmd_clients(const struct cli_args *args)
{
	const int which = client_of(args);
	struct config *c;
	bool ok;

	if (which == -2) {
		(void)cli_fail("client \"%s\" is not known: it must be docker, containerd, podman, "
			       "k3s or buildkit",
			       args->argv[0]);
		return CLI_USAGE;
	}
	c = cli_load(args->file);
	ok = c && print_clients(args, c, which);
	if (c)
		config_unref(c);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
