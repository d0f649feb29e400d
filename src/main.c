/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The command line, and the order in which a server comes up and goes down.  The only file that
 * knows all others.
 *
 * Exit: 0 done; 1 it could not be done, stderr says why; 100 the command line was wrong.  Some
 * commands have more to say: cli/cli.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/version.h"
#include "cli/cli.h"
#include "proxy/oci.h"
#include "proxy/proxy.h"
#include "proxy/small.h"
#include "proxy/crowd.h"
#include "proxy/tally.h"
#include "proxy/tenant.h"
#include "sys/cpus.h"
#include "sys/notify.h"
#include "sys/privs.h"
#include "sys/signals.h"
#include "sys/worker.h"

enum {
	HELPERS_MIN = 2,
	HELPERS_MAX = 4,
	/* Files of the cache that stay open, so that a hit costs no open: a quarter of all. */
	CACHE_FDS_MAX = 64 * 1024,
	CACHE_FDS_SHARE = 4,
	JOIN_POLL_MS = 20,
	STOP_SLACK_MS = 30 * 1000, /* for the disk, when transfers are done */
	MMAP_BYTES = 128 * 1024,   /* what is larger, malloc takes by mmap and gives back */
	CLOCK_MS = 1000,           /* the cache's clock: see cache_clock() */
	RESTART_KEYS_MAX = 32,     /* more than there are */
};

static const char default_file[] = "/etc/sluice/sluice.ini";

/* All zero: nothing is up. */
struct server {
	struct config *config; /* that it was started with */
	struct shared shared;
	const char *suffixes[OCI_TYPES]; /* the cache keeps a pointer to it */
	unsigned long nofile;
	struct cpus cpus;
	struct proxy_listen *listens; /* of worker 0, of worker 1, ...; fd -1: none or given away */
	unsigned listens_each;
	struct privs_user user;
	struct proxy *proxies;
	unsigned proxies_up;
	struct worker *workers;
	bool tls_up;
};

/* Coming up, in this order. */

static bool make_arrays(struct server *s)
{
	const struct conf_server *conf = &s->config->server;
	unsigned n;

	cpus_find(&s->cpus);
	s->shared.access_fd = -1;
	n = conf->workers ? (unsigned)conf->workers : s->cpus.count;
	s->listens_each =
		conf->https.count + conf->http.count + conf->plain.count + conf->admin.count;
	s->listens = calloc((size_t)n * s->listens_each, sizeof(*s->listens));
	s->proxies = calloc(n, sizeof(*s->proxies));
	s->workers = calloc(n, sizeof(*s->workers));
	s->shared.stats = calloc(n, sizeof(*s->shared.stats));
	s->shared.smalls = smalls_new();
	if (!s->listens || !s->proxies || !s->workers || !s->shared.stats || !s->shared.smalls)
		return cli_fail("no memory for %u workers", n);
	s->shared.workers = n;
	s->shared.started_s = time(NULL);
	history_init(&s->shared.history);
	for (unsigned i = 0; i < n * s->listens_each; i++)
		s->listens[i].fd = -1;
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

static cold bool listen_failed(const char *text, int err)
{
	const char *fix = "";

	if (err == -EADDRINUSE)
		fix = "; another process has it: \"ss -ltnp\" shows which";
	else if (err == -EACCES)
		fix = "; ports below 1024 need root (and `user =`) or CAP_NET_BIND_SERVICE";
	else if (err == -EADDRNOTAVAIL)
		fix = "; no interface of this machine has that address";
	return cli_fail("cannot listen at %s: %s%s", text, err_text(err), fix);
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

static bool listen_at(const struct conf_addrs *addrs, enum listener_kind kind,
		      struct tuning *tuning, struct proxy_listen **out)
{
	for (unsigned i = 0; i < addrs->count; i++) {
		const struct conf_addr *at = &addrs->v[i];
		struct addr addr = { .len = at->len };

		addr.in6 = at->in6; /* the larger of the two */
		**out = (struct proxy_listen){ listen_open(&addr, tuning), kind };
		if ((*out)->fd < 0)
			return listen_failed(at->text, (*out)->fd);
		++*out;
	}
	return true;
}

static bool bind_all(struct server *s)
{
	const struct conf_server *conf = &s->config->server;
	struct proxy_listen *next = s->listens;
	struct tuning *t = &s->shared.tuning;

	*t = tuning_of(conf);
	for (unsigned i = 0; i < s->shared.workers; i++)
		if (!listen_at(&conf->https, LISTEN_HTTPS, t, &next) ||
		    !listen_at(&conf->http, LISTEN_HTTP, t, &next) ||
		    !listen_at(&conf->plain, LISTEN_PLAIN, t, &next) ||
		    !listen_at(&conf->admin, LISTEN_ADMIN, t, &next))
			return false;
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

/* Before rights are dropped: without them the kernel would not load its module. */
static bool choose_engine(struct server *s)
{
	const struct conf_server *conf = &s->config->server;

	if (conf->https.count)
		ktls_choose(&s->shared.ktls, (enum ktls_mode)conf->ktls);
	return true;
}

/*
 * After it was renamed.  The descriptor keeps its number and changes the file behind it, at once
 * for all workers; a write that is under way still ends in the old one.
 */
static void reopen_access_log(struct server *s)
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
	if (!name)
		return true;
	err = privs_find_user(name, &s->user);
	if (err < 0)
		return cli_fail("user %s: %s; make it by: useradd --system %s", name, err_text(err),
				name);
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

static void tell_tenants(const struct config *c)
{
	if (c->tenants_count == 0)
		log_info("tenants=0: open to all who can reach it; [tenant NAME] closes it");
	else
		log_info("tenants=%u: closed to everybody else", c->tenants_count);
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
	tell_tenants(s->config);
	return true;
}

static bool make_proxies(struct server *s)
{
	for (unsigned i = 0; i < s->shared.workers; i++) {
		struct proxy_listen *mine = s->listens + (size_t)i * s->listens_each;
		const char *why = NULL;
		int err = proxy_init(&s->proxies[i], &s->shared, mine, s->listens_each, &why);

		if (err < 0)
			return cli_fail("worker %u does not start: %s%s%s", i, err_text(err),
					why ? "; " : "", why ? why : "");
		s->proxies_up++;
		for (unsigned k = 0; k < s->listens_each; k++)
			mine[k].fd = -1;
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

static bool server_up(struct server *s)
{
	int err = signals_init();

	if (err < 0)
		return cli_fail("signals cannot be blocked: %s", err_text(err));
	return make_arrays(s) && load_setup(s) && raise_limits(s) && bind_all(s) &&
	       open_access_log(s) && choose_engine(s) && drop_rights(s) && open_cache(s) &&
	       open_tenants(s) && make_proxies(s) && start_workers(s);
}

/* Running, and going down. */

static void log_messages(const struct config_messages *m, enum log_level level)
{
	for (unsigned i = 0; i < m->count; i++)
		log_line(level, "reload %s", m->text[i]);
}

/* NULL: the log says what is wrong. */
static struct setup *load_again(const struct server *s, const char *file)
{
	struct config_errors errs;
	struct config *c;
	struct setup *setup = NULL;
	char why[512] = "";

	if (config_load(file, &c, &errs) == 0)
		setup = setup_new(c, s->shared.setup, why, sizeof(why));
	log_messages(&errs.errors, LOG_ERR);
	log_messages(&errs.warnings, LOG_WARN);
	config_errors_fini(&errs);
	if (why[0] && !setup)
		log_err("reload %s", why);
	return setup;
}

/* What the new file says of keys that are used at the start alone. */
static void tell_restart(const struct server *s, const struct config *now)
{
	const char *keys[RESTART_KEYS_MAX];
	unsigned n = config_restart_keys(s->config, now, keys, countof(keys));

	for (unsigned i = 0; i < n; i++)
		log_warn("reload key=%s has changed, which takes a restart: the old value goes on",
			 keys[i]);
}

/* All of it, or nothing: then the old one goes on. */
static void reload(struct server *s, const char *file)
{
	struct setup *setup;
	const struct config *c;

	notify_reloading();
	setup = load_again(s, file);
	if (!setup || !proxies_reload(s->proxies, s->proxies_up, setup)) {
		log_err("reload file=%s refused: %s", file,
			setup ? "the workers are not ready for it, try again"
			      : "the old configuration goes on");
		if (setup)
			setup_unref(setup);
		notify_ready("the last reload was refused: the log says why");
		return;
	}
	c = setup->config;
	tell_restart(s, c);
	tell_tenants(c);
	log_set_level((enum log_level)c->server.log_level);
	cache_resize(s->shared.cache, c->cache.size_bytes, c->cache.free_bytes);
	cache_scrub(s->shared.cache, c->cache.scrub_ms / 1000, c->cache.scrub_bytes);
	log_info("reload file=%s mirrors=%u certificates=%u done", file, c->mirrors_count,
		 c->certs_count);
	setup_unref(s->shared.setup);
	s->shared.setup = setup;
	notify_ready("serving");
}

static void tick(struct server *s)
{
	cache_clock(s->shared.cache);
	history_tick(&s->shared.history, s->shared.stats, s->shared.workers);
}

static void wait_for_stop(struct server *s, const char *file)
{
	for (;;) {
		switch (signals_wait(CLOCK_MS)) {
		case SIGNALS_STOP: return;
		case SIGNALS_RELOAD: reload(s, file); break;
		case SIGNALS_REOPEN: reopen_access_log(s); break;
		case SIGNALS_NONE: tick(s); break;
		}
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

/* Legal after any part of server_up(), when no worker runs. */
static void server_down(struct server *s)
{
	for (unsigned i = 0; i < s->proxies_up; i++)
		proxy_fini(&s->proxies[i]);
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
	for (unsigned i = 0; i < s->shared.workers * s->listens_each; i++)
		if (s->listens[i].fd >= 0)
			close(s->listens[i].fd);
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
	free(s->listens);
	config_unref(s->config);
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

/* Commands. */

static int cmd_serve(const struct cli_args *args)
{
	struct server s = { .config = cli_load(args->file) };
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
		notify_ready("serving");
		wait_for_stop(&s, args->file);
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

static int cmd_version(const struct cli_args *args)
{
	(void)args;
	printf("sluice %s\n", version_text());
	return EXIT_SUCCESS;
}

static const struct cli_command commands[] = {
	{ "serve", "c:", 0, cmd_serve, "[-c FILE]", "run the mirror" },
	{ "check", "c:v", 0, cmd_check, "[-c FILE] [-v]",
	  "look for mistakes in the configuration; -v prints all of it as it would be used" },
	{ "verify", "c:j", 0, cmd_verify, "[-c FILE] [--json]",
	  "compare all cached files with their digests; damaged ones go to quarantine" },
	{ "doctor", "c:jv", 0, cmd_doctor, "[-c FILE] [--json] [-v]",
	  "look at this host, the certificates and every upstream; -v: with the event log" },
	{ "clients", "c:j", 1, cmd_clients, "[-c FILE] [--json] [CLIENT]",
	  "what to configure at docker, containerd, podman, k3s, buildkit (CLIENT; absent: all)" },
	{ "version", "", 0, cmd_version, "", "print the version" },
	{ "print", "", 1, cmd_print, "man|commands|completion", NULL },
};

static void usage(FILE *to)
{
	fprintf(to, "sluice %s: a mirror for container registries\n\nusage:\n", version_text());
	for (size_t i = 0; i < countof(commands); i++)
		if (commands[i].help)
			fprintf(to, "  sluice %-7s %-28s %s\n", commands[i].name, commands[i].args,
				commands[i].help);
	fprintf(to, "\nFILE is %s unless given.\n", default_file);
}

static const struct cli_command *command_find(const char *name)
{
	struct slice s = slice_of(name);

	if (slice_eq(s, SLICE("--version")))
		s = SLICE("version");
	for (size_t i = 0; i < countof(commands); i++)
		if (slice_eq(s, slice_of(commands[i].name)))
			return &commands[i];
	return NULL;
}

static bool wants_help(const char *word)
{
	struct slice s = slice_of(word);

	return slice_eq(s, SLICE("help")) || slice_eq(s, SLICE("--help")) ||
	       slice_eq(s, SLICE("-h"));
}

int main(int argc, char **argv)
{
	const struct cli_command *cmd = argc > 1 ? command_find(argv[1]) : NULL;
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	struct cli_args args = { .file = default_file,
				 .commands = commands,
				 .commands_count = countof(commands) };
	bool good = cmd != NULL;
	int option;

	if (argc > 1 && wants_help(argv[argc > 2 ? 2 : 1])) {
		usage(stdout);
		return EXIT_SUCCESS;
	}
	optind = 2;
	opterr = 0;
	while (good && (option = getopt_long(argc, argv, cmd->options, longs, NULL)) != -1) {
		switch (option) {
		case 'c': args.file = optarg; break;
		case 'v': args.verbose = true; break;
		case 'j': good = args.json = strchr(cmd->options, 'j') != NULL; break;
		default: good = false; break;
		}
	}
	args.argc = argc - optind;
	args.argv = argv + optind;
	if (!good || args.argc > cmd->rest_max) {
		usage(stderr);
		return CLI_USAGE;
	}
	return cmd->run(&args);
}
