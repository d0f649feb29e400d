/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The cache's folder: which file a blob is, and every file system call but those of a fill's data.
 * Knows no index.  Private to cache/.
 *
 * All paths are relative to the root, and made of a digest and a suffix from the table alone, so
 * nothing from outside can leave the root.
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "cache/cache.h"

enum {
	STORE_SUFFIX_MAX = 32,
	STORE_KIND_MAX = 27, /* "private/01234567/manifests" */
	/* that + "/sha512/ab/" + 128 + "." + suffix + NUL */
	STORE_PATH_MAX = STORE_KIND_MAX + 11 + 128 + 1 + STORE_SUFFIX_MAX + 1,
	STORE_TMP_MAX = 32,
};

struct store {
	char *root;
	int root_fd;
	int tmp_fd;
	const char *const *suffixes;
	unsigned suffixes_count;
	uint32_t salt;      /* tells two processes on one folder apart, whatever their pids */
	uint32_t tmp_count; /* atomic */
};

/* Makes the folders, removes what dead processes left in tmp/, tries to write.  As cache_open(). */
int store_init(struct store *s, const struct cache_opts *opts, char *err,
	       size_t err_len) must_check;
/* Only opens the folder, and makes quarantine/ in it if that is missing: for looking at files. */
int store_look(struct store *s, const struct cache_opts *opts, char *err,
	       size_t err_len) must_check;
/* Is the root not at its path any more: removed, moved, mounted over? */
bool store_is_lost(const struct store *s) must_check;
/*
 * On a helper: after a fault, makes again what is missing and tries to write that much.  0 or
 * -errno.
 */
int store_revive(struct store *s, size_t try_bytes) must_check;
/* Legal on a zeroed struct. */
void store_fini(struct store *s);

void store_kind_folder(uint32_t kind, char out[STORE_KIND_MAX]);
/* The inverse for one name in private/; false: not a name that store_kind_folder() makes. */
bool store_owner_parse(const char *name, uint32_t *owner) must_check;
void store_path(const struct store *s, uint32_t kind, const struct digest *d, uint8_t type,
		char out[STORE_PATH_MAX]);
/*
 * The inverse for one name in folder/<alg>/<two hex>/; false: not a name that store_path() makes.
 */
bool store_name_parse(const struct store *s, uint32_t kind, enum digest_alg alg,
		      const char *two_hex, const char *name, struct digest *d,
		      uint8_t *type) must_check;
/* The manifest type that has this suffix; 0: none. */
uint8_t store_suffix_type(const struct store *s, struct slice suffix) must_check;

/* fd for reading, or -errno; -EUCLEAN: something is there, but no regular file. */
int store_open(const struct store *s, const char *path, uint64_t *size) must_check;
/*
 * A file without any permission was found damaged: `verify` takes them away before it moves it, so
 * that a server beside it, which may have it open, sees that.
 */
static inline bool store_is_good(const struct stat *st)
{
	return S_ISREG(st->st_mode) && (st->st_mode & S_IRUSR);
}
/* Checks what loop_openat() of a path gave.  False: not a regular file, or a damaged one. */
bool store_is_file(int fd, uint64_t *size) must_check;
/* A folder for reading its names, NULL if it is not there. */
DIR *store_list(const struct store *s, const char *path) must_check;

/*
 * A new file in tmp/, locked (flock) as long as its fd lives: that is how another process, starting
 * on the same folder, tells it from an orphan.  fd or -errno.
 */
/* Takes the lock of a file just opened; false: somebody has it, or has removed the file. */
bool store_lock(int fd) must_check;
int store_tmp_new(struct store *s, char name[STORE_TMP_MAX]) must_check;
void store_tmp_remove(const struct store *s, const char *name);

/* On a helper: these wait for the disk.  0 or -errno. */
/* <from>: "tmp/NAME" or another path below the root. */
int store_publish(const struct store *s, int fd, const char *from, const char *path) must_check;
int store_remove(const struct store *s, const char *path);
/*
 * Removes temporary files whose lock is free: their process is gone.  <age_s>: only if they were
 * not written for so long; 0 at start, when nothing is filled yet.  A killed process may hold its
 * locks for a moment longer than it lives, since io_uring closes files late: so it is done again.
 */
void store_tmp_empty(const struct store *s, unsigned age_s);
/* When the blob was used last is kept as the file's access time. */
int store_touch(const struct store *s, const char *path, uint32_t used_s);
/* Makes the folders above <path>, which must lie under the root. */
int store_make_folders(const struct store *s, const char *path) must_check;
/* Replaces a small file by rename. */
int store_write_small(struct store *s, const char *path, const char *text, size_t len) must_check;
/* Does this say that the bytes of a file are lost or wrong, not that they cannot be had now? */
bool store_is_damage(int err) must_check;
/* What an unprivileged process may still write; UINT64_MAX if the kernel does not tell. */
uint64_t store_free_bytes(const struct store *s);
