/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the cache has, what stays and what goes: asked of the server (proxy/manage.h). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/slice.h"
#include "cli/ask.h"
#include "cli/show.h"

enum { LOOK_S = 120 }; /* a large cache on a slow disk takes so long to be looked at */

static const char *text_of(const cJSON *line, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(line, key));

	return text ? text : "";
}

static uint64_t uint_of(const cJSON *line, const char *key)
{
	const cJSON *n = cJSON_GetObjectItem(line, key);

	return cJSON_IsNumber(n) && n->valuedouble > 0 ? (uint64_t)n->valuedouble : 0;
}

static bool is_true(const cJSON *line, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItem(line, key));
}

/* The server's own words of a failure; else the line is for the caller. */
static bool took_error(const cJSON *line)
{
	const char *error = text_of(line, "error");

	if (error[0])
		(void)cli_fail("%s", error);
	return error[0] != '\0';
}

static const char *used(const cJSON *line, char out[SHOW_MAX])
{
	uint64_t at = uint_of(line, "used");

	if (!at)
		return "-";
	return show_age(time(NULL) - (int64_t)at, out);
}

/* ---- ls ---- */

struct ls {
	bool parts; /* of one image, or blobs: not images */
	unsigned lines;
	uint64_t bytes;
};

static void ls_line(void *ctx, const cJSON *line, const char *text)
{
	struct ls *ls = ctx;
	char size[SHOW_MAX], age[SHOW_MAX];
	const char *state;

	(void)text;
	if (took_error(line))
		return;
	if (ls->lines++ == 0)
		printf(ls->parts ? "%10s  %-9s %-8s %-7s %s\n" : "%10s  %5s  %-8s %-7s %s\n",
		       "SIZE", ls->parts ? "KIND" : "BLOBS", "USED", "STATE",
		       ls->parts ? "DIGEST" : "IMAGE");
	state = is_true(line, "pinned")        ? "pinned"
		: ls->parts                    ? "-"
		: !is_true(line, "cached")     ? "gone"
		: uint_of(line, "missing") > 0 ? "partial"
					       : "-";
	show_bytes(uint_of(line, "bytes"), size);
	ls->bytes += uint_of(line, "bytes");
	if (ls->parts)
		printf("%10s  %-9s %-8s %-7s %s\n", size, text_of(line, "kind"), used(line, age),
		       state, text_of(line, "digest"));
	else
		printf("%10s  %5" PRIu64 "  %-8s %-7s %s\n", size, uint_of(line, "blobs"),
		       used(line, age), state, text_of(line, "image"));
}

int cmd_ls(const struct cli_args *args)
{
	const char *what = args->argc ? args->argv[0] : "images";
	struct ls ls = { .parts = !slice_eq(slice_of(what), SLICE("images")) };
	int code = cli_ask(args, (const char *[]){ "ls", what }, 2, LOOK_S,
			   args->json ? NULL : ls_line, &ls);

	if (code == EXIT_SUCCESS && !args->json && ls.lines == 0)
		puts("the cache is empty");
	return code;
}

/* ---- du ---- */

static void du_line(void *ctx, const cJSON *line, const char *text)
{
	char size[SHOW_MAX], own[SHOW_MAX], most[SHOW_MAX];
	const char *repo = text_of(line, "repository");
	unsigned *lines = ctx;

	(void)text;
	if (took_error(line))
		return;
	if ((*lines)++ == 0)
		printf("%10s  %10s  %5s  %s\n", "SIZE", "ALONE", "TAGS", "OF");
	show_bytes(uint_of(line, "bytes"), size);
	if (!text_of(line, "mirror")[0]) {
		printf("%10s  %10s  %5s  all, of %s; what no tag leads to: %s\n", size, "", "",
		       show_bytes(uint_of(line, "size_bytes"), most),
		       show_bytes(uint_of(line, "untagged_bytes"), own));
		return;
	}
	printf("%10s  %10s  %5" PRIu64 "  %s%s%s\n", size,
	       show_bytes(uint_of(line, "own_bytes"), own), uint_of(line, "tags"),
	       text_of(line, "mirror"), repo[0] ? "/" : "", repo);
}

int cmd_du(const struct cli_args *args)
{
	unsigned lines = 0;

	return cli_ask(args, (const char *[]){ "du" }, 1, LOOK_S, args->json ? NULL : du_line,
		       &lines);
}

/* ---- pin, unpin, purge ---- */

static void pin_line(void *ctx, const cJSON *line, const char *text)
{
	const cJSON *changed = cJSON_GetObjectItem(line, "changed");

	(void)ctx, (void)text;
	if (took_error(line))
		return;
	if (!changed)
		puts(text_of(line, "image"));
	else
		printf("%s %s\n", text_of(line, "image"),
		       !cJSON_IsTrue(changed)    ? "is pinned already"
		       : is_true(line, "pinned") ? "is pinned"
						 : "is not pinned any more");
}

static void purge_line(void *ctx, const cJSON *line, const char *text)
{
	uint64_t kept = uint_of(line, "kept");
	char size[SHOW_MAX];

	(void)ctx, (void)text;
	if (took_error(line))
		return;
	printf("%s: %" PRIu64 " files, %s removed", text_of(line, "purged"), uint_of(line, "files"),
	       show_bytes(uint_of(line, "bytes"), size));
	if (kept)
		printf("; %" PRIu64 " stay, which other tags or pins need", kept);
	putchar('\n');
}

/* Each word by itself, so that one that fails says nothing of the others. */
static int each_word(const struct cli_args *args, const char *command, ask_line line)
{
	int worst = EXIT_SUCCESS;

	for (int i = 0; i < args->argc; i++) {
		int code = cli_ask(args, (const char *[]){ command, args->argv[i] }, 2, LOOK_S,
				   args->json ? NULL : line, NULL);

		if (code > worst)
			worst = code;
	}
	return worst;
}

int cmd_pin(const struct cli_args *args)
{
	if (args->argc == 0)
		return cli_ask(args, (const char *[]){ "pins" }, 1, LOOK_S,
			       args->json ? NULL : pin_line, NULL);
	return each_word(args, "pin", pin_line);
}

static int needs_words(const char *what)
{
	(void)cli_fail("%s", what);
	return CLI_USAGE;
}

int cmd_unpin(const struct cli_args *args)
{
	if (args->argc == 0)
		return needs_words("name the images that may go again; sluice pin lists them");
	return each_word(args, "unpin", pin_line);
}

int cmd_purge(const struct cli_args *args)
{
	if (args->argc == 0)
		return needs_words("name what is to go: an image, a digest or a mirror");
	return each_word(args, "purge", purge_line);
}
