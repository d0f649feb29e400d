/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/units.h"
#include "cli/doctor.h"
#include "cli/portowner.h"
#include "io/loop.h"

enum {
	KERNEL_MAJOR = 6,
	KERNEL_MINOR = 1,
	PROBE_S = 10, /* a disk that does not write a block in so long has failed */
};

static const char host[] = "This host";

/* ---- the kernel ---- */

/* One line of a file of /proc; "" if it cannot be read. */
static void read_line(const char *path, char *out, size_t size)
{
	FILE *f = fopen(path, "re");

	out[0] = '\0';
	if (f && !fgets(out, (int)size, f))
		out[0] = '\0';
	if (f)
		fclose(f);
	out[strcspn(out, "\n")] = '\0';
}

static bool has_word(const char *list, const char *word)
{
	struct slice left = slice_of(list);

	while (left.len > 0)
		if (slice_eq(slice_cut(&left, ' '), slice_of(word)))
			return true;
	return false;
}

static void look_version(struct findings *f)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2) {
		found(f, FOUND_UNKNOWN, host, "kernel", "The kernel's version cannot be read.");
		return;
	}
	if (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR))
		found(f, FOUND_WRONG, host, "kernel",
		      "Linux %s is too old: Sluice needs %d.%d or newer.", u.release, KERNEL_MAJOR,
		      KERNEL_MINOR);
	else
		found(f, FOUND_WELL, host, "kernel", "Linux %s is new enough.", u.release);
}

static void look_uring(struct findings *f)
{
	struct loop_opts o = { .entries = 1024, .rx_bufs = 256, .rx_buf_bytes = 4096 };
	const char *why = "";
	struct loop *l;
	int err = loop_new(&l, &o, &why);

	if (err < 0) {
		found(f, FOUND_WRONG, host, "io_uring", "io_uring does not work: %s; %s.",
		      err_text(err), why);
		return;
	}
	loop_free(l);
	found(f, FOUND_WELL, host, "io_uring", "The kernel allows io_uring.");
}

static void look_congestion(struct findings *f, const char *section, const char *want)
{
	char have[256];

	if (!want)
		return;
	read_line("/proc/sys/net/ipv4/tcp_available_congestion_control", have, sizeof(have));
	if (has_word(have, want))
		found(f, FOUND_WELL, host, "congestion", "Congestion control %s of [%s] is there.",
		      want, section);
	else
		found(f, FOUND_NOTE, host, "congestion",
		      "Congestion control %s of [%s] is not loaded (modprobe tcp_%s), so the "
		      "kernel's own is used; there are: %s.",
		      want, section, want, have);
}

static void look_nofile(struct findings *f, const struct config *c)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	if (r.rlim_max < c->server.conns_max)
		found(f, FOUND_NOTE, host, "nofile",
		      "A process started from here may open %ju files, less than conns_max = %ju: "
		      "the unit's LimitNOFILE counts for the server.",
		      (uintmax_t)r.rlim_max, (uintmax_t)c->server.conns_max);
	else
		found(f, FOUND_WELL, host, "nofile", "%ju files may be open at once.",
		      (uintmax_t)r.rlim_max);
}

void doctor_kernel(struct findings *f, const struct config *c)
{
	char ulp[256];

	look_version(f);
	look_uring(f);
	look_nofile(f, c);
	look_congestion(f, "server", c->server.congestion);
	for (unsigned i = 0; i < c->pools_count; i++)
		look_congestion(f, c->pools[i].name, c->pools[i].congestion);
	read_line("/proc/sys/net/ipv4/tcp_available_ulp", ulp, sizeof(ulp));
	if (has_word(ulp, "tls"))
		found(f, FOUND_WELL, host, "ktls", "The kernel has TLS of its own loaded.");
	else
		found(f, FOUND_NOTE, host, "ktls",
		      "The kernel has no TLS of its own loaded (modprobe tls): Sluice's is used.");
}

/* ---- the clock ---- */

void doctor_clock(struct findings *f)
{
	struct timex t = { 0 };
	int state = adjtimex(&t);

	if (state < 0)
		found(f, FOUND_NOTE, host, "clock",
		      "Whether the clock is kept right by NTP cannot "
		      "be seen here.");
	else if (state == TIME_ERROR && (t.status & STA_UNSYNC))
		found(f, FOUND_NOTE, host, "clock",
		      "The clock is not kept right by NTP (timedatectl set-ntp true): certificates "
		      "and tokens go by it.");
	else
		found(f, FOUND_WELL, host, "clock", "The clock is kept right by NTP.");
}

/* ---- ports ---- */

static bool is_us(const struct port_owner *o)
{
	return strcmp(o->name, "sluice") == 0;
}

static void look_ports(struct findings *f, const char *key, const struct conf_addrs *addrs)
{
	struct port_owner o;

	for (unsigned i = 0; i < addrs->count; i++) {
		const char *at = addrs->v[i].text;

		switch (port_look(&addrs->v[i], &o)) {
		case PORT_FREE:
			found(f, FOUND_NOTE, host, "port",
			      "Nobody listens at %s (%s): the server does not run.", at, key);
			break;
		case PORT_UNKNOWN:
			found(f, FOUND_UNKNOWN, host, "port",
			      "Who listens at %s (%s) cannot be seen: /proc/net/tcp is not there.",
			      at, key);
			break;
		case PORT_TAKEN:
			if (o.pid == 0)
				found(f, FOUND_NOTE, host, "port",
				      "Somebody listens at %s (%s); root may see who.", at, key);
			else if (is_us(&o))
				found(f, FOUND_WELL, host, "port",
				      "Sluice, process %d, listens at %s (%s).", (int)o.pid, at,
				      key);
			else
				found(f, FOUND_WRONG, host, "port",
				      "%s (%s) is taken by %s, process %d: stop that, or "
				      "change the address in [server].",
				      at, key, o.name, (int)o.pid);
			break;
		}
	}
}

void doctor_ports(struct findings *f, const struct config *c)
{
	look_ports(f, "https", &c->server.https);
	look_ports(f, "http", &c->server.http);
	look_ports(f, "plain", &c->server.plain);
	look_ports(f, "admin", &c->server.admin);
}

/* ---- the cache's folder ---- */

/* As the server's user, in a process of its own: 0 or an errno.  Nothing of it stays. */
static int write_as(const struct passwd *user, const char *path)
{
	static const char block[4096];
	int fd;

	if (user && geteuid() == 0 &&
	    (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0))
		return errno;
	fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	if (write(fd, block, sizeof(block)) != sizeof(block) || fsync(fd) < 0)
		return errno ? errno : EIO;
	return 0;
}

/* -errno; 0: a block was written and is on the disk. */
static int try_write(const struct passwd *user, const char *path)
{
	int status = 0;
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (child == 0) {
		alarm(PROBE_S);
		_exit(write_as(user, path));
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : ERR_STUCK;
}

/* To a whole number that people read: of MiB, from 10 GiB on of GiB. */
static void format_about(uint64_t bytes, char out[UNITS_TEXT_MAX])
{
	const unsigned unit = bytes >> 30 >= 10 ? 30 : 20;

	units_format_bytes(bytes >> unit << unit, out);
}

static void look_space(struct findings *f, const struct config *c)
{
	char size[UNITS_TEXT_MAX], free_text[UNITS_TEXT_MAX];
	struct statvfs v;
	uint64_t all, left;

	if (statvfs(c->cache.path, &v) < 0)
		return;
	all = (uint64_t)v.f_blocks * v.f_frsize;
	left = (uint64_t)v.f_bavail * v.f_frsize;
	format_about(all, size);
	format_about(left, free_text);
	if (left < c->cache.free_bytes)
		found(f, FOUND_NOTE, host, "space",
		      "Only %s of %s are free where the cache is, less than [cache] free: it "
		      "shrinks until that is free again.",
		      free_text, size);
	else if (all < c->cache.size_bytes)
		found(f, FOUND_NOTE, host, "space",
		      "The file system of the cache has %s, less than [cache] size: it is bounded "
		      "by [cache] free.",
		      size);
	else
		found(f, FOUND_WELL, host, "space", "%s of %s are free where the cache is.",
		      free_text, size);
}

void doctor_cache(struct findings *f, const struct config *c)
{
	const char *name = c->server.user;
	const struct passwd *user = name ? getpwnam(name) : NULL;
	struct stat st;
	int err;

	if (name && !user) {
		found(f, FOUND_WRONG, host, "user",
		      "There is no user %s (useradd --system %s makes it).", name, name);
		return;
	}
	if (stat(c->cache.path, &st) < 0) {
		found(f, errno == ENOENT ? FOUND_NOTE : FOUND_WRONG, host, "cache",
		      "The cache's folder %s is not there: %s%s.", c->cache.path, err_text(-errno),
		      errno == ENOENT ? "; the server makes it at its start" : "");
		return;
	}
	err = try_write(user, c->cache.path);
	if (err < 0)
		found(f, FOUND_WRONG, host, "cache",
		      "%s cannot write in the cache's folder %s: %s.", name ? name : "The server",
		      c->cache.path, err_text(err));
	else
		found(f, FOUND_WELL, host, "cache", "%s can write in the cache's folder %s.",
		      name ? name : "The server", c->cache.path);
	look_space(f, c);
}
