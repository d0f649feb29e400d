/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * sluice-tune: looks at the host, and changes it when asked.  A program of its own, since the
 * server has no business with root's rights.
 *
 * Exit: 0 all is good; 1 check: something to apply; 2 something is impossible here; 3 it could not
 * be done, stderr says why; 100 the command line was wrong.
 */
#include "tune/tune.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "base/version.h"
#include "tune/apply.h"
#include "tune/probe.h"
#include "tune/report.h"
#include "tune/watch.h"

static const char usage[] =
	"usage: sluice-tune [check] [--json]           how this host is set up for a mirror\n"
	"       sluice-tune apply [--persist] [--dry-run]   change what differs\n"
	"           --persist: also at the next start, by own files in /etc/sysctl.d and\n"
	"           /etc/modules-load.d; --dry-run: only say what would be done\n"
	"       sluice-tune undo [--dry-run]           restore what was there before\n"
	"       sluice-tune probe HOST:PORT [--bytes N]\n"
	"           a connection with each congestion control sends N bytes (1M); at the\n"
	"           other end: nc -l 9000 >/dev/null\n"
	"       sluice-tune watch [--interval TIME] [--count N]   Sluice's live connections\n"
	"       sluice-tune profile NAME               a profile as a file for sysctl.d\n"
	"       sluice-tune version\n"
	"Sizes of buffers, for check and apply:\n"
	"  --profile NAME      vps-1g (1 Gbit/s, what goes without it) or vps-10g\n"
	"  --rtt TIME          to far clients or registries; 200ms goes without it\n"
	"  --bandwidth RATE    as 100mbit, 2.5gbit\n"
	"  --root DIR          a made-up host: its files are below DIR\n";

enum { INTERVAL_MS = 2000, INTERVAL_MAX_MS = 3600 * 1000 };

enum {
	OPT_PROFILE = 256,
	OPT_RTT,
	OPT_BANDWIDTH,
	OPT_ROOT,
	OPT_JSON,
	OPT_PERSIST,
	OPT_DRY_RUN,
	OPT_BYTES,
	OPT_INTERVAL,
	OPT_COUNT,
	OPT_HELP
};

static const struct option options[] = {
	{ "profile", required_argument, NULL, OPT_PROFILE },
	{ "rtt", required_argument, NULL, OPT_RTT },
	{ "bandwidth", required_argument, NULL, OPT_BANDWIDTH },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "persist", no_argument, NULL, OPT_PERSIST },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "bytes", required_argument, NULL, OPT_BYTES },
	{ "interval", required_argument, NULL, OPT_INTERVAL },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static cold bool wrong(const char *what, const char *value, const char *rule)
{
	report_fail("%s %s: %s", what, value, rule);
	return false;
}

static bool take_option(struct tune_options *o, int option, const char *value)
{
	const struct profile *p;

	switch (option) {
	case OPT_PROFILE:
		p = profile_find(value);
		if (!p)
			return wrong("--profile", value, "there are vps-1g and vps-10g");
		o->bandwidth = p->bandwidth;
		return true;
	case OPT_RTT:
		if (!units_parse_ms(slice_of(value), &o->rtt_ms) || o->rtt_ms < 1 ||
		    o->rtt_ms > BDP_RTT_MAX_MS)
			return wrong("--rtt", value, "a time of 1ms to 5s, as 200ms");
		return true;
	case OPT_BANDWIDTH:
		if (!bdp_parse_bandwidth(slice_of(value), &o->bandwidth))
			return wrong("--bandwidth", value,
				     "1mbit to 400gbit, as 100mbit or 2.5gbit");
		return true;
	case OPT_ROOT:
		if (value[0] != '/')
			return wrong("--root", value, "a path that begins with /");
		o->root = strcmp(value, "/") == 0 ? "" : value;
		return true;
	case OPT_BYTES:
		if (!units_parse_bytes(slice_of(value), &o->bytes) || o->bytes < 1 ||
		    o->bytes > PROBE_BYTES_MAX)
			return wrong("--bytes", value, "1 to 1G, as 8M");
		return true;
	case OPT_INTERVAL:
		if (!units_parse_ms(slice_of(value), &o->interval_ms) || o->interval_ms < 100 ||
		    o->interval_ms > INTERVAL_MAX_MS)
			return wrong("--interval", value, "a time of 100ms to 1h, as 2s");
		return true;
	case OPT_COUNT:
		if (!units_parse_uint(slice_of(value), &o->count) || o->count < 1)
			return wrong("--count", value, "a number from 1 on");
		return true;
	case OPT_JSON: o->json = true; return true;
	case OPT_PERSIST: o->persist = true; return true;
	case OPT_DRY_RUN: o->dry_run = true; return true;
	default: return false;
	}
}

static int check(const struct tune_options *o, const char *argument)
{
	static struct findings found;
	static struct host h;

	(void)argument;
	if (!host_find(&h, o->root, o->rtt_ms, o->bandwidth))
		return report_fail("%s/proc/meminfo does not tell how much memory there is",
				   o->root);
	host_check(&h, &found);
	(o->json ? report_json : report_text)(stdout, &h, &found);
	return report_status(&found);
}

static int apply(const struct tune_options *o, const char *argument)
{
	(void)argument;
	return apply_run(o);
}

static int undo(const struct tune_options *o, const char *argument)
{
	(void)argument;
	return apply_undo(o);
}

static int watch(const struct tune_options *o, const char *argument)
{
	(void)argument;
	return watch_run(o);
}

static int print_profile(const struct tune_options *o, const char *name)
{
	const struct profile *p = profile_find(name);
	char text[16 * 1024];

	(void)o;
	if (!p) {
		wrong("profile", name, "there are vps-1g and vps-10g");
		return EXIT_USAGE;
	}
	if (profile_format(p, text, sizeof(text)) >= sizeof(text))
		unreachable("a profile fits");
	fputs(text, stdout);
	return EXIT_DONE;
}

static int print_version(const struct tune_options *o, const char *argument)
{
	(void)o;
	(void)argument;
	printf("sluice-tune %s\n", version_text());
	return EXIT_DONE;
}

static const struct command {
	const char *name;
	bool argument; /* takes one */
	int (*run)(const struct tune_options *o, const char *argument);
} commands[] = {
	{ "check", false, check },
	{ "apply", false, apply },
	{ "undo", false, undo },
	{ "probe", true, probe_run },
	{ "watch", false, watch },
	{ "profile", true, print_profile },
	{ "version", false, print_version },
};

static cold int misused(void)
{
	fputs(usage, stderr);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct tune_options o = {
		.root = "",
		.rtt_ms = PROFILE_RTT_MS,
		.bandwidth = profiles[0].bandwidth,
		.bytes = PROBE_BYTES,
		.interval_ms = INTERVAL_MS,
	};
	const char *name, *argument;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h' || option == OPT_HELP) {
			fputs(usage, stdout);
			return EXIT_DONE;
		}
		if (option == '?' || !take_option(&o, option, optarg))
			return EXIT_USAGE;
	}
	name = optind < argc ? argv[optind++] : "check";
	argument = optind < argc ? argv[optind++] : NULL;
	for (unsigned i = 0; i < countof(commands); i++)
		if (strcmp(name, commands[i].name) == 0) {
			int status;

			if (commands[i].argument != (argument != NULL) || optind < argc)
				return misused();
			status = commands[i].run(&o, argument);
			return fflush(stdout) == 0 ? status : EXIT_FAILED;
		}
	report_fail("%s: no such command", name);
	return misused();
}
