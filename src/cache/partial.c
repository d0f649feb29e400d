/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/partial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"

/* Files looked at in one cleaning; more are left for the next. */
enum { JOURNAL_MAX = 128, CLEAN_MAX = 4096 };

static const char journal_form[] = "sluice partial 1\nsize %llu\nbytes %llu\n";
static const char journal_suffix[] = ".journal";

void partial_name(const struct digest *d, char out[PARTIAL_NAME_MAX])
{
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(d, hex);
	snprintf(out, PARTIAL_NAME_MAX, "%s-%s", digest_alg_name((enum digest_alg)d->alg), hex);
}

void partial_path(const char *name, char out[PARTIAL_PATH_MAX])
{
	snprintf(out, PARTIAL_PATH_MAX, "partial/%s", name);
}

static void journal_path(const char *name, char out[PARTIAL_PATH_MAX + 16])
{
	snprintf(out, PARTIAL_PATH_MAX + 16, "partial/%s%s", name, journal_suffix);
}

int partial_new(const struct store *s, const char *name)
{
	char path[PARTIAL_PATH_MAX];
	int fd;

	partial_path(name, path);
	fd = openat(s->root_fd, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (store_lock(fd))
		return fd;
	close(fd);
	return -EEXIST;
}

/* All of it must be as it was written: a journal is replaced by rename, never changed. */
static bool journal_read(const struct store *s, const char *name, uint64_t *size, uint64_t *bytes)
{
	char path[PARTIAL_PATH_MAX + 16], text[JOURNAL_MAX], again[JOURNAL_MAX];
	unsigned long long a, b;
	ssize_t n;
	int fd;

	journal_path(name, path);
	fd = openat(s->root_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	if (sscanf(text, journal_form, &a, &b) != 2)
		return false;
	snprintf(again, sizeof(again), journal_form, a, b);
	*size = a;
	*bytes = b;
	return strcmp(text, again) == 0 && b > 0 && b < a;
}

int partial_hash(int fd, uint64_t from, uint64_t upto, char *mem, struct digest_ctx *hash)
{
	while (from < upto) {
		size_t want = upto - from < FILL_CHUNK ? (size_t)(upto - from) : FILL_CHUNK;
		ssize_t n = pread(fd, mem, want, (off_t)from);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		digest_update(hash, mem, (size_t)n);
		from += (uint64_t)n;
	}
	return 0;
}

static bool hash_file(int fd, uint64_t bytes, struct digest_ctx *hash)
{
	char *mem = malloc(FILL_CHUNK);
	bool whole = mem && partial_hash(fd, 0, bytes, mem, hash) == 0;

	free(mem);
	return whole;
}

bool partial_resume(const struct store *s, const char *name, int fd, struct digest_ctx *hash,
		    uint64_t *size, uint64_t *bytes)
{
	struct stat st;

	if (!store_lock(fd))
		return false;
	/* What lies beyond the journal's word may be anything. */
	if (journal_read(s, name, size, bytes) && fstat(fd, &st) == 0 &&
	    (uint64_t)st.st_size >= *bytes && hash_file(fd, *bytes, hash) &&
	    ftruncate(fd, (off_t)*bytes) == 0)
		return true;
	partial_remove(s, name);
	return false;
}

int partial_save(struct store *s, const char *name, int fd, uint64_t size, uint64_t bytes)
{
	char path[PARTIAL_PATH_MAX + 16], text[JOURNAL_MAX];
	int n;

	if (bytes == 0 || bytes >= size)
		return 0;
	if (fdatasync(fd) < 0)
		return -errno;
	journal_path(name, path);
	n = snprintf(text, sizeof(text), journal_form, (unsigned long long)size,
		     (unsigned long long)bytes);
	return store_write_small(s, path, text, (size_t)n);
}

void partial_forget(const struct store *s, const char *name)
{
	char path[PARTIAL_PATH_MAX + 16];

	journal_path(name, path);
	unlinkat(s->root_fd, path, 0);
}

void partial_remove(const struct store *s, const char *name)
{
	char path[PARTIAL_PATH_MAX];

	partial_forget(s, name);
	partial_path(name, path);
	unlinkat(s->root_fd, path, 0);
}

/* ---- cleaning ---- */

struct found {
	char name[PARTIAL_NAME_MAX];
	time_t used;
	uint64_t bytes;
};

static int by_use(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->used < y->used ? 1 : x->used > y->used ? -1 : 0;
}

/* Nobody fills it: the name alone is not enough, since its lock may be taken at any moment. */
static void remove_unlocked(const struct store *s, const char *name)
{
	char path[PARTIAL_PATH_MAX];
	int fd;

	partial_path(name, path);
	fd = openat(s->root_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		log_info("cache partial=%s removed", name);
		partial_remove(s, name);
	}
	close(fd);
}

static bool is_journal(const char *name)
{
	size_t len = strlen(name), tail = sizeof(journal_suffix) - 1;

	return len > tail && strcmp(name + len - tail, journal_suffix) == 0;
}

/* A journal whose file has gone. */
static void clean_journal(const struct store *s, const char *name)
{
	char plain[PARTIAL_NAME_MAX], path[PARTIAL_PATH_MAX];
	struct stat st;

	snprintf(plain, sizeof(plain), "%.*s", (int)(strlen(name) - (sizeof(journal_suffix) - 1)),
		 name);
	partial_path(plain, path);
	if (fstatat(s->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		partial_forget(s, plain);
}

static bool look_at(const struct store *s, const char *name, struct found *f)
{
	char path[PARTIAL_PATH_MAX];
	uint64_t size, bytes;
	struct stat st;

	partial_path(name, path);
	if (fstatat(s->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (!S_ISREG(st.st_mode) || st.st_mtime + PARTIAL_AGE_S < time(NULL) ||
	    !journal_read(s, name, &size, &bytes)) {
		remove_unlocked(s, name);
		return false;
	}
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->used = st.st_mtime;
	f->bytes = (uint64_t)st.st_size;
	return true;
}

void partial_clean(const struct store *s, uint64_t max)
{
	struct found *all = calloc(CLEAN_MAX, sizeof(*all));
	DIR *dir = store_list(s, "partial");
	struct dirent *e;
	unsigned n = 0;
	uint64_t sum = 0;

	while (all && dir && n < CLEAN_MAX && (e = readdir(dir))) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= PARTIAL_NAME_MAX + 8)
			continue;
		if (is_journal(e->d_name))
			clean_journal(s, e->d_name);
		else if (strlen(e->d_name) < PARTIAL_NAME_MAX)
			n += look_at(s, e->d_name, &all[n]);
	}
	if (dir)
		closedir(dir);
	if (n > 0)
		qsort(all, n, sizeof(*all), by_use);
	for (unsigned i = 0; i < n; i++) {
		sum += all[i].bytes;
		if (sum > max)
			remove_unlocked(s, all[i].name);
	}
	free(all);
}
