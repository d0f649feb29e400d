/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What becomes of a cached file that is not what was published: it is out of the index at once, and
 * its file goes to quarantine/, for an operator to look at.  That folder is bounded: the oldest
 * there go, and what is larger than the bound is removed.
 *
 * The blob is marked before its file is moved and leaves the index after: in between nobody is
 * given it, and no fill can find the file.  If the file can be neither moved nor removed, as on a
 * disk that went read-only, the mark stays: the blob passes by.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cache/cache_private.h"

enum { QUARANTINE_FILES_MAX = 64 };
#define QUARANTINE_BYTES_MAX (1024ull * 1024 * 1024)

struct quarantine {
	unsigned files;
	uint64_t bytes;
	time_t oldest_s;
	char oldest[STORE_PATH_MAX];
};

static void quarantine_look(const struct store *s, struct quarantine *q)
{
	DIR *dir = store_list(s, "quarantine");
	struct dirent *e;
	struct stat st;

	*q = (struct quarantine){ 0 };
	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= sizeof(q->oldest) ||
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (q->files++ == 0 || st.st_ctime < q->oldest_s) {
			q->oldest_s = st.st_ctime;
			memcpy(q->oldest, e->d_name, strlen(e->d_name) + 1);
		}
		q->bytes += (uint64_t)st.st_size;
	}
	if (dir)
		closedir(dir);
}

/* False: there is none to be had. */
static bool quarantine_make_room(const struct store *s, uint64_t bytes)
{
	if (bytes > QUARANTINE_BYTES_MAX)
		return false;
	for (unsigned tries = 0; tries <= QUARANTINE_FILES_MAX; tries++) {
		char path[STORE_PATH_MAX + sizeof("quarantine/")];
		struct quarantine q;

		quarantine_look(s, &q);
		if (q.files < QUARANTINE_FILES_MAX && q.bytes + bytes <= QUARANTINE_BYTES_MAX)
			return true;
		snprintf(path, sizeof(path), "quarantine/%s", q.oldest);
		if (unlinkat(s->root_fd, path, 0) < 0)
			return false;
	}
	return false;
}

int quarantine_file(const struct store *s, const char *path)
{
	char to[STORE_PATH_MAX + sizeof("quarantine/")];
	struct stat st;
	bool room;

	if (fstatat(s->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* So that a server that has the file open sees it, too: see store_is_good(). */
	if (fchmodat(s->root_fd, path, 0, 0) < 0)
		log_debug("cache path=%s/%s keeps its mode", s->root, path);
	room = quarantine_make_room(s, (uint64_t)st.st_size);
	snprintf(to, sizeof(to), "quarantine/%s", path);
	for (char *at = to + sizeof("quarantine/") - 1; *at; at++)
		if (*at == '/')
			*at = '-';
	if (room && renameat(s->root_fd, path, s->root_fd, to) == 0)
		return 0;
	return store_remove(s, path);
}

struct damage {
	struct job job;
	struct blob *blob;
};

static void damage_work(struct job *job)
{
	struct damage *d = container_of(job, struct damage, job);
	struct blob *b = d->blob;
	struct cache *c = cache_of(b);
	char path[STORE_PATH_MAX];
	int err;

	store_path(&c->store, b->kind, &b->digest, b->type, path);
	err = quarantine_file(&c->store, path);
	if (err < 0 && err != -ENOENT)
		cache_fault(c, "cannot put a damaged file into quarantine", path, err);
	else
		(void)index_remove(b);
	blob_unref(b);
	free(d);
	cache_job_ended(c);
}

/* True: nobody knew. */
static bool damage_mark(struct blob *b, const char *what)
{
	struct cache *c = cache_of(b);
	char path[STORE_PATH_MAX];

	if (__atomic_exchange_n(&b->damaged, true, __ATOMIC_ACQ_REL))
		return false;
	__atomic_fetch_add(&c->damaged, 1, __ATOMIC_RELAXED);
	store_path(&c->store, b->kind, &b->digest, b->type, path);
	log_limited(LOG_ERR,
		    "cache path=%s/%s damaged error=\"%s\" note=\"in quarantine; the next request "
		    "fetches it again\"",
		    c->store.root, path, what);
	return true;
}

void blob_put_away(struct blob *b)
{
	if (damage_mark(b, "found by another process"))
		(void)index_remove(b);
}

void blob_damaged(struct blob *b, int err)
{
	struct cache *c = cache_of(b);
	struct damage *d;

	if (err == ERR_STUCK) {
		char path[STORE_PATH_MAX];

		store_path(&c->store, b->kind, &b->digest, b->type, path);
		disk_failed(c, "cannot read", path, err);
	}
	/* What is not in the index has no file of its name, or none any more. */
	if (!store_is_damage(err) || blob_state(b) != BLOB_READY ||
	    !__atomic_load_n(&b->indexed, __ATOMIC_ACQUIRE))
		return;
	if (!damage_mark(b, err == -EUCLEAN ? "not what was published" : err_text(err)))
		return;
	d = calloc(1, sizeof(*d));
	if (!d)
		return; /* marked: nobody is given it */
	d->blob = blob_ref(b);
	d->job.work = damage_work;
	cache_job_start(c, &d->job);
}
