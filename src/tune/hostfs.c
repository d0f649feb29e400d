/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/hostfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool hostfs_path(char out[HOST_PATH_MAX], const char *root, const char *path)
{
	assert(path[0] == '/');
	return snprintf(out, HOST_PATH_MAX, "%s%s", root, path) < HOST_PATH_MAX;
}

static int open_at(const char *root, const char *path, int flags)
{
	char full[HOST_PATH_MAX];
	int fd;

	if (!hostfs_path(full, root, path))
		return -ENAMETOOLONG;
	/* O_NONBLOCK: a made-up host may have a pipe for a file. */
	fd = open(full, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
	return fd < 0 ? -errno : fd;
}

void hostfs_squeeze(char *text)
{
	char *out = text;

	for (const char *p = text; *p; p++) {
		bool blank = *p == ' ' || *p == '\t' || *p == '\n' || *p == '\r';

		if (!blank)
			*out++ = *p;
		else if (out > text && out[-1] != ' ')
			*out++ = ' ';
	}
	if (out > text && out[-1] == ' ')
		out--;
	*out = '\0';
}

/* Up to <room> bytes; how many, or -errno. */
static ssize_t read_all(int fd, char *out, size_t room)
{
	size_t len = 0;

	while (len < room) {
		ssize_t n = read(fd, out + len, room - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

int hostfs_read(const char *root, const char *path, char out[HOST_VALUE_MAX])
{
	int fd = open_at(root, path, O_RDONLY);
	ssize_t n;

	out[0] = '\0';
	if (fd < 0)
		return fd;
	n = read_all(fd, out, HOST_VALUE_MAX);
	close(fd);
	if (n < 0)
		return (int)n;
	if (n == HOST_VALUE_MAX) {
		out[0] = '\0';
		return -EFBIG;
	}
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	hostfs_squeeze(out);
	return 0;
}

int hostfs_write(const char *root, const char *path, const char *value)
{
	char line[HOST_VALUE_MAX + 1];
	int len = snprintf(line, sizeof(line), "%s\n", value);
	int fd, err = 0;

	if (len >= (int)sizeof(line))
		return -EFBIG;
	fd = open_at(root, path, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return fd;
	if (write(fd, line, (size_t)len) != len)
		err = errno ? -errno : -EIO;
	if (close(fd) < 0 && err == 0)
		err = -errno;
	return err;
}

bool hostfs_exists(const char *root, const char *path)
{
	char full[HOST_PATH_MAX];

	return hostfs_path(full, root, path) && access(full, F_OK) == 0;
}

int hostfs_writable(const char *root, const char *path)
{
	char full[HOST_PATH_MAX];

	if (!hostfs_path(full, root, path))
		return -ENAMETOOLONG;
	if (access(full, W_OK) == 0 || errno == EACCES || errno == EPERM)
		return 0;
	return -errno;
}

char *hostfs_slurp(const char *root, const char *path)
{
	int fd = open_at(root, path, O_RDONLY);
	char *text = fd < 0 ? NULL : malloc(HOST_FILE_MAX);
	ssize_t n = text ? read_all(fd, text, HOST_FILE_MAX) : -1;

	if (fd >= 0)
		close(fd);
	if (n < 0 || n == HOST_FILE_MAX) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

static int make_folders(char *path)
{
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		int err;

		*p = '\0';
		err = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
		*p = '/';
		if (err < 0)
			return err;
	}
	return 0;
}

static int write_file(const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd, err = 0;

	/* What is left of a run that was killed; a link is never followed. */
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	while (len && err == 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno != EINTR)
			err = -errno;
		text += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	if (err == 0 && (fchmod(fd, 0644) < 0 || fsync(fd) < 0))
		err = -errno;
	if (close(fd) < 0 && err == 0)
		err = -errno;
	return err;
}

/* A name is on the disk when its folder is. */
static int sync_folder(const char *path)
{
	char folder[HOST_PATH_MAX];
	int fd, err;

	snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
	fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return err;
}

int hostfs_replace(const char *root, const char *path, const char *text)
{
	char full[HOST_PATH_MAX], temp[HOST_PATH_MAX + 8];
	int err;

	if (!hostfs_path(full, root, path))
		return -ENAMETOOLONG;
	snprintf(temp, sizeof(temp), "%s.new", full);
	err = make_folders(full);
	if (err == 0)
		err = write_file(temp, text);
	if (err == 0 && rename(temp, full) < 0)
		err = -errno;
	if (err < 0)
		unlink(temp);
	return err == 0 ? sync_folder(full) : err;
}

int hostfs_remove(const char *root, const char *path)
{
	char full[HOST_PATH_MAX];

	if (!hostfs_path(full, root, path))
		return -ENAMETOOLONG;
	return unlink(full) < 0 && errno != ENOENT ? -errno : 0;
}
