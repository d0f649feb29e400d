/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is kept over a restart: one file of our own in /etc/sysctl.d and one in /etc/modules-load.d.
 * A file of that name that is not ours is never touched.  The default qdisc is set there before
 * interfaces come up, so that they get it by themselves.
 */
#pragma once

#include "tune/change.h"

enum { PERSIST_FILES = 2 };

struct persist_file {
	const char *path;
	char *text; /* what should be in it, or NULL: nothing */
	char *old;  /* what is in it, or NULL: no file */
};

struct persist {
	struct persist_file files[PERSIST_FILES];
};

/* All that the record has changed.  0, -EEXIST: *whose is not ours, or -ENOMEM. */
int persist_plan(const char *root, const struct changes *record, struct persist *out,
		 const char **whose) must_check;
void persist_fini(struct persist *p);
bool persist_differs(const struct persist_file *f);
/* 0 or -errno.  A file without text is removed. */
int persist_write(const char *root, const struct persist_file *f) must_check;
