/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "server/server.h"
#include "sys/notify.h"

enum {
	RESTART_KEYS_MAX = 32, /* more than there are */
	TEXT_MAX = 2048,
};

/* To the log, and to who asked. */
static printf_like(3, 4) void tell(struct control_call *call, enum log_level level, const char *fmt,
				   ...)
{
	static const char *const keys[] = { "error", "warning", "message", "message" };
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_line(level, "reload %s", text);
	if (call)
		control_say(call, keys[level], "%s", text);
}

static void tell_messages(struct control_call *call, const struct config_messages *m,
			  enum log_level level)
{
	for (unsigned i = 0; i < m->count; i++)
		tell(call, level, "%s", m->text[i]);
}

/* NULL: it was told what is wrong. */
static struct setup *load_again(const struct server *s, struct control_call *call)
{
	struct config_errors errs;
	struct config *c;
	struct setup *setup = NULL;
	char why[512] = "";

	if (config_load(s->file, &c, &errs) == 0)
		setup = setup_new(c, s->shared.setup, why, sizeof(why));
	tell_messages(call, &errs.errors, LOG_ERR);
	tell_messages(call, &errs.warnings, LOG_WARN);
	config_errors_fini(&errs);
	if (why[0] && !setup)
		tell(call, LOG_ERR, "%s", why);
	return setup;
}

/* What the new file says of keys that are used at the start alone. */
static void tell_restart(const struct server *s, const struct config *now,
			 struct control_call *call)
{
	const char *keys[RESTART_KEYS_MAX];
	unsigned n = config_restart_keys(s->config, now, keys, countof(keys));

	for (unsigned i = 0; i < n; i++)
		tell(call, LOG_WARN,
		     "key=%s has changed, which takes a restart or sluice upgrade: the old value "
		     "goes on",
		     keys[i]);
}

static bool refuse(struct server *s, struct control_call *call, const char *why)
{
	tell(call, LOG_ERR, "file=%s refused: %s", s->file, why);
	notify_ready("the last reload was refused: the log says why");
	return false;
}

bool server_reload(struct server *s, struct control_call *call)
{
	struct setup *setup;
	const struct config *c;
	struct listens next;
	char why[512];

	notify_reloading();
	filewatch_seen(&s->watch, s->file);
	setup = load_again(s, call);
	if (!setup)
		return refuse(s, call, "the old configuration goes on");
	c = setup->config;
	if (!listens_open(&next, c, s->shared.workers, &s->listens, NULL, &s->shared.tuning, why,
			  sizeof(why))) {
		setup_unref(setup);
		tell(call, LOG_ERR, "%s", why);
		return refuse(s, call, "the old configuration goes on");
	}
	if (!proxies_reload(s->proxies, s->proxies_up, setup, next.fds, next.count)) {
		listens_close(&next, &s->listens);
		filewatch_again(&s->watch);
		setup_unref(setup);
		return refuse(s, call, "the workers are not ready for it, try again");
	}
	listens_free(&s->listens);
	s->listens = next;
	filewatch_set(&s->watch, s->file, setup->config);
	tell_restart(s, c, call);
	server_tell_tenants(c);
	log_set_level((enum log_level)c->server.log_level);
	cache_resize(s->shared.cache, c->cache.size_bytes, c->cache.free_bytes);
	cache_scrub(s->shared.cache, c->cache.scrub_ms / 1000, c->cache.scrub_bytes);
	tell(call, LOG_INFO, "file=%s mirrors=%u certificates=%u done", s->file, c->mirrors_count,
	     c->certs_count);
	setup_unref(s->shared.setup);
	s->shared.setup = setup;
	notify_ready("serving");
	return true;
}
