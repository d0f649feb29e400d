/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/pins.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "proxy/holdings.h"
#include "proxy/image.h"

enum { PINS_FILE_MAX = PINS_MAX * 256 };
static const char file_name[] = "pins";

struct pins {
	struct cache *cache;
	pthread_mutex_t lock; /* of names, count and busy */
	pthread_cond_t idle;
	char *names[PINS_MAX];
	unsigned count;
	bool busy;
	bool due; /* atomic: something has changed */
	bool held;
	int64_t last_s;
	struct job job;
	struct setup *setup; /* the job's */
};

bool pin_name(const struct config *c, const struct image_name *n, char out[PIN_NAME_MAX])
{
	int len = snprintf(out, PIN_NAME_MAX, "%s/%.*s%c%.*s", c->mirrors[n->mirror].name,
			   SLICE_FMT(n->repo), n->ref_is_digest ? '@' : ':', SLICE_FMT(n->ref));

	return len > 0 && len < PIN_NAME_MAX;
}

/* ---- the file: a name a line ---- */

static bool names_parse(struct pins *p, struct slice text)
{
	while (text.len > 0) {
		struct slice line = slice_cut(&text, '\n');

		if (line.len == 0)
			continue;
		if (p->count == PINS_MAX || line.len >= PIN_NAME_MAX)
			return false;
		p->names[p->count] = strndup(line.ptr, line.len);
		if (!p->names[p->count])
			return false;
		p->count++;
	}
	return true;
}

/* Under the lock. */
static int names_write(struct pins *p)
{
	char *mem = malloc(PINS_FILE_MAX);
	struct buf out;
	bool fits = true;
	int err;

	buf_init(&out, mem, mem ? PINS_FILE_MAX : 0);
	for (unsigned i = 0; i < p->count && fits; i++)
		fits = buf_printf(&out, "%s\n", p->names[i]);
	err = !mem    ? -ENOMEM
	      : !fits ? -EFBIG
		      : cache_note_write(p->cache, file_name, buf_data(&out));
	free(mem);
	return err;
}

struct pins *pins_new(struct cache *c, const char **why)
{
	struct pins *p = calloc(1, sizeof(*p));
	char *mem = malloc(PINS_FILE_MAX);
	int n = p && mem ? cache_note_read(c, file_name, mem, PINS_FILE_MAX) : -ENOMEM;

	*why = "the file \"pins\" in the cache's folder cannot be read: mend it, or "
	       "remove it";
	if (p) {
		p->cache = c;
		pthread_mutex_init(&p->lock, NULL);
		pthread_cond_init(&p->idle, NULL);
	}
	if (!p || (n < 0 && n != -ENOENT) ||
	    (n > 0 && !names_parse(p, (struct slice){ mem, (size_t)n }))) {
		pins_free(p);
		p = NULL;
	} else if (p->count > 0) {
		p->due = p->held = true;
		cache_hold(c, true);
	}
	free(mem);
	return p;
}

void pins_free(struct pins *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	while (p->busy)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->count; i++)
		free(p->names[i]);
	pthread_cond_destroy(&p->idle);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* Under the lock; p->count if it is not there. */
static unsigned names_find(const struct pins *p, const char *name)
{
	unsigned i = 0;

	while (i < p->count && strcmp(p->names[i], name) != 0)
		i++;
	return i;
}

/* Under the lock. */
static int names_add(struct pins *p, const char *name)
{
	int err;

	if (names_find(p, name) < p->count)
		return 0;
	if (p->count == PINS_MAX)
		return -ENOSPC;
	p->names[p->count] = strdup(name);
	if (!p->names[p->count])
		return -ENOMEM;
	p->count++;
	err = names_write(p);
	if (err < 0)
		free(p->names[--p->count]);
	return err < 0 ? err : 1;
}

int pins_add(struct pins *p, const char *name)
{
	int err;

	pthread_mutex_lock(&p->lock);
	err = names_add(p, name);
	pthread_mutex_unlock(&p->lock);
	__atomic_store_n(&p->due, true, __ATOMIC_RELEASE);
	return err;
}

int pins_remove(struct pins *p, const char *name)
{
	unsigned at;
	char *was;
	int err = 0;

	pthread_mutex_lock(&p->lock);
	at = names_find(p, name);
	if (at < p->count) {
		was = p->names[at];
		p->names[at] = p->names[--p->count];
		err = names_write(p);
		if (err < 0) {
			p->names[p->count++] = p->names[at];
			p->names[at] = was;
		} else {
			free(was);
			err = 1;
		}
	}
	pthread_mutex_unlock(&p->lock);
	__atomic_store_n(&p->due, true, __ATOMIC_RELEASE);
	return err;
}

bool pins_have(struct pins *p, const char *name)
{
	bool have;

	pthread_mutex_lock(&p->lock);
	have = names_find(p, name) < p->count;
	pthread_mutex_unlock(&p->lock);
	return have;
}

bool pins_get(struct pins *p, unsigned i, char out[PIN_NAME_MAX])
{
	bool there;

	pthread_mutex_lock(&p->lock);
	there = i < p->count;
	if (there)
		snprintf(out, PIN_NAME_MAX, "%s", p->names[i]);
	pthread_mutex_unlock(&p->lock);
	return there;
}

/* ---- telling the cache ---- */

static void pin_one(void *arg, struct holding *of)
{
	struct pins *p = arg;

	if (!of->item.pinned)
		cache_pin(p->cache, of->item.kind, &of->item.digest, true);
}

/* A name of a mirror that is not configured any more leads nowhere. */
static void pin_image(struct pins *p, struct holdings *h, const char *name)
{
	const struct config *c = p->setup->config;
	struct arena a;
	struct image_name n;
	const char *why;

	arena_init(&a, 16 * 1024);
	if (image_name_parse(&a, c, slice_of(name), &n, &why)) {
		struct holding_sum sum = { 0 };

		holdings_walk(h, holdings_image(h, c, &n), &sum, pin_one, p);
	}
	arena_fini(&a);
}

static void pins_apply(struct pins *p, struct holdings *h)
{
	char name[PIN_NAME_MAX];

	holdings_begin(h);
	for (unsigned i = 0; pins_get(p, i, name); i++)
		pin_image(p, h, name);
	if (h->failed) /* some parts are not known: let nothing go for it */
		return;
	for (size_t i = 0; i < h->count; i++)
		if (h->v[i].item.pinned && h->v[i].mark != h->marks)
			cache_pin(p->cache, h->v[i].item.kind, &h->v[i].item.digest, false);
	if (p->held) {
		p->held = false;
		cache_hold(p->cache, false);
	}
}

static void pins_work(struct job *job)
{
	struct pins *p = container_of(job, struct pins, job);
	struct holdings *h = holdings_new(p->cache, p->setup->config);

	if (h)
		pins_apply(p, h);
	else
		log_limited(LOG_WARN, "pins=%u are not looked at: no memory", p->count);
	holdings_free(h);
	setup_unref(p->setup);
	pthread_mutex_lock(&p->lock);
	p->busy = false;
	pthread_cond_signal(&p->idle);
	pthread_mutex_unlock(&p->lock);
}

void pins_tick(struct pins *p, struct offload *helpers, struct setup *s, int64_t now_s)
{
	bool due = __atomic_load_n(&p->due, __ATOMIC_ACQUIRE);
	struct cache_totals totals;

	cache_totals(p->cache, &totals);
	pthread_mutex_lock(&p->lock);
	due = due || (p->count > 0 && now_s - p->last_s >= PINS_PERIOD_S);
	due = due && !p->busy && !totals.scanning;
	p->busy = p->busy || due;
	pthread_mutex_unlock(&p->lock);
	if (!due)
		return;
	__atomic_store_n(&p->due, false, __ATOMIC_RELAXED);
	p->last_s = now_s;
	p->setup = setup_ref(s);
	p->job = (struct job){ .work = pins_work };
	offload_submit(helpers, NULL, &p->job);
}
