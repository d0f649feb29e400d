/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sys/privs.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

/* Runs fn in a child, because there is no way back; gives its exit code. */
static int in_child(int (*fn)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0)
		_exit(fn());
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void *uid_of_thread(void *arg)
{
	*(uid_t *)arg = geteuid();
	return NULL;
}

static int drop_to_nobody(void)
{
	struct privs_user u;
	gid_t groups[64];
	pthread_t t;
	uid_t uid = 0;

	if (privs_find_user("nobody", &u) != 0 || privs_drop(&u) != 0)
		return 1;
	if (geteuid() != u.uid || getegid() != u.gid)
		return 2;
	for (int i = 0, n = getgroups(64, groups); i < n; i++)
		if (groups[i] == 0)
			return 3;
	if (setuid(0) == 0 || setgid(0) == 0)
		return 4;
	if (pthread_create(&t, NULL, uid_of_thread, &uid) || pthread_join(t, NULL) || uid != u.uid)
		return 5;
	return privs_drop(&u) == 0 ? 0 : 6; /* being that user already is fine */
}

static int drop_without_root(void)
{
	struct privs_user nobody, root;

	if (privs_find_user("nobody", &nobody) != 0 || privs_find_user("root", &root) != 0)
		return 1;
	if (privs_drop(&nobody) != 0)
		return 2;
	return privs_drop(&root) == -EPERM ? 0 : 3;
}

static int no_new(void)
{
	if (privs_no_new() != 0)
		return 1;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 2;
}

static int raise_nofile(void)
{
	struct rlimit r = { .rlim_cur = 100, .rlim_max = 200 };
	unsigned long limit = 0;

	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		return 1;
	if (privs_raise_nofile(&limit) != 0 || limit != 200)
		return 2;
	return getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur == 200 ? 0 : 3;
}

TEST(unknown_users_are_told)
{
	struct privs_user u;

	check_eq(privs_find_user("nobody-here", &u), -ENOENT);
	check_eq(privs_find_user("root", &u), 0);
	check_eq(u.uid, 0);
}

TEST(rights_are_dropped_for_good)
{
	if (geteuid() != 0)
		skip("needs root");
	check_eq(in_child(drop_to_nobody), 0);
}

TEST(nobody_else_is_become_without_root)
{
	if (geteuid() != 0)
		skip("needs root");
	check_eq(in_child(drop_without_root), 0);
}

TEST(no_new_privileges_is_set)
{
	check_eq(in_child(no_new), 0);
}

TEST(open_files_are_raised_to_the_hard_limit)
{
	check_eq(in_child(raise_nofile), 0);
}
