/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "cache/cache_private.h"
#include "cache/walk.h"

/* O_NOATIME is for the owner of the file and for root; times of use must not be changed by this. */
static int verify_open(const struct store *s, const char *path)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(s->root_fd, path, flags | O_NOATIME);

	if (fd < 0 && errno == EPERM)
		fd = openat(s->root_fd, path, flags);
	return fd < 0 ? -errno : fd;
}

static enum verify_result verify_cannot(int err)
{
	if (err == -ENOENT)
		return VERIFY_GONE;
	return store_is_damage(err) ? VERIFY_DAMAGED : VERIFY_UNKNOWN;
}

enum verify_result verify_begin(struct verify *v, const struct store *s, const char *path,
				const struct digest *d)
{
	*v = (struct verify){ .fd = verify_open(s, path), .want = *d };
	if (v->fd < 0)
		return verify_cannot(v->fd);
	digest_begin(&v->hash, (enum digest_alg)d->alg);
	return VERIFY_MORE;
}

void verify_end(struct verify *v)
{
	struct digest unused;

	digest_end(&v->hash, &unused);
	close(v->fd);
	v->fd = -1;
}

/* What is in memory already is in use: it is left there. */
static ssize_t verify_read(struct verify *v, char *mem)
{
	struct iovec iov = { mem, VERIFY_CHUNK };
	ssize_t n = preadv2(v->fd, &iov, 1, (off_t)v->at, RWF_NOWAIT);

	if (n == VERIFY_CHUNK || n == 0)
		return n;
	n = pread(v->fd, mem, VERIFY_CHUNK, (off_t)v->at);
	if (n > 0)
		posix_fadvise(v->fd, (off_t)v->at, n, POSIX_FADV_DONTNEED);
	return n;
}

static enum verify_result verify_whole(struct verify *v)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
	struct digest found;
	bool right;

	digest_end(&v->hash, &found);
	right = digest_eq(&found, &v->want);
	/* If that cannot be written, it is read again the next time: nothing lost. */
	if (right && futimens(v->fd, times) < 0)
		right = true;
	close(v->fd);
	v->fd = -1;
	return right ? VERIFY_GOOD : VERIFY_DAMAGED;
}

enum verify_result verify_step(struct verify *v, char *mem)
{
	ssize_t n = verify_read(v, mem);
	int err = n < 0 ? -errno : 0;

	if (n > 0) {
		digest_update(&v->hash, mem, (size_t)n);
		v->at += (uint64_t)n;
		return VERIFY_MORE;
	}
	if (n == 0)
		return verify_whole(v);
	verify_end(v);
	return verify_cannot(err);
}

static enum verify_result verify_file(const struct store *s, const char *path,
				      const struct digest *d, char *mem, uint64_t *bytes)
{
	struct verify v;
	enum verify_result r = verify_begin(&v, s, path, d);

	while (r == VERIFY_MORE)
		r = verify_step(&v, mem);
	*bytes = v.at;
	return r;
}

int cache_verify(const struct cache_opts *opts,
		 void (*seen)(void *arg, const struct cache_verified *f), void *arg, char *err,
		 size_t err_len)
{
	char *mem = malloc(VERIFY_CHUNK);
	char path[STORE_PATH_MAX];
	struct store s;
	struct walk w;
	struct walk_file f;
	int code = mem ? store_look(&s, opts, err, err_len) : -ENOMEM;

	if (code < 0) {
		free(mem);
		return code;
	}
	walk_begin(&w, &s);
	while (walk_next(&w, &f)) {
		struct cache_verified one = { .path = path };

		store_path(&s, f.kind, &f.digest, f.type, path);
		one.result = verify_file(&s, path, &f.digest, mem, &one.bytes);
		if (one.result == VERIFY_DAMAGED)
			one.err = quarantine_file(&s, path);
		seen(arg, &one);
	}
	walk_end(&w);
	store_fini(&s);
	free(mem);
	return 0;
}
