/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the control socket understands. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/version.h"
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

const struct control_command server_commands[] = {
	{ "reload", 0, 0, do_reload },
	{ "status", 0, 0, do_status },
};
const unsigned server_commands_count = countof(server_commands);
