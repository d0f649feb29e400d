/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>

bool cli_fail(const char *fmt, ...)
{
	va_list ap;

	fputs("sluice: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return false;
}

void cli_json_text(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c >= ' ' && c < 0x7f)
			putchar(c);
		else
			printf("\\u%04x", c);
	}
	putchar('"');
}

static void print_messages(const struct config_messages *m, const char *kind)
{
	for (unsigned i = 0; i < m->count; i++)
		fprintf(stderr, "%s: %s\n", kind, m->text[i]);
	if (m->more)
		fprintf(stderr, "%s: %u more\n", kind, m->more);
}

struct config *cli_load(const char *file)
{
	struct config_errors errs;
	struct config *c;
	int err = config_load(file, &c, &errs);

	print_messages(&errs.errors, "error");
	print_messages(&errs.warnings, "warning");
	config_errors_fini(&errs);
	return err == 0 ? c : NULL;
}
