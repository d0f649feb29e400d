/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * tags/<registry>/<repo...>/_tags/<tag>: "<digest> <type's suffix or -> <bytes> <unix time>\n".
 * Not fsync'ed: a record that a crash took is asked for again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/units.h"
#include "cache/cache_private.h"

enum { TAG_LINE_MAX = DIGEST_TEXT_MAX + STORE_SUFFIX_MAX + 48 };

static size_t tag_format(const struct store *s, const struct tag_record *r, char out[TAG_LINE_MAX])
{
	char digest[DIGEST_TEXT_MAX];
	int n;

	assert(r->type == 0 || r->type < s->suffixes_count);
	digest_format(&r->digest, digest);
	n = snprintf(out, TAG_LINE_MAX, "%s %s %llu %lld\n", digest,
		     r->type ? s->suffixes[r->type] : "-", (unsigned long long)r->size,
		     (long long)r->checked_s);
	assert(n > 0 && n < TAG_LINE_MAX);
	return (size_t)n;
}

static bool tag_parse(const struct store *s, struct slice line, struct tag_record *r)
{
	struct slice digest, suffix, size;
	uint64_t checked_s;

	if (!slice_ends(line, SLICE("\n")))
		return false;
	line.len--;
	digest = slice_cut(&line, ' ');
	suffix = slice_cut(&line, ' ');
	size = slice_cut(&line, ' ');
	if (!digest_parse(digest, &r->digest) || !units_parse_uint(size, &r->size) ||
	    !units_parse_uint(line, &checked_s) || checked_s > INT64_MAX)
		return false;
	r->type = store_suffix_type(s, suffix);
	r->checked_s = (int64_t)checked_s;
	return r->type != 0 || slice_eq(suffix, SLICE("-"));
}

static int tag_file_write(struct store *s, const struct tag_change *change)
{
	char line[TAG_LINE_MAX];
	size_t len = tag_format(s, &change->record, line);
	int err = store_write_small(s, change->path, line, len);

	if (err != -ENOENT)
		return err;
	err = store_make_folders(s, change->path);
	return err < 0 ? err : store_write_small(s, change->path, line, len);
}

void tag_files_save(struct cache *c)
{
	struct tag_change change;

	while (tags_next_change(&c->tags, &change)) {
		int err = change.gone ? store_remove(&c->store, change.path)
				      : tag_file_write(&c->store, &change);

		if (err < 0 && !(change.gone && err == -ENOENT))
			cache_fault(c, "cannot keep a tag", change.path, err);
		tags_change_done(&c->tags, &change);
	}
}

struct tag_walk {
	struct cache *cache;
	unsigned *strange;
	bool full;
	char path[TAG_PATH_MAX]; /* "tags/..." of what is being looked at */
	size_t len;
};

static bool tag_walk_is_over(const struct tag_walk *w)
{
	return w->full || __atomic_load_n(&w->cache->closing, __ATOMIC_RELAXED);
}

static bool tag_walk_push(struct tag_walk *w, const char *name)
{
	int n = snprintf(w->path + w->len, sizeof(w->path) - w->len, "/%s", name);

	if (n < 0 || (size_t)n >= sizeof(w->path) - w->len)
		return false;
	w->len += (size_t)n;
	return true;
}

static void tag_walk_file(struct tag_walk *w)
{
	const struct store *s = &w->cache->store;
	struct slice key = { w->path, w->len };
	char line[TAG_LINE_MAX];
	struct tag_record r = { 0 };
	uint64_t size;
	ssize_t n;
	int fd = store_open(s, w->path, &size);

	n = fd < 0 ? -1 : read(fd, line, sizeof(line));
	if (fd >= 0)
		close(fd);
	if (n <= 0 || !tag_parse(s, (struct slice){ line, (size_t)n }, &r)) {
		++*w->strange;
		return;
	}
	if (!tags_add_old(&w->cache->tags, slice_skip(key, strlen("tags/")), &r))
		w->full = true;
}

/* Recursion is bounded by the length of the path: each level takes two bytes of TAG_PATH_MAX. */
static void tag_walk_folder(struct tag_walk *w, bool is_tags)
{
	DIR *dir = store_list(&w->cache->store, w->path);
	size_t len = w->len;
	struct dirent *e;

	while (dir && !tag_walk_is_over(w) && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		if (!tag_walk_push(w, e->d_name))
			++*w->strange;
		else if (is_tags)
			tag_walk_file(w);
		else if (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN)
			tag_walk_folder(w, strcmp(e->d_name, "_tags") == 0);
		else
			++*w->strange;
		w->len = len;
		w->path[len] = '\0';
	}
	if (dir)
		closedir(dir);
}

void tag_files_load(struct cache *c, unsigned *strange)
{
	struct tag_walk w = { .cache = c, .strange = strange, .path = "tags", .len = 4 };

	tag_walk_folder(&w, false);
}
