/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the control socket understands. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/version.h"
#include "proxy/guest.h"
#include "proxy/manage.h"
#include "server/server.h"

static int reload_now(struct server *s, struct control_call *call)
{
	return server_reload(s, call) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int do_reload(struct server *s, struct control_call *call)
{
	(void)s;
	return control_on_main(call, reload_now);
}

static int do_upgrade(struct server *s, struct control_call *call)
{
	(void)s;
	return control_on_main(call, upgrade_start);
}

static int do_status(struct server *s, struct control_call *call)
{
	char line[512];
	int n = snprintf(line, sizeof(line),
			 "{\"version\":\"%s\",\"pid\":%d,\"uptime_s\":%jd,\"workers\":%u}",
			 version_text(), getpid(), (intmax_t)(time(NULL) - s->shared.started_s),
			 s->shared.workers);

	control_line(call, line, (size_t)n);
	return EXIT_SUCCESS;
}

/* ---- what manages the cache: proxy/manage.h ---- */

static int take_setup(struct server *s, struct control_call *call)
{
	call->data = setup_ref(s->shared.setup);
	return EXIT_SUCCESS;
}

static bool manage_line(void *ctx, const char *json)
{
	control_line(ctx, json, strlen(json));
	return control_goes_on(ctx);
}

/* <word>: NULL where the command has none. */
static int manage(struct server *s, struct control_call *call,
		  bool (*run)(struct manage *m, const char *word))
{
	struct manage m = { .shared = &s->shared, .line = manage_line, .ctx = call };
	bool ok;

	if (control_on_main(call, take_setup) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	m.setup = call->data;
	ok = run(&m, call->argc > 1 ? call->argv[1] : NULL);
	setup_unref(call->data);
	if (!ok)
		control_say(call, "error", "%s", m.why);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool run_state(struct manage *m, const char *word)
{
	(void)word;
	return manage_status(m);
}

static bool run_du(struct manage *m, const char *word)
{
	(void)word;
	return manage_du(m);
}

static bool run_pins(struct manage *m, const char *word)
{
	(void)word;
	return manage_pins(m);
}

static bool run_pin(struct manage *m, const char *word)
{
	return manage_pin(m, word, true);
}

static bool run_unpin(struct manage *m, const char *word)
{
	return manage_pin(m, word, false);
}

static int do_state(struct server *s, struct control_call *call)
{
	return manage(s, call, run_state);
}

static int do_ls(struct server *s, struct control_call *call)
{
	return manage(s, call, manage_ls);
}

static int do_du(struct server *s, struct control_call *call)
{
	return manage(s, call, run_du);
}

static int do_pins(struct server *s, struct control_call *call)
{
	return manage(s, call, run_pins);
}

static int do_pin(struct server *s, struct control_call *call)
{
	return manage(s, call, run_pin);
}

static int do_unpin(struct server *s, struct control_call *call)
{
	return manage(s, call, run_unpin);
}

static int do_purge(struct server *s, struct control_call *call)
{
	return manage(s, call, manage_purge);
}

/* Who asked gets one end of a connection, and speaks HTTP to the worker at the other. */
static int do_channel(struct server *s, struct control_call *call)
{
	static unsigned turn; /* atomic */
	unsigned i = __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) % s->shared.workers;
	int ends[2];
	bool ok;

	if (__atomic_load_n(&s->shared.draining, __ATOMIC_RELAXED)) {
		control_say(call, "error", "the server is stopping");
		return EXIT_FAILURE;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		control_say(call, "error", "no connection: %s", err_text(-errno));
		return EXIT_FAILURE;
	}
	ok = fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 &&
	     control_give(call, "{\"channel\":true}", ends[1]);
	close(ends[1]);
	if (!ok)
		close(ends[0]);
	else
		ok = guest_begin(&s->proxies[i], ends[0]);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

const struct control_command server_commands[] = {
	{ "state", 0, 0, do_state },     { "ls", 1, 1, do_ls },
	{ "du", 0, 0, do_du },           { "pins", 0, 0, do_pins },
	{ "pin", 1, 1, do_pin },         { "unpin", 1, 1, do_unpin },
	{ "purge", 1, 1, do_purge },     { "channel", 0, 0, do_channel },
	{ "reload", 0, 0, do_reload },   { "status", 0, 0, do_status },
	{ "upgrade", 0, 0, do_upgrade },
};
const unsigned server_commands_count = countof(server_commands);
