/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The server: what it is made of, in which order it comes up, and is undone.  All of it belongs to
 * the main thread, which never waits for one thing alone: signals, the control socket and whatever
 * else it looks at come by one poll (serve.c).
 */
#pragma once

#include "config/config.h"
#include "proxy/oci.h"
#include "proxy/proxy.h"
#include "server/control.h"
#include "server/filewatch.h"
#include "server/listens.h"
#include "server/upgrade.h"
#include "sys/cpus.h"
#include "sys/privs.h"
#include "sys/worker.h"

/* All zero: nothing is up. */
struct server {
	const char *file;      /* of the configuration */
	struct config *config; /* that it was started with */
	struct shared shared;
	const char *suffixes[OCI_TYPES]; /* the cache keeps a pointer to it */
	unsigned long nofile;
	struct cpus cpus;
	struct listens listens; /* the descriptors of the first proxies_up workers are theirs */
	struct inherited inherited;
	struct privs_user user;
	struct proxy *proxies;
	unsigned proxies_up;
	struct worker *workers;
	bool tls_up;
	struct control control;
	struct filewatch watch;
	struct upgrade upgrade;
	time_t ticked_s;
};

/* false: stderr says why; server_down() is still due. */
bool server_up(struct server *s) must_check;
/* Legal after any part of server_up(), when no worker runs. */
void server_down(struct server *s);

/*
 * The file is read again: all of it, or nothing, and then the old one goes on.  <call> is told what
 * came of it, beside the log; NULL: nobody waits.
 */
bool server_reload(struct server *s, struct control_call *call);

void server_tell_tenants(const struct config *c);
/* Opens the access log again, after it was renamed. */
void server_reopen(struct server *s);

/* What the control socket understands: commands.c. */
extern const struct control_command server_commands[];
extern const unsigned server_commands_count;

struct cli_args;
int cmd_serve(const struct cli_args *args);
