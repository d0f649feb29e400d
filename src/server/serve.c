/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From the first line of the log to the last. */
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/version.h"
#include "cli/cli.h"
#include "proxy/pins.h"
#include "proxy/tenant.h"
#include "server/server.h"
#include "sys/notify.h"
#include "sys/signals.h"

enum {
	JOIN_POLL_MS = 20,
	STOP_SLACK_MS = 30 * 1000, /* for the disk, when transfers are done */
	MMAP_BYTES = 128 * 1024,   /* what is larger, malloc takes by mmap and gives back */
	CLOCK_MS = 1000,           /* the cache's clock: see cache_clock() */
};

/* As often as it is called, but once a second. */
static void tick(struct server *s)
{
	time_t now_s = time(NULL);

	if (now_s == s->ticked_s)
		return;
	s->ticked_s = now_s;
	cache_clock(s->shared.cache);
	history_tick(&s->shared.history, s->shared.stats, s->shared.workers);
	pins_tick(s->shared.pins, s->shared.helpers, s->shared.setup, now_s);
}

/* Until something comes, at most a tick. */
static void look(struct server *s)
{
	struct pollfd at[] = {
		{ .fd = signals_fd(), .events = POLLIN },
		{ .fd = s->control.server ? s->control.fd : -1, .events = POLLIN },
		{ .fd = s->control.server ? s->control.wake_fd : -1, .events = POLLIN },
		{ .fd = filewatch_fd(&s->watch), .events = POLLIN },
		{ .fd = upgrade_status_fd(&s->upgrade), .events = POLLIN },
		{ .fd = upgrade_said_fd(&s->upgrade), .events = POLLIN },
	};
	int wait_ms = filewatch_wait_ms(&s->watch, CLOCK_MS);

	if (poll(at, countof(at), wait_ms) > 0 && (at[1].revents || at[2].revents))
		control_serve(&s->control);
	if (filewatch_changed(&s->watch, s->file)) {
		log_info("reload a file has changed");
		(void)server_reload(s, NULL);
	}
	upgrade_look(s);
}

static void wait_for_stop(struct server *s)
{
	for (;;) {
		look(s);
		if (s->upgrade.state == UPGRADE_DONE)
			return;
		switch (signals_wait(0)) {
		case SIGNALS_STOP: return;
		case SIGNALS_RELOAD: (void)server_reload(s, NULL); break;
		case SIGNALS_UPGRADE: upgrade_start(s, NULL); break;
		case SIGNALS_REOPEN: server_reopen(s); break;
		case SIGNALS_NONE: break;
		}
		tick(s);
		tenants_tick(s->shared.tenants, s->shared.helpers, time(NULL));
	}
}

static bool all_joined(struct server *s)
{
	bool all = true;

	for (unsigned i = 0; i < s->shared.workers; i++)
		all = worker_try_join(&s->workers[i]) && all;
	return all;
}

/* The proxies bound this by drain_timeout; who cannot wait sends a second signal. */
static void drain(struct server *s)
{
	__atomic_store_n(&s->shared.draining, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < s->proxies_up; i++)
		proxy_drain(&s->proxies[i]);
	while (!all_joined(s)) {
		if (signals_wait(JOIN_POLL_MS) != SIGNALS_STOP)
			continue;
		log_warn("sluice stopped at once by a second signal");
		_exit(EXIT_FAILURE);
	}
}

/*
 * glibc takes the first large block that is freed for a habit, and from then on carves such blocks
 * from heaps, which give nothing back while anything above lies in them: the chunks of fills
 * (FILL_CHUNK) come by mmap for good.
 */
static void keep_memory_small(void)
{
	_Static_assert((int)FILL_CHUNK > (int)MMAP_BYTES, "a chunk goes back to the system");
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
}

int cmd_serve(const struct cli_args *args)
{
	struct server s = { .file = args->file, .config = cli_load(args->file) };
	bool up;

	if (!s.config)
		return EXIT_FAILURE;
	log_set_level((enum log_level)s.config->server.log_level);
	keep_memory_small();
	up = server_up(&s);
	if (up) {
		net_log_engines(&s.proxies[0].net);
		log_info("sluice version=%s workers=%u https=%s ready", version_text(),
			 s.shared.workers,
			 s.config->server.https.count ? s.config->server.https.v[0].text : "-");
		filewatch_set(&s.watch, s.file, s.config);
		upgrade_done(&s);
		notify_ready("serving");
		wait_for_stop(&s);
		control_close(&s.control);
		if (s.upgrade.state != UPGRADE_DONE)
			notify_stopping(s.config->server.drain_timeout_ms + STOP_SLACK_MS);
		log_info("sluice draining timeout_ms=%ju",
			 (uintmax_t)s.config->server.drain_timeout_ms);
		drain(&s);
	} else if (!all_joined(&s)) {
		drain(&s);
	}
	server_down(&s);
	if (up)
		log_info("sluice stopped");
	return up ? EXIT_SUCCESS : EXIT_FAILURE;
}
