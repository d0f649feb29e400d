/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/findings.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const struct {
	const char *word; /* for programs */
	const char *mark; /* for people */
	const char *colour;
} verdicts[FOUND_VERDICTS] = {
	[FOUND_WELL] = { "ok", "ok", "32" },
	[FOUND_NOTE] = { "note", "note", "33" },
	[FOUND_WRONG] = { "wrong", "WRONG", "31;1" },
	[FOUND_UNKNOWN] = { "unknown", "?", "33" },
};

void found(struct findings *f, enum verdict verdict, const char *about, const char *check,
	   const char *fmt, ...)
{
	struct finding it = { .check = check, .verdict = verdict, .about = strdup(about) };
	const unsigned cap = f->cap ? f->cap * 2 : 64;
	struct finding *more = f->v;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&it.text, fmt, ap) < 0)
		it.text = NULL;
	va_end(ap);
	f->each[verdict]++;
	if (f->count == f->cap)
		more = cap <= FINDINGS_MAX ? realloc(f->v, cap * sizeof(*more)) : NULL;
	if (!more || !it.about || !it.text) {
		f->lost++;
		free(it.about);
		free(it.text);
		return;
	}
	if (f->count == f->cap)
		f->cap = cap;
	f->v = more;
	f->v[f->count++] = it;
}

int findings_status(const struct findings *f)
{
	if (f->each[FOUND_WRONG])
		return 1;
	return f->each[FOUND_UNKNOWN] || f->lost ? 2 : 0;
}

static void print_json(const struct findings *f, int status)
{
	printf("{\"status\":%d,\"findings\":[", status);
	for (unsigned i = 0; i < f->count; i++) {
		const struct finding *it = &f->v[i];

		fputs(i ? ",{\"about\":" : "{\"about\":", stdout);
		cli_json_text(it->about);
		printf(",\"check\":\"%s\",\"verdict\":\"%s\",\"text\":", it->check,
		       verdicts[it->verdict].word);
		cli_json_text(it->text);
		putchar('}');
	}
	puts("]}");
}

static void print_mark(enum verdict v, bool colour)
{
	if (colour)
		printf("  \033[%sm%-6s\033[0m", verdicts[v].colour, verdicts[v].mark);
	else
		printf("  %-6s", verdicts[v].mark);
}

/* Bytes from outside may be in a sentence: nothing that a terminal would obey. */
static void print_sentence(const char *text)
{
	for (; *text; text++)
		putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
	putchar('\n');
}

static bool was_about(const struct findings *f, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (strcmp(f->v[k].about, f->v[i].about) == 0)
			return true;
	return false;
}

/* What is about one thing stands together, whenever it was found. */
static void print_text(const struct findings *f)
{
	const bool colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");

	for (unsigned i = 0; i < f->count; i++) {
		if (was_about(f, i))
			continue;
		printf("%s%s\n", i ? "\n" : "", f->v[i].about);
		for (unsigned k = i; k < f->count; k++)
			if (strcmp(f->v[k].about, f->v[i].about) == 0) {
				print_mark(f->v[k].verdict, colour);
				print_sentence(f->v[k].text);
			}
	}
	if (f->lost)
		printf("\n%u more did not fit.\n", f->lost);
	if (f->each[FOUND_WRONG] || f->each[FOUND_UNKNOWN])
		printf("\n%u wrong, %u not looked at, %u worth a look, %u well.\n",
		       f->each[FOUND_WRONG], f->each[FOUND_UNKNOWN], f->each[FOUND_NOTE],
		       f->each[FOUND_WELL]);
	else
		printf("\nAll is well; %u worth a look.\n", f->each[FOUND_NOTE]);
}

void findings_print(const struct findings *f, bool json, int status)
{
	if (json)
		print_json(f, status);
	else
		print_text(f);
}

void findings_free(struct findings *f)
{
	for (unsigned i = 0; i < f->count; i++) {
		free(f->v[i].about);
		free(f->v[i].text);
	}
	free(f->v);
}
