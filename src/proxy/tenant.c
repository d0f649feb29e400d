/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/tenant.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/units.h"
#include "config/files.h"

/* A line has less than 128 bytes, and a configuration 1,000 tenants at once. */
enum { FILE_MAX = 1024 * 1024, LINE_MAX_BYTES = 128 };

static const char first_line[] = "sluice-tenants 1";

struct tenants {
	pthread_mutex_t lock; /* of the list: who is on it stays */
	struct tenant *first;
	char *path;
	char *path_new;
	unsigned month; /* atomic */
	/* The main thread's. */
	int64_t saved_s;
	uint64_t saved_sum;
	/* The helper's, while busy. */
	struct job job;
	bool busy; /* atomic */
	char *text;
	size_t text_len;
};

#define READ(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

unsigned tenant_month(int64_t now_s)
{
	time_t t = (time_t)now_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	return (unsigned)(tm.tm_year + 1900) * 12 + (unsigned)tm.tm_mon;
}

int64_t tenant_month_left_s(int64_t now_s)
{
	time_t t = (time_t)now_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	tm.tm_mon++;
	tm.tm_mday = 1;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	return (int64_t)timegm(&tm) - now_s;
}

/* ---- the file ---- */

static bool parse_month(struct slice text, unsigned *month)
{
	uint64_t year, m;
	struct slice rest = text, y = slice_cut(&rest, '-');

	if (!units_parse_uint(y, &year) || !units_parse_uint(rest, &m) || year > 9999 || m < 1 ||
	    m > 12)
		return false;
	*month = (unsigned)(year * 12 + m - 1);
	return true;
}

bool tenant_parse(struct slice *text, struct slice *name, unsigned *month, uint64_t *bytes,
		  bool *bad)
{
	struct slice line = slice_cut(text, '\n');

	*bad = false;
	if (line.len == 0 && text->len == 0)
		return false;
	*name = slice_cut(&line, ' ');
	*bad = name->len == 0 || name->len >= TENANT_NAME_MAX ||
	       memchr(name->ptr, '\0', name->len) || !parse_month(slice_cut(&line, ' '), month) ||
	       !units_parse_uint(line, bytes);
	return !*bad;
}

static bool take_file(struct tenants *ts, struct slice text)
{
	struct slice name;
	unsigned month;
	uint64_t bytes;
	bool bad;

	if (!slice_eq(slice_cut(&text, '\n'), slice_of(first_line)))
		return false;
	while (tenant_parse(&text, &name, &month, &bytes, &bad)) {
		char copy[TENANT_NAME_MAX];
		struct tenant *t;

		snprintf(copy, sizeof(copy), "%.*s", SLICE_FMT(name));
		t = tenants_get(ts, copy);
		if (t && month == ts->month)
			t->month_bytes = bytes;
	}
	return !bad;
}

static void load(struct tenants *ts)
{
	char *text = NULL;
	ssize_t n = files_read(ts->path, FILE_MAX, &text);

	if (n == -ENOENT)
		return;
	if (n < 0)
		log_err("tenants file=%s reason=\"%s\": this month's usage begins at 0", ts->path,
			err_text((int)n));
	else if (!take_file(ts, (struct slice){ text, (size_t)n }))
		log_err("tenants file=%s cannot be understood: what is missing begins at 0",
			ts->path);
	free(text);
}

static int write_file(const struct tenants *ts)
{
	int fd = open(ts->path_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t done = 0;
	int err = 0;

	if (fd < 0)
		return -errno;
	while (done < ts->text_len && !err) {
		ssize_t n = write(fd, ts->text + done, ts->text_len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			err = n == 0 ? -EIO : -errno;
	}
	if (!err && fsync(fd) < 0)
		err = -errno;
	close(fd);
	if (!err && rename(ts->path_new, ts->path) < 0)
		err = -errno;
	return err;
}

static void save(struct tenants *ts)
{
	int err = write_file(ts);

	if (err)
		log_limited(LOG_ERR, "tenants file=%s not written reason=\"%s\"", ts->path,
			    err_text(err));
}

static void save_job(struct job *job)
{
	struct tenants *ts = container_of(job, struct tenants, job);

	save(ts);
	__atomic_store_n(&ts->busy, false, __ATOMIC_RELEASE);
}

/* Under the lock.  False: no memory. */
static bool make_text(struct tenants *ts)
{
	unsigned count = 0, month = ts->month;
	size_t room;

	for (const struct tenant *t = ts->first; t; t = t->next)
		count++;
	room = (size_t)(count + 1) * LINE_MAX_BYTES;
	free(ts->text);
	ts->text = malloc(room);
	if (!ts->text)
		return false;
	ts->text_len = (size_t)snprintf(ts->text, room, "%s\n", first_line);
	for (const struct tenant *t = ts->first; t; t = t->next)
		ts->text_len += (size_t)snprintf(ts->text + ts->text_len, room - ts->text_len,
						 "%s %04u-%02u %" PRIu64 "\n", t->name, month / 12,
						 month % 12 + 1, READ(t->month_bytes));
	assert(ts->text_len < room);
	return true;
}

static uint64_t sum(const struct tenants *ts)
{
	uint64_t n = ts->month;

	for (const struct tenant *t = ts->first; t; t = t->next)
		n += READ(t->month_bytes);
	return n;
}

/* Is there anything new, and is it in ts->text now? */
static bool begin_save(struct tenants *ts)
{
	uint64_t now;
	bool ok;

	if (!ts->path)
		return false;
	pthread_mutex_lock(&ts->lock);
	now = sum(ts);
	ok = now != ts->saved_sum && make_text(ts);
	pthread_mutex_unlock(&ts->lock);
	if (ok)
		ts->saved_sum = now;
	return ok;
}

/* ---- the list ---- */

struct tenants *tenants_new(const char *path, int64_t now_s)
{
	struct tenants *ts = calloc(1, sizeof(*ts));

	if (!ts)
		return NULL;
	pthread_mutex_init(&ts->lock, NULL);
	ts->month = tenant_month(now_s);
	ts->saved_s = now_s;
	ts->saved_sum = ts->month;
	ts->job.work = save_job;
	if (!path)
		return ts;
	if (asprintf(&ts->path, "%s", path) < 0 || asprintf(&ts->path_new, "%s.new", path) < 0) {
		tenants_free(ts);
		return NULL;
	}
	load(ts);
	ts->saved_sum = sum(ts);
	return ts;
}

void tenants_free(struct tenants *ts)
{
	struct tenant *t, *next;

	assert(!ts->busy);
	if (begin_save(ts))
		save(ts);
	for (t = ts->first; t; t = next) {
		next = t->next;
		pthread_mutex_destroy(&t->lock);
		free(t);
	}
	pthread_mutex_destroy(&ts->lock);
	free(ts->text);
	free(ts->path);
	free(ts->path_new);
	free(ts);
}

static void new_month(struct tenants *ts, unsigned month)
{
	pthread_mutex_lock(&ts->lock);
	for (struct tenant *t = ts->first; t; t = t->next)
		__atomic_store_n(&t->month_bytes, 0, __ATOMIC_RELAXED);
	ts->month = month;
	pthread_mutex_unlock(&ts->lock);
}

void tenants_tick(struct tenants *ts, struct offload *helpers, int64_t now_s)
{
	unsigned month = tenant_month(now_s);

	/* A clock that goes back does not give a month again. */
	if (month > ts->month)
		new_month(ts, month);
	if (now_s - ts->saved_s < TENANTS_SAVE_MS / 1000 && now_s >= ts->saved_s)
		return;
	if (__atomic_load_n(&ts->busy, __ATOMIC_ACQUIRE) || !begin_save(ts))
		return;
	ts->saved_s = now_s;
	__atomic_store_n(&ts->busy, true, __ATOMIC_RELAXED);
	offload_submit(helpers, NULL, &ts->job);
}

static struct tenant *find(struct tenants *ts, const char *name)
{
	struct tenant *t = ts->first;

	while (t && strcmp(t->name, name) != 0)
		t = t->next;
	return t;
}

struct tenant *tenants_get(struct tenants *ts, const char *name)
{
	struct tenant *t;

	assert(strlen(name) < TENANT_NAME_MAX);
	pthread_mutex_lock(&ts->lock);
	t = find(ts, name);
	if (!t && (t = calloc(1, sizeof(*t))) != NULL) {
		snprintf(t->name, sizeof(t->name), "%s", name);
		pthread_mutex_init(&t->lock, NULL);
		t->next = ts->first;
		ts->first = t;
	}
	pthread_mutex_unlock(&ts->lock);
	return t;
}

void tenant_sent(struct tenant *t, uint64_t bytes)
{
	__atomic_fetch_add(&t->bytes, bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&t->month_bytes, bytes, __ATOMIC_RELAXED);
}

bool tenant_is_spent(const struct tenant *t, const struct conf_tenant *conf)
{
	return conf->quota_bytes && READ(t->month_bytes) >= conf->quota_bytes;
}

void tenants_each(struct tenants *ts, const struct config *c,
		  void (*each)(void *ctx, const struct tenant_view *v), void *ctx)
{
	for (unsigned i = 0; i < c->tenants_count; i++) {
		const struct conf_tenant *conf = &c->tenants[i];
		const struct tenant *t = tenants_get(ts, conf->name);
		struct tenant_view v = {
			.name = conf->name,
			.connections_max = conf->conns_max,
			.quota_bytes = conf->quota_bytes,
			.rate_bytes = conf->rate_bytes,
			.client_bytes = conf->client_bytes,
		};

		if (t) {
			v.connections = READ(t->connections);
			v.requests = READ(t->requests);
			v.refused = READ(t->refused);
			v.bytes = READ(t->bytes);
			v.month_bytes = READ(t->month_bytes);
		}
		each(ctx, &v);
	}
}
