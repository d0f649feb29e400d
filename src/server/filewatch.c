/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/filewatch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

typedef void (*file_seen)(struct filewatch *w, const char *path);

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void each(struct filewatch *w, const char *path, file_seen seen)
{
	if (path)
		seen(w, path);
}

static void each_file(struct filewatch *w, const char *file, file_seen seen)
{
	const struct config *c = w->config;

	seen(w, file);
	each(w, c->server.client_ca, seen);
	for (unsigned i = 0; i < c->certs_count; i++) {
		each(w, c->certs[i].chain, seen);
		each(w, c->certs[i].key, seen);
	}
	for (unsigned i = 0; i < c->mirrors_count; i++) {
		const struct conf_mirror *m = &c->mirrors[i];

		each(w, m->ca, seen);
		for (unsigned k = 0; k < m->credentials.count; k++)
			each(w, m->credentials.v[k], seen);
	}
	for (unsigned i = 0; i < c->tenants_count; i++)
		each(w, c->tenants[i].htpasswd, seen);
}

static void mix(struct filewatch *w, uint64_t n)
{
	w->seen = (w->seen ^ n) * 0x100000001b3;
	w->seen ^= w->seen >> 29;
}

/* A file that is not there is a fact, too. */
static void mix_file(struct filewatch *w, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		st = (struct stat){ 0 };
	mix(w, st.st_ino);
	mix(w, st.st_dev);
	mix(w, (uint64_t)st.st_size);
	mix(w, st.st_mode);
	mix(w, st.st_uid);
	mix(w, (uint64_t)st.st_mtim.tv_sec);
	mix(w, (uint64_t)st.st_mtim.tv_nsec);
}

void filewatch_seen(struct filewatch *w, const char *file)
{
	w->seen = 1;
	if (w->config)
		each_file(w, file, mix_file);
	w->first_ms = 0;
}

static void watch_folder(struct filewatch *w, const char *path)
{
	const uint32_t what = IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ATTRIB;
	const char *slash = strrchr(path, '/');
	char folder[4096] = ".";

	if (slash && (size_t)(slash - path) + 2 > sizeof(folder))
		return;
	if (slash)
		snprintf(folder, sizeof(folder), "%.*s/", (int)(slash - path), path);
	if (inotify_add_watch(w->fd, folder, what | IN_ONLYDIR) < 0)
		log_warn("reload folder=%s is not watched: %s; changes there take sluice reload",
			 folder, err_text(-errno));
}

void filewatch_set(struct filewatch *w, const char *file, struct config *c)
{
	struct config *before = w->config;
	uint64_t seen = w->seen, first_ms = w->first_ms;

	w->config = config_ref(c);
	if (w->fd > 0)
		close(w->fd); /* and all watches, in place of finding out which went */
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0)
		log_warn("reload no file is watched: %s; changes take sluice reload",
			 err_text(-errno));
	else
		each_file(w, file, watch_folder);
	/* Other files than before, or the first: as they are now.  What changed since they were
	 * read, a moment ago, came before the watch: so it is looked at once more. */
	filewatch_seen(w, file);
	if (before && w->seen != seen)
		first_ms = now_ms();
	w->first_ms = w->last_ms = first_ms;
	if (before)
		config_unref(before);
}

void filewatch_again(struct filewatch *w)
{
	w->seen = 0;
	w->first_ms = w->last_ms = now_ms();
}

void filewatch_close(struct filewatch *w)
{
	if (w->fd > 0)
		close(w->fd);
	if (w->config)
		config_unref(w->config);
	*w = (struct filewatch){ 0 };
}

int filewatch_fd(const struct filewatch *w)
{
	return w->fd > 0 ? w->fd : -1;
}

static uint64_t due_ms(const struct filewatch *w)
{
	uint64_t quiet = w->last_ms + FILEWATCH_SETTLE_MS;
	uint64_t most = w->first_ms + FILEWATCH_SETTLE_MAX_MS;

	return quiet < most ? quiet : most;
}

int filewatch_wait_ms(const struct filewatch *w, int max)
{
	uint64_t now = now_ms(), due = due_ms(w);

	if (w->first_ms == 0 || due >= now + (uint64_t)max)
		return max;
	return due > now ? (int)(due - now) : 0;
}

/* Whatever it was, at whatever file. */
static bool take_events(struct filewatch *w)
{
	char mem[16 * 1024];
	bool any = false;

	for (unsigned i = 0; i < 64 && read(w->fd, mem, sizeof(mem)) > 0; i++)
		any = true;
	return any;
}

bool filewatch_changed(struct filewatch *w, const char *file)
{
	uint64_t now = now_ms(), seen = w->seen;

	if (w->fd > 0 && take_events(w)) {
		w->first_ms = w->first_ms ? w->first_ms : now;
		w->last_ms = now;
	}
	if (w->first_ms == 0 || now < due_ms(w))
		return false;
	filewatch_seen(w, file);
	return w->seen != seen;
}
