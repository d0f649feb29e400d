/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"

static const char *const folders[] = {
	"blobs",
	"blobs/sha256",
	"blobs/sha512",
	"manifests",
	"manifests/sha256",
	"manifests/sha512",
	"private",
	"partial",
	"quarantine",
	"tags",
	"tmp",
};

static cold int store_say(char *err, size_t err_len, int code, const char *path, const char *what,
			  const char *fix)
{
	snprintf(err, err_len, "%s: %s: %s; %s", path, what, err_text(code), fix);
	return code;
}

/* What to do about <code>, for the operator. */
static cold const char *store_fix(int code)
{
	switch (code) {
	case -EACCES:
	case -EPERM: return "give the folder and what is in it to the user that the server runs as";
	case -ENOTDIR:
		return "the cache's path must be a folder: move the file away or take another path";
	case -ENOENT: return "make the folder above it first";
	case -EROFS: return "the file system is mounted read-only: remount it or take another path";
	case -ENOSPC:
	case -EDQUOT: return "free some space there or take another path";
	default: return "take another path, or look into the kernel's log";
	}
}

/* Also tells a file from a folder where mkdirat() says only EEXIST. */
static int store_make_folder(int dir_fd, const char *path)
{
	struct stat st;

	/* What clients need a permission for is no business of this machine's other users. */
	if (mkdirat(dir_fd, path, strcmp(path, "private") == 0 ? 0700 : 0755) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (fstatat(dir_fd, path, &st, 0) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int store_open_folder(int dir_fd, const char *path)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Not touched for so long: no fill that is just about to take the lock of its new file. */
static bool is_older(int fd, unsigned age_s)
{
	struct stat st;

	return age_s == 0 || (fstat(fd, &st) == 0 && st.st_mtime + age_s < time(NULL));
}

void store_tmp_empty(const struct store *s, unsigned age_s)
{
	DIR *dir = store_list(s, "tmp");
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		int fd;

		if (e->d_name[0] == '.')
			continue;
		fd = openat(s->tmp_fd, e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (is_older(fd, age_s) && flock(fd, LOCK_EX | LOCK_NB) == 0)
			unlinkat(s->tmp_fd, e->d_name, 0);
		close(fd);
	}
	if (dir)
		closedir(dir);
}

/* Permissions, read-only mounts, quotas and full disks all show when a byte is written. */
static int store_try_write(struct store *s, size_t bytes)
{
	static const char zeros[4096];
	char name[STORE_TMP_MAX];
	int fd = store_tmp_new(s, name);
	int err = 0;

	if (fd < 0)
		return fd;
	for (size_t left = bytes; left > 0 && err == 0;) {
		ssize_t n = write(fd, zeros, left < sizeof(zeros) ? left : sizeof(zeros));

		if (n <= 0)
			err = n < 0 ? -errno : -EIO;
		else
			left -= (size_t)n;
	}
	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	close(fd);
	store_tmp_remove(s, name);
	return err;
}

static int store_make_all(struct store *s, char *err, size_t err_len)
{
	char path[512];
	int code;

	for (size_t i = 0; i < countof(folders); i++) {
		code = store_make_folder(s->root_fd, folders[i]);
		snprintf(path, sizeof(path), "%s/%s", s->root, folders[i]);
		if (code < 0)
			return store_say(err, err_len, code, path, "cannot make the folder",
					 store_fix(code));
	}
	s->tmp_fd = store_open_folder(s->root_fd, "tmp");
	if (s->tmp_fd < 0)
		return store_say(err, err_len, s->tmp_fd, path, "cannot open",
				 store_fix(s->tmp_fd));
	store_tmp_empty(s, 0);
	code = store_try_write(s, 1);
	if (code < 0)
		return store_say(err, err_len, code, path, "cannot write a file in it",
				 store_fix(code));
	return 0;
}

int store_init(struct store *s, const struct cache_opts *opts, char *err, size_t err_len)
{
	int code;

	*s = (struct store){
		.root = strdup(opts->path),
		.root_fd = -1,
		.tmp_fd = -1,
		.suffixes = opts->suffixes,
		.suffixes_count = opts->suffixes_count,
	};
	for (unsigned i = 1; i < s->suffixes_count; i++)
		assert(strlen(s->suffixes[i]) <= STORE_SUFFIX_MAX);
	if (!s->root || getrandom(&s->salt, sizeof(s->salt), 0) != sizeof(s->salt))
		return store_say(err, err_len, -ENOMEM, opts->path, "cannot open", store_fix(0));
	code = store_make_folder(AT_FDCWD, s->root);
	if (code < 0)
		return store_say(err, err_len, code, s->root, "cannot make the cache's folder",
				 store_fix(code));
	s->root_fd = store_open_folder(AT_FDCWD, s->root);
	if (s->root_fd < 0)
		return store_say(err, err_len, s->root_fd, s->root,
				 "cannot open the cache's folder", store_fix(s->root_fd));
	return store_make_all(s, err, err_len);
}

int store_look(struct store *s, const struct cache_opts *opts, char *err, size_t err_len)
{
	struct stat st;
	int code;

	*s = (struct store){
		.root = strdup(opts->path),
		.root_fd = store_open_folder(AT_FDCWD, opts->path),
		.tmp_fd = -1,
		.suffixes = opts->suffixes,
		.suffixes_count = opts->suffixes_count,
	};
	code = !s->root ? -ENOMEM : s->root_fd < 0 ? s->root_fd : 0;
	/* To whom the rest belongs, whoever looks: the server must be able to use it. */
	if (code == 0 && fstat(s->root_fd, &st) == 0 &&
	    mkdirat(s->root_fd, "quarantine", 0755) == 0 &&
	    fchownat(s->root_fd, "quarantine", st.st_uid, st.st_gid, 0) < 0)
		code = -errno;
	if (code < 0) {
		(void)store_say(err, err_len, code, opts->path, "cannot open the cache's folder",
				store_fix(code));
		store_fini(s);
	}
	return code;
}

bool store_is_lost(const struct store *s)
{
	struct stat here, ours;

	if (fstat(s->root_fd, &ours) < 0 || stat(s->root, &here) < 0)
		return true;
	return here.st_dev != ours.st_dev || here.st_ino != ours.st_ino;
}

/* Under the number that others use at this moment: they meet the old folder or the new one. */
static int store_replace_folder(int dir_fd, const char *path, int fd)
{
	int new_fd = store_open_folder(dir_fd, path);
	int err;

	if (new_fd < 0)
		return new_fd;
	err = dup3(new_fd, fd, O_CLOEXEC) < 0 ? -errno : 0;
	close(new_fd);
	return err;
}

int store_revive(struct store *s, size_t try_bytes)
{
	int err = 0;

	if (store_is_lost(s)) {
		err = store_make_folder(AT_FDCWD, s->root);
		if (err == 0)
			err = store_replace_folder(AT_FDCWD, s->root, s->root_fd);
	}
	for (size_t i = 0; i < countof(folders) && err == 0; i++)
		err = store_make_folder(s->root_fd, folders[i]);
	if (err == 0)
		err = store_replace_folder(s->root_fd, "tmp", s->tmp_fd);
	return err == 0 ? store_try_write(s, try_bytes) : err;
}

void store_fini(struct store *s)
{
	if (!s->root)
		return;
	if (s->tmp_fd >= 0)
		close(s->tmp_fd);
	if (s->root_fd >= 0)
		close(s->root_fd);
	free(s->root);
	*s = (struct store){ 0 };
}

void store_kind_folder(uint32_t kind, char out[STORE_KIND_MAX])
{
	const char *what = cache_kind_is_blob(kind) ? "blobs" : "manifests";
	uint32_t owner = cache_kind_owner(kind);

	if (owner)
		snprintf(out, STORE_KIND_MAX, "private/%08x/%s", owner, what);
	else
		snprintf(out, STORE_KIND_MAX, "%s", what);
}

bool store_owner_parse(const char *name, uint32_t *owner)
{
	char again[9];

	*owner = (uint32_t)strtoul(name, NULL, 16);
	snprintf(again, sizeof(again), "%08x", *owner);
	return strcmp(name, again) == 0 && *owner != 0 && cache_kind_owner(*owner) == *owner;
}

void store_path(const struct store *s, uint32_t kind, const struct digest *d, uint8_t type,
		char out[STORE_PATH_MAX])
{
	char hex[DIGEST_HEX_MAX], folder[STORE_KIND_MAX];
	int n;

	assert(cache_kind_is_blob(kind) == (type == 0));
	assert(type == 0 || type < s->suffixes_count);
	digest_format_hex(d, hex);
	store_kind_folder(kind, folder);
	n = snprintf(out, STORE_PATH_MAX, "%s/%s/%.2s/%s%s%s", folder,
		     digest_alg_name((enum digest_alg)d->alg), hex, hex, type ? "." : "",
		     type ? s->suffixes[type] : "");
	assert(n > 0 && n < STORE_PATH_MAX);
}

uint8_t store_suffix_type(const struct store *s, struct slice suffix)
{
	for (unsigned i = 1; i < s->suffixes_count; i++)
		if (slice_eq(suffix, slice_of(s->suffixes[i])))
			return (uint8_t)i;
	return 0;
}

bool store_name_parse(const struct store *s, uint32_t kind, enum digest_alg alg,
		      const char *two_hex, const char *name, struct digest *d, uint8_t *type)
{
	char text[DIGEST_TEXT_MAX];
	struct slice suffix = slice_of(name);
	struct slice hex = slice_cut(&suffix, '.');
	int n;

	if (hex.len != 2 * digest_bytes(alg) || strncmp(hex.ptr, two_hex, 2) != 0)
		return false;
	n = snprintf(text, sizeof(text), "%s:%.*s", digest_alg_name(alg), SLICE_FMT(hex));
	if (!digest_parse(slice_first(slice_of(text), (size_t)n), d))
		return false;
	*type = 0;
	if (cache_kind_is_blob(kind))
		return name[hex.len] == '\0';
	*type = store_suffix_type(s, suffix);
	return *type != 0;
}

bool store_is_file(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !store_is_good(&st))
		return false;
	*size = (uint64_t)st.st_size;
	return true;
}

int store_open(const struct store *s, const char *path, uint64_t *size)
{
	int fd = openat(s->root_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (store_is_file(fd, size))
		return fd;
	close(fd);
	return -EUCLEAN;
}

DIR *store_list(const struct store *s, const char *path)
{
	int fd = store_open_folder(s->root_fd, path);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

/* Between our open and our lock a starting process may take the file for an orphan. */
bool store_lock(int fd)
{
	struct stat st;

	return flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0;
}

int store_tmp_new(struct store *s, char name[STORE_TMP_MAX])
{
	for (unsigned tries = 0; tries < 8; tries++) {
		uint32_t n = __atomic_fetch_add(&s->tmp_count, 1, __ATOMIC_RELAXED);
		int fd;

		snprintf(name, STORE_TMP_MAX, "%x-%08x-%x", (unsigned)getpid(), s->salt, n);
		fd = openat(s->tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0644);
		if (fd < 0 && errno != EEXIST)
			return -errno;
		if (fd >= 0 && store_lock(fd))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -EEXIST;
}

void store_tmp_remove(const struct store *s, const char *name)
{
	unlinkat(s->tmp_fd, name, 0);
}

/* A rename is on the disk when its folder is. */
static int store_sync_folder_of(const struct store *s, const char *path)
{
	char folder[STORE_PATH_MAX];
	int fd;
	int err;

	snprintf(folder, sizeof(folder), "%s", path);
	*strrchr(folder, '/') = '\0';
	fd = store_open_folder(s->root_fd, folder);
	if (fd < 0)
		return fd;
	err = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return err;
}

int store_publish(const struct store *s, int fd, const char *from, const char *path)
{
	char folder[STORE_PATH_MAX];

	int err = 0;

	if (fsync(fd) < 0)
		return -errno;
	snprintf(folder, sizeof(folder), "%s", path);
	*strrchr(folder, '/') = '\0';
	if (mkdirat(s->root_fd, folder, 0755) == 0)
		err = store_sync_folder_of(s, folder);
	else if (errno == ENOENT) /* the first of its owner */
		err = store_make_folders(s, path);
	else if (errno != EEXIST)
		err = -errno;
	if (err < 0)
		return err;
	if (renameat(s->root_fd, from, s->root_fd, path) < 0)
		return -errno;
	return store_sync_folder_of(s, path);
}

int store_remove(const struct store *s, const char *path)
{
	return unlinkat(s->root_fd, path, 0) < 0 ? -errno : 0;
}

int store_touch(const struct store *s, const char *path, uint32_t used_s)
{
	const struct timespec times[2] = { { .tv_sec = used_s }, { .tv_nsec = UTIME_OMIT } };

	return utimensat(s->root_fd, path, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int store_make_folders(const struct store *s, const char *path)
{
	char folder[1024];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t len = (size_t)(slash - path);

		assert(len < sizeof(folder));
		memcpy(folder, path, len);
		folder[len] = '\0';
		if (mkdirat(s->root_fd, folder, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

int store_write_small(struct store *s, const char *path, const char *text, size_t len)
{
	char name[STORE_TMP_MAX];
	int fd = store_tmp_new(s, name);
	int err = 0;

	if (fd < 0)
		return fd;
	if (write(fd, text, len) != (ssize_t)len)
		err = -EIO;
	else if (renameat(s->tmp_fd, name, s->root_fd, path) < 0)
		err = -errno;
	if (err < 0)
		store_tmp_remove(s, name);
	close(fd);
	return err;
}

bool store_is_damage(int err)
{
	return err == -EIO || err == -EUCLEAN || err == -EBADMSG || err == -ENODATA;
}

uint64_t store_free_bytes(const struct store *s)
{
	struct statvfs v;

	if (fstatvfs(s->root_fd, &v) < 0)
		return UINT64_MAX;
	return (uint64_t)v.f_bavail * v.f_frsize;
}
