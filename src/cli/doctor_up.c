/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Upstreams are asked by the same code as a server's: a worker of its own without listeners, cache
 * or log, on this thread.  Some at a time, in the order of the configuration, and told of in it.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/doctor.h"
#include "config/known.h"
#include "net/addr.h"
#include "proxy/checkup.h"
#include "proxy/proxy.h"
#include "proxy/small.h"

enum {
	AT_ONCE = 16,
	OWN_NAMES_MAX = 64, /* of ours that are looked up; more are said to be left out */
};

struct own_name {
	struct resolve q;
	struct look *look;
	const char *host;
	bool done;
	int err;
};

struct look {
	struct findings *findings;
	struct shared shared;
	struct proxy proxy;
	struct stats *stats[1];
	struct checkup *checkups;
	unsigned count;
	unsigned next;
	unsigned running;
	struct own_name *names;
	unsigned names_count;
	unsigned names_left_out;
};

/* ---- what there is to be asked ---- */

static const char *image_of(const struct conf_mirror *m)
{
	const struct known_registry *known = known_by_name(m->name);

	return m->probe_image ? m->probe_image : known ? known->image : NULL;
}

static void look_done(struct look *l);

static void checkup_done(struct checkup *c)
{
	struct look *l = container_of(c->proxy, struct look, proxy);

	l->running--;
	look_done(l);
}

static bool add_checkups(struct look *l)
{
	const struct generation *g = l->proxy.generation;
	const unsigned mirrors = l->proxy.config->mirrors_count; /* passthroughs come after them */
	unsigned n = 0;

	for (unsigned i = 0; i < mirrors; i++)
		n += g->mirrors[i].ups_count;
	l->checkups = calloc(n + 1, sizeof(*l->checkups));
	if (!l->checkups)
		return false;
	for (unsigned i = 0; i < mirrors; i++)
		for (unsigned u = 0; u < g->mirrors[i].ups_count; u++)
			l->checkups[l->count++] = (struct checkup){
				.proxy = &l->proxy,
				.mirror = &g->mirrors[i],
				.up = u,
				.image = image_of(g->mirrors[i].conf),
				.done = checkup_done,
			};
	return true;
}

static void add_names(struct look *l, const struct conf_names *names)
{
	for (unsigned i = 0; i < names->count; i++) {
		if (l->names_count == OWN_NAMES_MAX) {
			l->names_left_out++;
			continue;
		}
		l->names[l->names_count].look = l;
		l->names[l->names_count++].host = names->v[i];
	}
}

static bool add_own_names(struct look *l)
{
	const struct config *c = l->proxy.config;

	l->names = calloc(OWN_NAMES_MAX, sizeof(*l->names));
	if (!l->names)
		return false;
	add_names(l, &c->server.hosts);
	for (unsigned i = 0; i < c->mirrors_count; i++)
		add_names(l, &c->mirrors[i].hosts);
	return true;
}

/* ---- asking ---- */

/* Goes on, or ends the loop when nothing is left. */
static void look_done(struct look *l)
{
	while (l->next < l->count && l->running < AT_ONCE) {
		l->running++;
		checkup_start(&l->checkups[l->next++]);
	}
	if (l->running == 0) {
		for (unsigned i = 0; i < l->count; i++)
			checkup_fini(&l->checkups[i]);
		proxy_drain(&l->proxy);
	}
}

static void name_done(struct resolve *q, int err)
{
	struct own_name *n = container_of(q, struct own_name, q);

	n->err = err;
	n->look->running--;
	look_done(n->look);
}

static void look_start(struct look *l)
{
	l->running = l->names_count;
	for (unsigned i = 0; i < l->names_count; i++) {
		l->names[i].q.done = name_done;
		resolve_start(l->proxy.resolver, &l->names[i].q, l->names[i].host, 443);
	}
	if (l->running == 0)
		look_done(l);
}

static bool look_up(struct look *l, struct config *c, char *why, size_t why_len)
{
	const char *text = NULL;
	int err;

	l->shared.access_fd = -1;
	l->shared.workers = 1;
	l->stats[0] = &l->proxy.stats;
	l->shared.stats = l->stats;
	l->shared.smalls = smalls_new();
	l->shared.setup = setup_upstreams(config_ref(c), why, why_len);
	if (!l->shared.smalls || !l->shared.setup)
		return false;
	err = proxy_init(&l->proxy, &l->shared, NULL, 0, &text);
	if (err < 0)
		snprintf(why, why_len, "%s; %s", err_text(err), text ? text : "");
	return err == 0;
}

/* ---- telling ---- */

static void tell_names(const struct look *l)
{
	char text[ADDR_TEXT_MAX];

	for (unsigned i = 0; i < l->names_count; i++) {
		const struct own_name *n = &l->names[i];

		if (n->err || n->q.count == 0) {
			found(l->findings, FOUND_NOTE, "Names", "dns",
			      "%s has no address here (%s): clients must find one.", n->host,
			      err_text(n->err ? n->err : ERR_DNS));
			continue;
		}
		addr_format_ip(&n->q.addrs[0], text);
		found(l->findings, FOUND_WELL, "Names", "dns", "%s is at %s%s.", n->host, text,
		      n->q.count > 1 ? " and more" : "");
	}
	if (l->names_left_out)
		found(l->findings, FOUND_NOTE, "Names", "dns", "%u more names were not looked up.",
		      l->names_left_out);
}

enum { CLOCK_NOTE_S = 30, CLOCK_WRONG_S = 300 };

/* The registry whose clock is nearest to ours says how wrong ours is at least. */
static void tell_clock(const struct look *l)
{
	const struct checkup *best = NULL;
	int64_t off = INT64_MAX;

	for (unsigned i = 0; i < l->count; i++) {
		const struct checkup *c = &l->checkups[i];

		if (c->date_s && llabs(c->asked_s - c->date_s) < llabs(off)) {
			off = c->asked_s - c->date_s;
			best = c;
		}
	}
	if (!best)
		return;
	if (llabs(off) < CLOCK_NOTE_S)
		found(l->findings, FOUND_WELL, "This host", "clock",
		      "The clock agrees with that of %s.", best->mirror->ups[best->up].conf->host);
	else
		found(l->findings, llabs(off) < CLOCK_WRONG_S ? FOUND_NOTE : FOUND_WRONG,
		      "This host", "clock",
		      "The clock is %lld s %s that of %s, and others are no nearer: certificates "
		      "and tokens go by it.",
		      (long long)llabs(off), off > 0 ? "ahead of" : "behind",
		      best->mirror->ups[best->up].conf->host);
}

static void look_free(struct look *l)
{
	if (l->shared.setup)
		setup_unref(l->shared.setup);
	if (l->shared.smalls)
		smalls_free(l->shared.smalls);
	free(l->checkups);
	free(l->names);
	free(l);
}

void doctor_upstreams(struct findings *f, struct config *c)
{
	struct look *l = calloc(1, sizeof(*l));
	char why[512] = "no memory";
	bool up = false;

	if (l) {
		l->findings = f;
		up = look_up(l, c, why, sizeof(why)) && add_checkups(l) && add_own_names(l);
	}
	if (up) {
		look_start(l);
		loop_run(l->proxy.loop);
		tell_clock(l);
		tell_names(l);
		for (unsigned i = 0; i < l->count; i++)
			doctor_tell(f, &l->checkups[i]);
		proxy_fini(&l->proxy);
	} else {
		found(f, FOUND_UNKNOWN, "Upstreams", "start", "They could not be asked: %s.", why);
	}
	if (l)
		look_free(l);
}
