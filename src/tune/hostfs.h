/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The files of the host, all below one folder: "" is this machine, a test gives one of its own.
 * Paths begin with '/'.  A value is one line; runs of blanks in it are one space, none is at its
 * ends, so that what is read can be compared with what was written.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/assert.h"

enum {
	HOST_PATH_MAX = 1024,
	HOST_VALUE_MAX = 256, /* of a sysctl; tcp_available_congestion_control is the longest */
	HOST_FILE_MAX = 256 * 1024, /* of a whole file: modules.builtin has 60 KB */
};

/* 0 or -errno: -EFBIG when the line is longer than HOST_VALUE_MAX. */
int hostfs_read(const char *root, const char *path, char out[HOST_VALUE_MAX]) must_check;
/* One write(2), as the kernel wants it. */
int hostfs_write(const char *root, const char *path, const char *value) must_check;
bool hostfs_exists(const char *root, const char *path);
/* Why it could not be written by root: 0, -EROFS, -ENOENT, ...; a lack of rights is no reason. */
int hostfs_writable(const char *root, const char *path) must_check;

/* The whole file, NUL-terminated, to be freed; NULL: there is none, or it is too large. */
char *hostfs_slurp(const char *root, const char *path) must_check;
/* Makes the folder of <path> and puts the file there in one step: temporary file, fsync, rename. */
int hostfs_replace(const char *root, const char *path, const char *text) must_check;
int hostfs_remove(const char *root, const char *path) must_check;

/* False: too long. */
bool hostfs_path(char out[HOST_PATH_MAX], const char *root, const char *path) must_check;
/* The squeezing that hostfs_read() does, in place. */
void hostfs_squeeze(char *text);
