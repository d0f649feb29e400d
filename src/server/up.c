/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "proxy/crowd.h"
#include "proxy/pins.h"
#include "proxy/small.h"
#include "proxy/tally.h"
#include "proxy/tenant.h"
#include "sys/signals.h"

enum {
	HELPERS_MIN = 2,
	HELPERS_MAX = 4,
	/* Files of the cache that stay open, so that a hit costs no open: a quarter of all. */
	CACHE_FDS_MAX = 64 * 1024,
	CACHE_FDS_SHARE = 4,
};

static bool make_arrays(struct server *s)
{
	const struct conf_server *conf = &s->config->server;
	unsigned n;

	cpus_find(&s->cpus);
	s->shared.access_fd = -1;
	n = conf->workers ? (unsigned)conf->workers : s->cpus.count;
	s->proxies = calloc(n, sizeof(*s->proxies));
	s->workers = calloc(n, sizeof(*s->workers));
	s->shared.stats = calloc(n, sizeof(*s->shared.stats));
	s->shared.smalls = smalls_new();
	if (!s->proxies || !s->workers || !s->shared.stats || !s->shared.smalls)
		return cli_fail("no memory for %u workers", n);
	s->shared.workers = n;
	s->shared.started_s = time(NULL);
	history_init(&s->shared.history);
	for (unsigned i = 0; i < n; i++)
		s->shared.stats[i] = &s->proxies[i].stats;
	return true;
}

static bool load_setup(struct server *s)
{
	char why[512];

	s->tls_up = tls_global_init() == 0;
	if (!s->tls_up)
		return cli_fail("wolfSSL does not start");
	s->shared.setup = setup_new(config_ref(s->config), NULL, why, sizeof(why));
	return s->shared.setup ? true : cli_fail("%s", why);
}

static bool raise_limits(struct server *s)
{
	const uint64_t conns = s->config->server.conns_max;
	int err = privs_raise_nofile(&s->nofile);

	if (err < 0)
		return cli_fail("the limit of open files cannot be read: %s", err_text(err));
	if (s->nofile < conns)
		log_warn("limit of open files=%lu is less than conns_max=%ju fix=\"LimitNOFILE= of "
			 "the unit, or ulimit -n\"",
			 s->nofile, (uintmax_t)conns);
	return true;
}

/* The kernel takes the option, and ignores it unless a bit is set. */
static void warn_fastopen(void)
{
	FILE *f = fopen("/proc/sys/net/ipv4/tcp_fastopen", "re");
	unsigned bits = 0;

	if (f && fscanf(f, "%u", &bits) == 1 && !(bits & 2))
		log_warn("server fastopen has no effect: net.ipv4.tcp_fastopen=%u; 3 allows it",
			 bits);
	if (f)
		fclose(f);
}

static struct tuning tuning_of(const struct conf_server *conf)
{
	if (conf->fastopen)
		warn_fastopen();
	return (struct tuning){
		.congestion = conf->congestion,
		.sndbuf_bytes = (unsigned)conf->sndbuf_bytes,
		.notsent_bytes = (unsigned)conf->notsent_bytes,
		.pacing_bytes = conf->pacing_bytes,
		.fastopen = (unsigned)conf->fastopen,
	};
}

/*
 * Sockets that share an address must be of one user: the next process, which is not root any more,
 * may have more workers.
 */
static void give_sockets(const struct server *s)
{
	const struct listens *l = &s->listens;

	for (size_t i = 0; i < (size_t)l->workers * l->count; i++)
		if (fchown(l->fds[i].fd, s->user.uid, s->user.gid) < 0)
			log_debug("listen socket stays root's: %s", err_text(-errno));
}

static bool bind_all(struct server *s)
{
	const struct listens none = { 0 };
	const char *user = s->config->server.user;
	char why[512];

	s->shared.tuning = tuning_of(&s->config->server);
	if (!listens_open(&s->listens, s->config, s->shared.workers, &none, &s->inherited,
			  &s->shared.tuning, why, sizeof(why)))
		return cli_fail("%s", why);
	if (user && geteuid() == 0 && privs_find_user(user, &s->user) == 0)
		give_sockets(s);
	return true;
}

static int open_log(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

	return fd < 0 ? -errno : fd;
}

static bool open_access_log(struct server *s)
{
	const struct conf_server *conf = &s->config->server;

	if (conf->access != ACCESS_OFF) {
		s->shared.tallies = tallies_new();
		if (!s->shared.tallies)
			return cli_fail("no memory for the access log");
	}
	switch (conf->access) {
	case ACCESS_OFF: return true;
	case ACCESS_STDOUT: s->shared.access_fd = STDOUT_FILENO; return true;
	case ACCESS_FILE:
		s->shared.access_fd = open_log(conf->access_log);
		if (s->shared.access_fd < 0)
			return cli_fail("cannot write the access log %s: %s", conf->access_log,
					err_text(s->shared.access_fd));
		return true;
	}
	unreachable("a kind of access log");
}

/*
 * After it was renamed.  The descriptor keeps its number and changes the file behind it, at once
 * for all workers; a write that is under way still ends in the old one.
 */
void server_reopen(struct server *s)
{
	const struct conf_server *conf = &s->config->server;
	int fd;

	if (conf->access != ACCESS_FILE)
		return;
	fd = open_log(conf->access_log);
	if (fd < 0 || dup3(fd, s->shared.access_fd, O_CLOEXEC) < 0) {
		log_err("access log file=%s cannot be opened again: %s; the old file goes on",
			conf->access_log, err_text(fd < 0 ? fd : -errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	close(fd);
	log_info("access log file=%s opened again", conf->access_log);
}

/* Before rights are dropped: without them the kernel would not load its module. */
static bool choose_engine(struct server *s)
{
	const struct conf_server *conf = &s->config->server;

	if (conf->https.count)
		ktls_choose(&s->shared.ktls, (enum ktls_mode)conf->ktls);
	return true;
}

/* A folder of our own for a socket; where it is root's, it was made by the unit or by hand. */
static void give_run_folder(const struct server *s)
{
	const char *path = s->config->server.control;
	const char *slash = strrchr(path, '/');
	char *folder = slash && slash > path ? strndup(path, (size_t)(slash - path)) : NULL;

	if (folder && mkdir(folder, 0755) == 0 && s->user.name &&
	    chown(folder, s->user.uid, s->user.gid) < 0)
		log_warn("control folder=%s cannot be given to %s: %s", folder, s->user.name,
			 err_text(-errno));
	free(folder);
}

/* Without it, only signals reach us: a pity, no reason not to serve. */
static bool open_control(struct server *s)
{
	const char *path = s->config->server.control;
	int err;

	if (path[0] != '/') /* off */
		return true;
	if (!s->upgrade.heir && control_is_there(path)) {
		log_warn("control path=%s has another server: this one goes without; give it a "
			 "path of its own, or off",
			 path);
		return true;
	}
	err = control_open(&s->control, path, s, server_commands, server_commands_count);
	if (err == 0 && !s->upgrade.heir) /* else when all is well: upgrade_done() */
		err = control_publish(&s->control, path);
	if (err < 0)
		log_warn("control path=%s cannot be made: %s; sluice reload and others cannot "
			 "reach this server.  fix=\"a folder that the server's user may write, or "
			 "control = off\"",
			 path, err_text(err));
	if (err < 0)
		control_close(&s->control);
	return true;
}

/* The folder is made by root, where the user may not; what is in it is made by the user. */
static bool give_cache(const struct server *s)
{
	const char *path = s->config->cache.path;

	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return cli_fail("cannot make the cache's folder %s: %s", path, err_text(-errno));
	if (chown(path, s->user.uid, s->user.gid) < 0)
		return cli_fail("cannot give the cache's folder %s to %s: %s", path, s->user.name,
				err_text(-errno));
	return true;
}

static bool drop_rights(struct server *s)
{
	const char *name = s->config->server.user;
	int err = privs_no_new();

	if (err < 0)
		return cli_fail("cannot set no_new_privs: %s", err_text(err));
	if (!name) {
		give_run_folder(s);
		return true;
	}
	err = privs_find_user(name, &s->user);
	if (err < 0)
		return cli_fail("user %s: %s; make it by: useradd --system %s", name, err_text(err),
				name);
	give_run_folder(s);
	if (geteuid() == 0 && !give_cache(s))
		return false;
	err = privs_drop(&s->user);
	if (err < 0)
		return cli_fail("cannot become user %s: %s; start as root or as that user", name,
				err_text(err));
	return true;
}

static unsigned clamp(unsigned long n, unsigned min, unsigned max)
{
	return n < min ? min : n > max ? max : (unsigned)n;
}

static bool open_cache(struct server *s)
{
	struct cache_opts opts = {
		.path = s->config->cache.path,
		.size_bytes = s->config->cache.size_bytes,
		.free_bytes = s->config->cache.free_bytes,
		.scrub_s = s->config->cache.scrub_ms / 1000,
		.scrub_bytes = s->config->cache.scrub_bytes,
		.suffixes = s->suffixes,
		.suffixes_count = OCI_TYPES,
		.fds_max = clamp(s->nofile / CACHE_FDS_SHARE, 1, CACHE_FDS_MAX),
	};
	char why[512];
	int err =
		offload_new(&s->shared.helpers, clamp(s->shared.workers, HELPERS_MIN, HELPERS_MAX));

	if (err < 0)
		return cli_fail("no helper threads: %s", err_text(err));
	for (unsigned i = 0; i < OCI_TYPES; i++)
		s->suffixes[i] = oci_types[i].suffix;
	opts.helpers = s->shared.helpers;
	if (cache_open(&s->shared.cache, &opts, why, sizeof(why)) < 0)
		return cli_fail("%s", why);
	return true;
}

void server_tell_tenants(const struct config *c)
{
	if (c->tenants_count == 0)
		log_info("tenants=0: open to all who can reach it; [tenant NAME] closes it");
	else
		log_info("tenants=%u: closed to everybody else", c->tenants_count);
}

/* Before anything can be evicted: what the file names may not be. */
static bool open_pins(struct server *s)
{
	const char *why;

	s->shared.pins = pins_new(s->shared.cache, &why);
	return s->shared.pins ? true : cli_fail("%s", why);
}

/* After open_cache(), which makes the folder. */
static bool open_tenants(struct server *s)
{
	char *path = NULL;

	if (asprintf(&path, "%s/tenants", s->config->cache.path) >= 0)
		s->shared.tenants = tenants_new(path, time(NULL));
	free(path);
	s->shared.crowd = crowd_new();
	if (!s->shared.tenants || !s->shared.crowd || offload_new(&s->shared.passwords, 1) < 0)
		return cli_fail("no memory for tenants");
	server_tell_tenants(s->config);
	return true;
}

static bool make_proxies(struct server *s)
{
	for (unsigned i = 0; i < s->shared.workers; i++) {
		const struct proxy_listen *mine = s->listens.fds + (size_t)i * s->listens.count;
		const char *why = NULL;
		int err = proxy_init(&s->proxies[i], &s->shared, mine, s->listens.count, &why);

		if (err < 0)
			return cli_fail("worker %u does not start: %s%s%s", i, err_text(err),
					why ? "; " : "", why ? why : "");
		s->proxies_up++;
	}
	return true;
}

static void worker_run(void *arg)
{
	struct proxy *p = arg;

	proxy_start(p);
	loop_run(p->loop);
}

static bool start_workers(struct server *s)
{
	const bool whole_cores = s->cpus.count == s->cpus.mask_count;
	const bool pin = whole_cores && s->shared.workers <= s->cpus.count;

	for (unsigned i = 0; i < s->shared.workers; i++) {
		int err = worker_start(&s->workers[i], i, pin ? &s->cpus : NULL, worker_run,
				       &s->proxies[i]);

		if (err < 0)
			return cli_fail("no thread for worker %u: %s", i, err_text(err));
	}
	return true;
}

bool server_up(struct server *s)
{
	int err = signals_init();

	if (err < 0)
		return cli_fail("signals cannot be blocked: %s", err_text(err));
	upgrade_inherit(s);
	return make_arrays(s) && load_setup(s) && raise_limits(s) && bind_all(s) &&
	       open_access_log(s) && choose_engine(s) && drop_rights(s) && open_control(s) &&
	       open_cache(s) && open_pins(s) && open_tenants(s) && make_proxies(s) &&
	       start_workers(s);
}

void server_down(struct server *s)
{
	control_close(&s->control);
	filewatch_close(&s->watch);
	upgrade_fini(&s->upgrade);
	free(s->inherited.fds);
	for (unsigned i = 0; i < s->proxies_up; i++)
		proxy_fini(&s->proxies[i]);
	pins_free(s->shared.pins);
	if (s->shared.cache)
		cache_close(s->shared.cache);
	if (s->shared.helpers)
		offload_free(s->shared.helpers);
	if (s->shared.passwords)
		offload_free(s->shared.passwords);
	if (s->shared.tenants)
		tenants_free(s->shared.tenants);
	crowd_free(s->shared.crowd);
	if (s->shared.access_fd > STDERR_FILENO)
		close(s->shared.access_fd);
	listens_free(&s->listens); /* what nobody took is closed by the end of the process */
	if (s->shared.setup)
		setup_unref(s->shared.setup);
	if (s->tls_up)
		tls_global_fini();
	tallies_free(s->shared.tallies);
	if (s->shared.smalls)
		smalls_free(s->shared.smalls);
	free(s->shared.stats);
	free(s->workers);
	free(s->proxies);
	config_unref(s->config);
}
