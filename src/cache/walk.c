/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/walk.h"

#include <fcntl.h>
#include <stdio.h>

enum { WALK_ROOTS = 4 }; /* two kinds, two algorithms */

void walk_begin(struct walk *w, const struct store *s)
{
	*w = (struct walk){ .store = s, .owners = store_list(s, "private") };
}

static void walk_close(DIR **dir)
{
	if (*dir)
		closedir(*dir);
	*dir = NULL;
}

void walk_end(struct walk *w)
{
	walk_close(&w->inner);
	walk_close(&w->outer);
	walk_close(&w->owners);
}

static void walk_next_root(struct walk *w)
{
	char folder[STORE_KIND_MAX], path[STORE_PATH_MAX];

	w->kind = w->owner | (w->next & 1);
	w->alg = w->next & 2 ? DIGEST_SHA512 : DIGEST_SHA256;
	w->next++;
	store_kind_folder(w->kind, folder);
	snprintf(path, sizeof(path), "%s/%s", folder, digest_alg_name(w->alg));
	w->outer = store_list(w->store, path);
}

/* Public things first. */
static bool walk_next_owner(struct walk *w)
{
	struct dirent *e;

	while (w->owners && (e = readdir(w->owners))) {
		if (e->d_name[0] == '.')
			continue;
		if (store_owner_parse(e->d_name, &w->owner)) {
			w->next = 0;
			return true;
		}
		w->strange++;
	}
	return false;
}

/* A folder of two hex digits, or nothing. */
static void walk_enter(struct walk *w, const char *name)
{
	char folder[STORE_KIND_MAX], path[STORE_PATH_MAX];

	if (name[0] == '.')
		return;
	if (strlen(name) != 2) {
		w->strange++;
		return;
	}
	memcpy(w->two, name, 3);
	store_kind_folder(w->kind, folder);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, digest_alg_name(w->alg), w->two);
	w->inner = store_list(w->store, path);
}

static bool walk_take(struct walk *w, const char *name, struct walk_file *out)
{
	if (name[0] == '.')
		return false;
	if (store_name_parse(w->store, w->kind, w->alg, w->two, name, &out->digest, &out->type) &&
	    fstatat(dirfd(w->inner), name, &out->st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(out->st.st_mode)) {
		out->kind = w->kind;
		return true;
	}
	w->strange++;
	return false;
}

bool walk_next(struct walk *w, struct walk_file *out)
{
	struct dirent *e;

	for (;;) {
		while (w->inner && (e = readdir(w->inner)))
			if (walk_take(w, e->d_name, out))
				return true;
		walk_close(&w->inner);
		if (w->outer && (e = readdir(w->outer))) {
			walk_enter(w, e->d_name);
			continue;
		}
		walk_close(&w->outer);
		if (w->next == WALK_ROOTS && !walk_next_owner(w))
			return false;
		walk_next_root(w);
	}
}
