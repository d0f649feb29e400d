/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A configuration in the making: the sections of a file with the line of each key, so that whatever
 * is wrong can be said with its place.  draft_read() takes the text in, draft_check() (check.c)
 * looks at the whole.
 */
#pragma once

#include "config/schema.h"

struct draft_section {
	struct draft_section *next; /* in the file's order */
	enum section section;
	const char *name;                /* NULL when the section has none */
	unsigned line;                   /* 0: not in the file */
	unsigned lines[SCHEMA_KEYS_MAX]; /* by index in schema_keys; 0: not in the file */
	void *data;                      /* the section's struct of config.h */
};

struct draft {
	const char *file;
	struct config *c; /* strings go to its arena */
	struct config_errors *errs;
	struct arena arena; /* of the draft itself */
	struct draft_section *first;
	struct draft_section **last;
	struct draft_section *single[SECTION_COUNT]; /* those without a name; always there */
	unsigned count;
	struct draft_section *now;    /* where keys go; NULL: nowhere, that was complained of */
	const struct schema_key *key; /* what a further line goes to, or NULL */
	bool headed;                  /* a section line was seen */
};

/* Never fails as such: mistakes are in errs.  Borrows all but <text>. */
void draft_init(struct draft *d, const char *file, struct config *c, struct config_errors *errs);
void draft_read(struct draft *d, struct slice text);
void draft_fini(struct draft *d);

/* Line of a key in that section, 0 if it is not in the file. */
unsigned draft_line(const struct draft_section *s, const char *key);

/* line 0: the file as a whole. */
void draft_error(struct draft *d, unsigned line, const char *fmt, ...) printf_like(3, 4);
void draft_warning(struct draft *d, unsigned line, const char *fmt, ...) printf_like(3, 4);
/* "[mirror docker.io] ca = /x: <why>". */
void draft_error_value(struct draft *d, const struct draft_section *s, const struct schema_key *k,
		       unsigned line, struct slice value, const char *why);

/* "[mirror docker.io]", for messages. */
struct draft_title {
	char text[300];
};
struct draft_title draft_title(const struct draft_section *s);

/* Defaults, files, and what no single value can tell. */
void draft_check(struct draft *d, bool look_at_files);
