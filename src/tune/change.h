/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One change of the host: a sysctl, the qdisc of an interface, a module.  It is known by kind and
 * name; its value before and after are text.  What is not in the table of settings.c cannot be
 * changed, wherever a change came from.
 */
#pragma once

#include <stdbool.h>

#include "base/slice.h"
#include "tune/settings.h"

enum change_kind { CHANGE_MODULE, CHANGE_SYSCTL, CHANGE_QDISC, CHANGE_KINDS };
extern const char *const change_kind_names[CHANGE_KINDS];

enum { CHANGES_MAX = 96 }; /* a sysctl for each row, LINKS_MAX interfaces, some modules */

struct change {
	enum change_kind kind;
	char name[64]; /* "net.core.rmem_max", "eth0", "tcp_bbr" */
	char before[HOST_VALUE_MAX];
	char after[HOST_VALUE_MAX];
};

struct changes {
	struct change v[CHANGES_MAX];
	unsigned count;
};

/* NULL: there is none. */
struct change *changes_find(struct changes *all, enum change_kind kind, const char *name);
void changes_remove(struct changes *all, unsigned n);

/* What it is now; 0 or -errno: -ENODEV an interface that is not up. */
int change_read(const char *root, const struct change *c, char out[HOST_VALUE_MAX]) must_check;
/* Sets `after`, and `before` again.  0 or -errno; whether it took is for change_read() to say. */
int change_do(const char *root, const struct change *c) must_check;
int change_undo(const char *root, const struct change *c) must_check;

/* Does the table of settings allow for it? */
bool change_is_ours(const struct change *c);

/* The record of what to undo, a line each: "KIND\tNAME\tBEFORE\tAFTER".  0, or the bad line. */
unsigned changes_parse(struct slice text, struct changes *out) must_check;
/* To be freed; NULL: no memory. */
char *changes_format(const struct changes *all) must_check;

extern const char changes_path[];
/*
 * *line: of a mistake (-EINVAL).  -EPERM: not a file of root's, or others may write it.  Without a
 * record: 0, and no changes.
 */
int changes_load(const char *root, struct changes *out, unsigned *line) must_check;
/* Without changes, removes it. */
int changes_save(const char *root, const struct changes *all) must_check;
