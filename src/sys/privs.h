/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the process may do: started as root to bind low ports, then somebody with few rights. */
#pragma once

#include <sys/types.h>

#include "base/assert.h"

struct privs_user {
	const char *name; /* borrowed */
	uid_t uid;
	gid_t gid;
};

/* 0 or -ENOENT, -errno. */
int privs_find_user(const char *name, struct privs_user *out) must_check;

/*
 * Becomes that user for good, in all threads (glibc sees to that), and verifies that root cannot be
 * regained.  0 or -errno; -EPERM also when we are neither root nor that user already.  After a
 * failure the process may be half way: it must exit.
 */
int privs_drop(const struct privs_user *user) must_check;

/*
 * Only CAP_NET_BIND_SERVICE outlives privs_drop(), if we had it, so that a reload can listen at new
 * ports below 1024.  privs_none(): this thread has not even that.  privs_pass_on(): the program
 * that is executed next has it; between fork() and exec(), too.
 */
void privs_none(void);
void privs_pass_on(void);

/* No program that we start, and no file that we run, gives rights any more.  Threads inherit it. */
int privs_no_new(void) must_check;

/* The soft limit on open files up to the hard one; *limit is what holds then.  0 or -errno. */
int privs_raise_nofile(unsigned long *limit) must_check;
