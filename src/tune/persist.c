/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/persist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char mark[] =
	"# Written by \"sluice-tune apply --persist\"; \"sluice-tune undo\" removes it.\n";

static const char *const paths[PERSIST_FILES] = {
	"/etc/sysctl.d/90-sluice.conf",
	"/etc/modules-load.d/sluice.conf",
};

static bool is_list(const struct setting *s)
{
	return s->rule == RULE_HAS;
}

/* A list of what is allowed depends on what is loaded; BBR is allowed once it is the default. */
static void write_sysctls(FILE *f, const struct changes *record)
{
	for (unsigned i = 0; i < record->count; i++) {
		const struct change *c = &record->v[i];

		if (c->kind == CHANGE_SYSCTL && !is_list(setting_find(c->name)))
			fprintf(f, "%s = %s\n", c->name, c->after);
	}
}

static void write_modules(FILE *f, const struct changes *record)
{
	for (unsigned i = 0; i < record->count; i++) {
		const struct change *c = &record->v[i];
		const struct setting *s = c->kind == CHANGE_SYSCTL ? setting_find(c->name) : NULL;

		if (s && s->module && !is_list(s))
			fprintf(f, "%s\n", s->module);
	}
}

static int make_text(const struct changes *record,
		     void (*write)(FILE *f, const struct changes *record), char **out)
{
	size_t len;
	FILE *f = open_memstream(out, &len);

	if (!f)
		return -ENOMEM;
	fputs(mark, f);
	write(f, record);
	if (fclose(f) != 0)
		return -ENOMEM;
	if (len == strlen(mark)) {
		free(*out);
		*out = NULL;
	}
	return 0;
}

int persist_plan(const char *root, const struct changes *record, struct persist *out,
		 const char **whose)
{
	static void (*const writers[PERSIST_FILES])(
		FILE *, const struct changes *) = { write_sysctls, write_modules };

	*out = (struct persist){ 0 };
	for (unsigned i = 0; i < PERSIST_FILES; i++) {
		struct persist_file *f = &out->files[i];
		int err = make_text(record, writers[i], &f->text);

		f->path = paths[i];
		if (err == 0 && hostfs_exists(root, f->path)) {
			f->old = hostfs_slurp(root, f->path);
			if (!f->old || strncmp(f->old, mark, strlen(mark)) != 0)
				err = -EEXIST;
		}
		if (err < 0) {
			*whose = f->path;
			persist_fini(out);
			return err;
		}
	}
	return 0;
}

void persist_fini(struct persist *p)
{
	for (unsigned i = 0; i < PERSIST_FILES; i++) {
		free(p->files[i].text);
		free(p->files[i].old);
	}
	*p = (struct persist){ 0 };
}

bool persist_differs(const struct persist_file *f)
{
	if (!f->text || !f->old)
		return f->text != f->old;
	return strcmp(f->text, f->old) != 0;
}

int persist_write(const char *root, const struct persist_file *f)
{
	return f->text ? hostfs_replace(root, f->path, f->text) : hostfs_remove(root, f->path);
}
