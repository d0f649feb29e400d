/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tune/tcpinfo.h"

const char changes_path[] = "/var/lib/sluice/tune.undo";

const char *const change_kind_names[CHANGE_KINDS] = {
	[CHANGE_MODULE] = "module",
	[CHANGE_SYSCTL] = "sysctl",
	[CHANGE_QDISC] = "qdisc",
};

static const char default_qdisc[] = "/proc/sys/net/core/default_qdisc";
static const char loaded[] = "loaded", not_loaded[] = "not loaded";

struct change *changes_find(struct changes *all, enum change_kind kind, const char *name)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->v[i].kind == kind && strcmp(all->v[i].name, name) == 0)
			return &all->v[i];
	return NULL;
}

void changes_remove(struct changes *all, unsigned n)
{
	assert(n < all->count);
	all->count--;
	memmove(&all->v[n], &all->v[n + 1], (all->count - n) * sizeof(all->v[0]));
}

static bool path_of(const struct change *c, char out[HOST_PATH_MAX])
{
	const struct setting *s = setting_find(c->name);

	if (!s || s->rule == RULE_NONE)
		return false;
	setting_path(s, out);
	return true;
}

/* -ENODEV: it is not up. */
static int find_link(const char *root, const char *name, struct link *out)
{
	struct links all;
	int err = links_find(root, &all);

	if (err < 0)
		return err;
	for (unsigned i = 0; i < all.count; i++)
		if (strcmp(all.v[i].name, name) == 0) {
			*out = all.v[i];
			return 0;
		}
	return -ENODEV;
}

static void module_path(const struct change *c, char out[HOST_PATH_MAX])
{
	snprintf(out, HOST_PATH_MAX, "/sys/module/%s/refcnt", c->name);
}

int change_read(const char *root, const struct change *c, char out[HOST_VALUE_MAX])
{
	char path[HOST_PATH_MAX];
	struct link l;
	int err;

	switch (c->kind) {
	case CHANGE_SYSCTL: return path_of(c, path) ? hostfs_read(root, path, out) : -EINVAL;
	case CHANGE_QDISC:
		err = find_link(root, c->name, &l);
		snprintf(out, HOST_VALUE_MAX, "%s", err == 0 ? link_sends_by(&l) : "");
		return err;
	case CHANGE_MODULE:
		module_path(c, path);
		snprintf(out, HOST_VALUE_MAX, "%s",
			 hostfs_exists(root, path) ? loaded : not_loaded);
		return 0;
	case CHANGE_KINDS: break;
	}
	unreachable("a kind of change");
}

/* The kernel loads it when somebody with the right to asks for what it does. */
static int module_load(const char *root, const struct change *c)
{
	char path[HOST_PATH_MAX];
	int fd, err;

	module_path(c, path);
	if (root[0])
		return hostfs_replace(root, path, "0\n");
	if (strncmp(c->name, "sch_", 4) == 0) {
		err = links_try_qdisc(c->name + 4);
		return err == 1 ? 0 : err == 0 ? -ENOENT : err;
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	assert(strncmp(c->name, "tcp_", 4) == 0);
	err = tcpinfo_set_cc(fd, c->name + 4);
	close(fd);
	return err;
}

/* -EBUSY, -EAGAIN: something uses it. */
static int module_unload(const char *root, const struct change *c)
{
	char path[HOST_PATH_MAX];

	module_path(c, path);
	if (root[0])
		return hostfs_remove(root, path);
	return syscall(SYS_delete_module, c->name, O_NONBLOCK) < 0 ? -errno : 0;
}

static int write_sysctl(const char *root, const struct change *c, const char *value)
{
	char path[HOST_PATH_MAX];

	return path_of(c, path) ? hostfs_write(root, path, value) : -EINVAL;
}

int change_do(const char *root, const struct change *c)
{
	struct link l;
	int err;

	switch (c->kind) {
	case CHANGE_SYSCTL: return write_sysctl(root, c, c->after);
	case CHANGE_MODULE: return module_load(root, c);
	case CHANGE_QDISC:
		err = find_link(root, c->name, &l);
		return err == 0 ? link_set_qdisc(root, &l, c->after) : err;
	case CHANGE_KINDS: break;
	}
	unreachable("a kind of change");
}

/*
 * The kernel gives an interface what net.core.default_qdisc says, so that says for a moment what
 * the interface had: it came up when the default was another, maybe.
 */
static int undo_qdisc(const char *root, const struct change *c)
{
	char before[HOST_VALUE_MAX];
	struct link l;
	int err = find_link(root, c->name, &l), again;

	if (err == 0)
		err = hostfs_read(root, default_qdisc, before);
	if (err == 0)
		err = hostfs_write(root, default_qdisc, c->before);
	if (err < 0)
		return err;
	err = link_reset_qdisc(root, &l);
	again = hostfs_write(root, default_qdisc, before);
	return err < 0 ? err : again;
}

int change_undo(const char *root, const struct change *c)
{
	switch (c->kind) {
	case CHANGE_SYSCTL: return write_sysctl(root, c, c->before);
	case CHANGE_MODULE: return module_unload(root, c);
	case CHANGE_QDISC: return undo_qdisc(root, c);
	case CHANGE_KINDS: break;
	}
	unreachable("a kind of change");
}

/* The record. */

bool change_is_ours(const struct change *c)
{
	const struct setting *s;
	char name[80];

	switch (c->kind) {
	case CHANGE_SYSCTL: s = setting_find(c->name); return s && s->rule != RULE_NONE;
	case CHANGE_MODULE:
		snprintf(name, sizeof(name), "module %s", c->name);
		return setting_find(name) && strcmp(c->before, not_loaded) == 0;
	case CHANGE_QDISC:
		return c->name[0] && strlen(c->name) < LINK_NAME_MAX && !strchr(c->name, '/') &&
		       c->before[0] && strlen(c->before) < QDISC_NAME_MAX;
	case CHANGE_KINDS: break;
	}
	return false;
}

static bool copy(char *out, size_t room, struct slice from)
{
	if (from.len >= room || memchr(from.ptr ? from.ptr : "", '\0', from.len))
		return false;
	snprintf(out, room, "%.*s", SLICE_FMT(from));
	return true;
}

static bool parse_line(struct slice line, struct change *c)
{
	struct slice kind = slice_cut(&line, '\t'), name = slice_cut(&line, '\t');
	struct slice before = slice_cut(&line, '\t');

	for (c->kind = 0; c->kind < CHANGE_KINDS; c->kind++)
		if (slice_eq(kind, slice_of(change_kind_names[c->kind])))
			return copy(c->name, sizeof(c->name), name) &&
			       copy(c->before, sizeof(c->before), before) &&
			       copy(c->after, sizeof(c->after), line) && change_is_ours(c);
	return false;
}

unsigned changes_parse(struct slice text, struct changes *out)
{
	unsigned n = 0;

	out->count = 0;
	while (text.len) {
		struct slice line = slice_cut(&text, '\n');
		struct change *c = &out->v[out->count];

		n++;
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		if (out->count == CHANGES_MAX || !parse_line(line, c) ||
		    changes_find(out, c->kind, c->name))
			return n;
		out->count++;
	}
	return 0;
}

char *changes_format(const struct changes *all)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fputs("# What \"sluice-tune undo\" restores: kind, name, value before, value after.\n", f);
	for (unsigned i = 0; i < all->count; i++) {
		const struct change *c = &all->v[i];

		fprintf(f, "%s\t%s\t%s\t%s\n", change_kind_names[c->kind], c->name, c->before,
			c->after);
	}
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* A record is followed with root's rights: whoever could write it could set our sysctls. */
static int is_trusted(const char *root)
{
	char full[HOST_PATH_MAX];
	struct stat st;

	if (!hostfs_path(full, root, changes_path))
		return -ENAMETOOLONG;
	if (lstat(full, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_mode & (S_IWGRP | S_IWOTH))
		return -EPERM;
	return st.st_uid == 0 || st.st_uid == geteuid() ? 0 : -EPERM;
}

int changes_load(const char *root, struct changes *out, unsigned *line)
{
	int err = is_trusted(root);
	char *text;

	out->count = 0;
	*line = 0;
	if (err < 0)
		return err == -ENOENT ? 0 : err;
	text = hostfs_slurp(root, changes_path);
	if (!text)
		return -EIO;
	*line = changes_parse(slice_of(text), out);
	free(text);
	return *line ? -EINVAL : 0;
}

int changes_save(const char *root, const struct changes *all)
{
	char *text;
	int err;

	if (all->count == 0)
		return hostfs_remove(root, changes_path);
	text = changes_format(all);
	if (!text)
		return -ENOMEM;
	err = hostfs_replace(root, changes_path, text);
	free(text);
	return err;
}
