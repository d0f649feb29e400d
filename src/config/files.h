/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the configuration names outside itself: files, folders, a user. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/assert.h"

/* NULL: as it should be; else what is wrong, in static words. */
const char *files_check_readable(const char *path);
const char *files_check_folder(const char *path);
/* A folder, or nothing yet. */
const char *files_check_new_folder(const char *path);
/* "stdout", "off", or a file in a folder that exists. */
const char *files_check_log(const char *path);
const char *files_check_user(const char *user);

/*
 * Reads a whole regular file of at most <max> bytes.  Returns its length, *out is malloc'ed; or
 * -errno: -EISDIR and the like for what is no file, -EFBIG.
 */
ssize_t files_read(const char *path, size_t max, char **out) must_check;

/*
 * Reads the one line "user:password" of a credentials file, which root, <owner> (a name, or NULL)
 * or we ourselves must own and nobody else may read.  NULL: *user and *password are malloc'ed.
 */
const char *files_read_credentials(const char *path, const char *owner, char **user,
				   char **password) must_check;
/* NULL: a file that root, <owner> or we ourselves own and nobody else may write or read. */
const char *files_check_secret(const char *path, const char *owner);
bool files_others_may_read(const char *path);
