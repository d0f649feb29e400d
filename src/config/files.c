/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/files.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/slice.h"

enum { CREDENTIALS_MAX = 16 * 1024 }; /* a password may be a token of some KB */

/* A regular file, opened for reading; or -errno.  O_NONBLOCK: a FIFO must not make us wait. */
static int open_regular(const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
}

static const char *open_error(int err)
{
	return err == -EINVAL ? "it is not a regular file" : err_text(err);
}

/* The whole of fd, whose length may have changed since it was opened. */
static ssize_t read_all(int fd, char *mem, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, mem + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static ssize_t read_open(int fd, const struct stat *st, size_t max, char **out)
{
	size_t len = (size_t)st->st_size;
	char *mem;
	ssize_t n;

	if (len > max)
		return -EFBIG;
	mem = malloc(len + 1);
	if (!mem)
		return -ENOMEM;
	n = read_all(fd, mem, len);
	if (n < 0) {
		free(mem);
		return n;
	}
	mem[n] = '\0';
	*out = mem;
	return n;
}

ssize_t files_read(const char *path, size_t max, char **out)
{
	struct stat st;
	int fd = open_regular(path, &st);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read_open(fd, &st, max, out);
	close(fd);
	return n;
}

const char *files_check_readable(const char *path)
{
	struct stat st;
	int fd = open_regular(path, &st);

	if (fd < 0)
		return open_error(fd);
	close(fd);
	return st.st_size ? NULL : "the file is empty";
}

const char *files_check_new_folder(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno == ENOENT ? NULL : err_text(-errno);
	return S_ISDIR(st.st_mode) ? NULL : err_text(-ENOTDIR);
}

const char *files_check_folder(const char *path)
{
	if (access(path, R_OK | X_OK) < 0)
		return err_text(-errno);
	return files_check_new_folder(path);
}

const char *files_check_log(const char *path)
{
	struct stat st;
	const char *slash = strrchr(path, '/');
	char *folder;
	int err = 0;

	if (!slash)
		return NULL; /* stdout, off */
	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? err_text(-EISDIR) : NULL;
	folder = strndup(path, (size_t)(slash - path) + 1);
	if (!folder || stat(folder, &st) < 0)
		err = errno;
	free(folder);
	return err ? "the folder for it cannot be reached; make it first" : NULL;
}

const char *files_check_user(const char *user)
{
	return getpwnam(user) ? NULL : "there is no such user; adduser --system makes one";
}

static const char *credentials_split(struct slice text, char **user, char **password)
{
	struct slice line, name;

	if (slice_ends(text, SLICE("\n")))
		text.len--;
	if (slice_ends(text, SLICE("\r")))
		text.len--;
	line = text;
	for (size_t i = 0; i < line.len; i++)
		if ((unsigned char)line.ptr[i] < ' ' || line.ptr[i] == 0x7f)
			return "must be one line user:password without control characters";
	if (slice_find(line, ':') == line.len)
		return "must be one line user:password; there is no ':'";
	name = slice_cut(&line, ':');
	if (name.len == 0 || line.len == 0)
		return "must be one line user:password; one of them is empty";
	*user = strndup(name.ptr, name.len);
	*password = strndup(line.ptr, line.len);
	return *user && *password ? NULL : err_text(-ENOMEM);
}

static bool is_owner_ok(uid_t uid, const char *owner)
{
	struct passwd *pw = owner ? getpwnam(owner) : NULL;

	return uid == 0 || uid == geteuid() || (pw && uid == pw->pw_uid);
}

static const char *judge_secret(const struct stat *st, const char *owner)
{
	if (st->st_mode & 077)
		return "others may read it: chmod 600";
	return is_owner_ok(st->st_uid, owner)
		       ? NULL
		       : "belongs to somebody else: chown it to root or to the user of [server]";
}

const char *files_check_secret(const char *path, const char *owner)
{
	struct stat st;
	int fd = open_regular(path, &st);

	if (fd < 0)
		return open_error(fd);
	close(fd);
	return judge_secret(&st, owner);
}

bool files_others_may_read(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 004);
}

const char *files_read_credentials(const char *path, const char *owner, char **user,
				   char **password)
{
	struct stat st;
	int fd = open_regular(path, &st);
	const char *why;
	char *text = NULL;
	ssize_t n;

	if (fd < 0)
		return open_error(fd);
	why = judge_secret(&st, owner);
	n = why ? 0 : read_open(fd, &st, CREDENTIALS_MAX, &text);
	close(fd);
	if (n < 0)
		return err_text((int)n);
	if (!why)
		why = credentials_split((struct slice){ text, (size_t)n }, user, password);
	if (text)
		explicit_bzero(text, (size_t)n);
	free(text);
	return why;
}
