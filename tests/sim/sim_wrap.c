/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the linker puts in place of the C library's calls (-Wl,--wrap): the clock, and faults. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_openat(int fd, const char *path, int flags, ...);
int __real_renameat(int from, const char *a, int to, const char *b);
int __real_unlinkat(int fd, const char *path, int flags);
int __real_mkdirat(int fd, const char *path, mode_t mode);
ssize_t __real_preadv2(int fd, const struct iovec *v, int n, off_t at, int flags);
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_openat(int fd, const char *path, int flags, ...);
int __wrap_renameat(int from, const char *a, int to, const char *b);
int __wrap_unlinkat(int fd, const char *path, int flags);
int __wrap_mkdirat(int fd, const char *path, mode_t mode);
ssize_t __wrap_preadv2(int fd, const struct iovec *v, int n, off_t at, int flags);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	if (sim.clock_ms == 0 || (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE))
		return __real_clock_gettime(id, ts);
	ts->tv_sec = (time_t)(sim.clock_ms / 1000);
	ts->tv_nsec = (long)(sim.clock_ms % 1000) * 1000000;
	return 0;
}

static int fault(const char *what, int err)
{
	if (!sim_hit(SIM_IO, what))
		return 0;
	errno = err;
	return -1;
}

int __wrap_fsync(int fd)
{
	return fault("fsync", EIO) ? -1 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	return fault("fdatasync", EIO) ? -1 : __real_fdatasync(fd);
}

int __wrap_openat(int fd, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fault("openat", EMFILE) ? -1 : __real_openat(fd, path, flags, mode);
}

int __wrap_renameat(int from, const char *a, int to, const char *b)
{
	return fault("renameat", EIO) ? -1 : __real_renameat(from, a, to, b);
}

int __wrap_unlinkat(int fd, const char *path, int flags)
{
	return fault("unlinkat", EIO) ? -1 : __real_unlinkat(fd, path, flags);
}

int __wrap_mkdirat(int fd, const char *path, mode_t mode)
{
	return fault("mkdirat", ENOSPC) ? -1 : __real_mkdirat(fd, path, mode);
}

/*
 * Of what is in memory.  That is not all, and what a disk that is stuck has not in memory is asked
 * for in vain (once, since what is told of it is told before).  RWF_NOWAIT is played here, because
 * a file system in memory knows it not.
 */
ssize_t __wrap_preadv2(int fd, const struct iovec *v, int n, off_t at, int flags)
{
	bool was_stuck = sim.stuck_ms != 0;
	bool stuck = sim_disk_is_stuck("preadv2");

	if ((stuck && !was_stuck) || (!stuck && sim_random(8) == 0)) {
		errno = EAGAIN;
		return -1;
	}
	return __real_preadv2(fd, v, n, at, flags & ~RWF_NOWAIT);
}

void *__wrap_malloc(size_t n)
{
	return sim_hit(SIM_MEMORY, "malloc") ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t each)
{
	return sim_hit(SIM_MEMORY, "calloc") ? NULL : __real_calloc(n, each);
}

void *__wrap_realloc(void *p, size_t n)
{
	return sim_hit(SIM_MEMORY, "realloc") ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return sim_hit(SIM_MEMORY, "aligned_alloc") ? NULL : __real_aligned_alloc(align, n);
}
