/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/portowner.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LISTENING = 0x0a, WORDS = 4, SOCKETS_MAX = 64 };

/* Sockets that listen where we would: their inodes. */
struct holders {
	unsigned long inodes[SOCKETS_MAX];
	unsigned count;
};

/* An address as /proc/net/tcp* prints it: words of 32 bits in the machine's order. */
struct words {
	unsigned v[WORDS];
	unsigned count; /* 1: IPv4, 4: IPv6 */
	unsigned port;
};

static struct words words_of(const struct conf_addr *at)
{
	struct words w = { .count = 1 };

	if (at->sa.sa_family == AF_INET6) {
		w.count = WORDS;
		memcpy(w.v, &at->in6.sin6_addr, sizeof(w.v));
		w.port = ntohs(at->in6.sin6_port);
	} else {
		memcpy(w.v, &at->in.sin_addr, sizeof(w.v[0]));
		w.port = ntohs(at->in.sin_port);
	}
	return w;
}

static bool is_all(const struct words *w)
{
	for (unsigned i = 0; i < w->count; i++)
		if (w->v[i])
			return false;
	return true;
}

static bool overlap(const struct words *a, const struct words *b)
{
	if (a->port != b->port)
		return false;
	/* "all" of IPv6 may take IPv4, too. */
	if (a->count != b->count)
		return (a->count == WORDS && is_all(a)) || (b->count == WORDS && is_all(b));
	return is_all(a) || is_all(b) || memcmp(a->v, b->v, a->count * sizeof(a->v[0])) == 0;
}

/* "  0: 0100007F:1F90 00000000:0000 0A ... uid timeout inode ..." */
static bool parse_line(const char *line, struct words *w, unsigned long *inode)
{
	char local[40];
	unsigned state;

	if (sscanf(line, " %*u: %32[0-9A-F]:%4X %*[0-9A-F]:%*4X %2X %*s %*s %*s %*u %*u %lu", local,
		   &w->port, &state, inode) != 4 ||
	    state != LISTENING)
		return false;
	w->count = strlen(local) == 8 ? 1 : WORDS;
	for (unsigned i = 0; i < w->count; i++)
		if (sscanf(local + (size_t)8 * i, "%8X", &w->v[i]) != 1)
			return false;
	return true;
}

static bool read_table(const char *path, const struct words *ours, struct holders *h)
{
	FILE *f = fopen(path, "re");
	unsigned long inode;
	struct words theirs;
	char line[512];

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if (parse_line(line, &theirs, &inode) && overlap(ours, &theirs) &&
		    h->count < SOCKETS_MAX)
			h->inodes[h->count++] = inode;
	fclose(f);
	return true;
}

static bool holds(int dir, const char *fd, const struct holders *h)
{
	char target[64];
	ssize_t n = readlinkat(dir, fd, target, sizeof(target) - 1);
	unsigned long inode;

	if (n <= 0)
		return false;
	target[n] = '\0';
	if (sscanf(target, "socket:[%lu]", &inode) != 1)
		return false;
	for (unsigned i = 0; i < h->count; i++)
		if (h->inodes[i] == inode)
			return true;
	return false;
}

static bool process_holds(const char *pid, const struct holders *h)
{
	char path[PATH_MAX];
	struct dirent *e;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	d = opendir(path);
	while (d && !found && (e = readdir(d)))
		found = holds(dirfd(d), e->d_name, h);
	if (d)
		closedir(d);
	return found;
}

static void name_of(const char *pid, struct port_owner *out)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(out->name, sizeof(out->name), f))
		snprintf(out->name, sizeof(out->name), "?");
	out->name[strcspn(out->name, "\n")] = '\0';
	if (f)
		fclose(f);
}

static void find_process(const struct holders *h, struct port_owner *out)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	while (d && !out->pid && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]) && process_holds(e->d_name, h)) {
			out->pid = (pid_t)strtol(e->d_name, NULL, 10);
			name_of(e->d_name, out);
		}
	if (d)
		closedir(d);
}

enum port_state port_look(const struct conf_addr *at, struct port_owner *out)
{
	const struct words ours = words_of(at);
	struct holders h = { 0 };
	bool v4 = read_table("/proc/net/tcp", &ours, &h);
	bool v6 = read_table("/proc/net/tcp6", &ours, &h);

	*out = (struct port_owner){ 0 };
	if (!v4 && !v6)
		return PORT_UNKNOWN;
	if (h.count == 0)
		return PORT_FREE;
	find_process(&h, out);
	return PORT_TAKEN;
}
