/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sys/privs.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int privs_find_user(const char *name, struct privs_user *out)
{
	struct passwd *pw;

	errno = 0;
	pw = getpwnam(name);
	if (!pw)
		return errno ? -errno : -ENOENT;
	*out = (struct privs_user){ name, pw->pw_uid, pw->pw_gid };
	return 0;
}

/* Of this thread alone: the kernel's call, since glibc has none. */
static bool set_caps(uint32_t caps)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { caps, caps, caps }, { 0, 0, 0 } };

	return syscall(SYS_capset, &head, data) == 0;
}

void privs_none(void)
{
	if (geteuid() != 0)
		(void)set_caps(0);
}

void privs_pass_on(void)
{
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0);
}

/* All three ids are the user's, and the way back is shut. */
static bool is_dropped(const struct privs_user *user)
{
	uid_t uid, euid, suid;
	gid_t gid, egid, sgid;

	if (getresuid(&uid, &euid, &suid) < 0 || getresgid(&gid, &egid, &sgid) < 0)
		return false;
	if (uid != user->uid || euid != user->uid || suid != user->uid)
		return false;
	if (gid != user->gid || egid != user->gid || sgid != user->gid)
		return false;
	return user->uid == 0 || (setuid(0) < 0 && seteuid(0) < 0);
}

int privs_drop(const struct privs_user *user)
{
	/* Groups first: after setresuid() they could not be changed any more. */
	if (geteuid() == 0) {
		(void)prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
		if (initgroups(user->name, user->gid) < 0 ||
		    setresgid(user->gid, user->gid, user->gid) < 0 ||
		    setresuid(user->uid, user->uid, user->uid) < 0)
			return -errno;
		(void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
		if (user->uid != 0 && !set_caps(1u << CAP_NET_BIND_SERVICE) && !set_caps(0))
			return -errno;
	}
	return is_dropped(user) ? 0 : -EPERM;
}

int privs_no_new(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int privs_raise_nofile(unsigned long *limit)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return -errno;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		return -errno;
	*limit = r.rlim_cur;
	return 0;
}
