/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the build makes of the tables: pages of the manual and bash's completion, so that neither
 * can lag behind.  An item that is added to a table needs nothing here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "cli/cli.h"
#include "config/schema.h"
#include "config/value.h"

/* As roff, in the middle of a line. */
static void roff(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		switch (text.ptr[i]) {
		case '\\': fputs("\\e", stdout); break;
		case '-': fputs("\\-", stdout); break;
		case '\'': fputs("\\(aq", stdout); break;
		case '.': fputs(i ? "." : "\\&.", stdout); break;
		default: putchar(text.ptr[i]); break;
		}
}

/* A line of a table as a sentence: a full stop, and a capital unless it begins with a name. */
static void sentence(const char *help)
{
	size_t word = strcspn(help, " ;:,.");
	size_t lower = strspn(help, "abcdefghijklmnopqrstuvwxyz");

	if (lower == word && help[word] != ':' && help[0]) {
		putchar(help[0] - 'a' + 'A');
		help++;
	}
	roff(slice_of(help));
	puts(".");
}

/* sluice.ini(5). */

static const char *form(enum value_type type)
{
	switch (type) {
	case VALUE_ADDRS: return "ADDRESS:PORT ...";
	case VALUE_HOSTS: return "NAME ...";
	case VALUE_SNIS: return "NAME or *.NAME ...";
	case VALUE_SERVERS: return "ADDRESS or ADDRESS:PORT ...";
	case VALUE_URLS: return "http[s]://HOST[:PORT] ...";
	case VALUE_MEMBERS: return "HOST[:PORT] [weight=N] ...";
	case VALUE_IPS: return "ADDRESS ...";
	case VALUE_VIA: return "socks5://HOST:PORT or http://HOST:PORT, USER:PASSWORD@ before HOST";
	case VALUE_POLICY: return "PATTERN POLICY, ...; may be given several times";
	case VALUE_URL: return "http[s]://HOST[:PORT]";
	case VALUE_PLACE: return "HOST:PORT";
	case VALUE_PATHS: return "PATH ...";
	case VALUE_PATH: return "PATH";
	case VALUE_LOG: return "stdout, off or PATH";
	case VALUE_SOCKET: return "off or PATH";
	case VALUE_USER: return "USER";
	case VALUE_BOOL: return "yes or no";
	case VALUE_IMAGE: return "REPOSITORY[:TAG]";
	case VALUE_WORD:
	case VALUE_HSTS: return "TEXT";
	default: return NULL; /* it has a range, or choices */
	}
}

static void range(const struct schema_key *k)
{
	char least[UNITS_TEXT_MAX], most[UNITS_TEXT_MAX];

	if (k->type == VALUE_MS) {
		units_format_ms(k->min, least);
		units_format_ms(k->max, most);
		printf("a time from %s to %s", least, most);
	} else if (k->type == VALUE_BYTES) {
		units_format_bytes(k->min, least);
		units_format_bytes(k->max, most);
		printf("a size from %s to %s", least, most);
	} else {
		printf("%s%ju to %ju%s", k->type == VALUE_AUTO ? "auto, or " : "",
		       (uintmax_t)k->min, (uintmax_t)k->max, k->type == VALUE_PERCENT ? " %" : "");
	}
}

static void choices(const char *words)
{
	for (const char *next; *words; words = next) {
		size_t len = strcspn(words, " ");

		next = words + len + (words[len] == ' ');
		roff((struct slice){ words, len });
		if (*next)
			fputs(strchr(next, ' ') ? ", " : " or ", stdout);
	}
}

static void key(const struct schema_key *k)
{
	printf(".TP\n.B ");
	roff(slice_of(k->key));
	putchar('\n');
	sentence(k->help);
	printf(".br\n");
	if (k->choices)
		choices(k->choices);
	else if (form(k->type))
		roff(slice_of(form(k->type)));
	else
		range(k);
	if (k->by_default) {
		fputs("; default: ", stdout);
		roff(slice_of(k->by_default));
	} else {
		fputs(k->required ? "; required" : "; default: none", stdout);
	}
	puts(k->reloadable ? "" : "; takes a restart");
}

static const char man_head[] =
	".\\\" SPDX-License-Identifier: GPL-3.0-or-later\n"
	".\\\" Made by \"sluice print man\" from the table of keys: do not edit.\n"
	".TH SLUICE.INI 5 \"\" Sluice \"File formats\"\n"
	".SH NAME\n"
	"sluice.ini \\- configuration of the registry mirror sluice\n"
	".SH SYNOPSIS\n"
	".I /etc/sluice/sluice.ini\n"
	".SH DESCRIPTION\n"
	"Sections in brackets, then lines KEY = VALUE. Lines that begin with # or ; are comments;\n"
	"behind a value, a blank and ; begin one. Lists are written with blanks between, and may\n"
	"go on in the next line, indented. A time has a unit of ms, s, m, h or d; a size K, M, G\n"
	"or T, which are powers of 1024. Paths are absolute.\n"
	".PP\n"
	".B sluice check\n"
	"tells all mistakes of a file at once, each with its line, and\n"
	".B sluice check \\-v\n"
	"prints all values as they would be used. A change is taken up by SIGHUP\n"
	"(systemctl reload sluice), as a whole or, with a mistake, not at all; what\n"
	".I takes a restart\n"
	"below keeps its old value until then. The file that comes with Sluice explains each key\n"
	"at length.\n";

static const char man_tail[] = ".SH SEE ALSO\n"
			       ".BR sluice (8),\n"
			       ".BR sluice\\-tune (8)\n";

static void print_man(void)
{
	fputs(man_head, stdout);
	for (int s = 0; s < SECTION_COUNT; s++) {
		const struct schema_section *section = &schema_sections[s];

		printf(".SH \"[%s%s]\"\n", section->name, section->named ? " NAME" : "");
		if (section->help)
			sentence(section->help);
		if (section->named)
			printf("There may be several; NAME is such as %s.\n", section->named);
		for (unsigned i = 0; i < schema_keys_count; i++)
			if ((int)schema_keys[i].section == s)
				key(&schema_keys[i]);
	}
	fputs(man_tail, stdout);
}

/* sluice(8). */

static void print_commands(const struct cli_args *args)
{
	for (unsigned i = 0; i < args->commands_count; i++) {
		const struct cli_command *c = &args->commands[i];

		if (!c->help)
			continue;
		printf(".TP\n.B sluice ");
		roff(slice_of(c->name));
		fputs(c->args[0] ? " " : "", stdout);
		roff(slice_of(c->args));
		putchar('\n');
		sentence(c->help);
	}
}

/* Completion. */

/* The options and the words to choose from in "[-c FILE] [--json] [this|that]". */
static void print_words(const char *args)
{
	static const char ends[] = " []()<>|=";
	bool choice = false;

	while (*args) {
		size_t len = strcspn(args, ends);
		bool alternative = args[len] == '|';

		if (len && (args[0] == '-' || ((choice || alternative) && args[0] >= 'a')))
			printf(" %.*s", (int)len, args);
		choice = alternative;
		args += len + (args[len] != '\0');
	}
}

static const char completion_head[] =
	"# Completion of sluice(8) in bash.  Made by \"sluice print completion\".\n"
	"_sluice()\n"
	"{\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} words=\n"
	"\tCOMPREPLY=()\n"
	"\tif [ \"${COMP_WORDS[COMP_CWORD - 1]}\" = -c ]; then\n"
	"\t\treturn\n"
	"\telif [ \"$COMP_CWORD\" = 1 ]; then\n"
	"\t\twords=\"help";

static const char completion_tail[] =
	"\t\tesac\n"
	"\tfi\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	"}\n"
	"# Where it has nothing to offer, as behind -c, the names of files.\n"
	"complete -o default -F _sluice sluice\n";

static void print_completion(const struct cli_args *args)
{
	fputs(completion_head, stdout);
	for (unsigned i = 0; i < args->commands_count; i++)
		if (args->commands[i].help)
			printf(" %s", args->commands[i].name);
	puts("\"\n\telse\n\t\tcase ${COMP_WORDS[1]} in");
	for (unsigned i = 0; i < args->commands_count; i++) {
		if (!args->commands[i].help)
			continue;
		printf("\t\t%s) words=\"", args->commands[i].name);
		print_words(args->commands[i].args);
		puts("\" ;;");
	}
	fputs(completion_tail, stdout);
}

int cmd_print(const struct cli_args *args)
{
	const char *what = args->argc ? args->argv[0] : "";

	if (strcmp(what, "man") == 0) {
		print_man();
	} else if (strcmp(what, "commands") == 0) {
		print_commands(args);
	} else if (strcmp(what, "completion") == 0) {
		print_completion(args);
	} else {
		cli_fail("print '%s': it must be man, commands or completion", what);
		return CLI_USAGE;
	}
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
