/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/units.h"
#include "tune/looks.h"

#define KIB (1024ull)
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

const char *const verdict_names[VERDICT_COUNT] = {
	[VERDICT_OK] = "ok",
	[VERDICT_APPLY] = "apply",
	[VERDICT_ADVICE] = "advice",
	[VERDICT_IMPOSSIBLE] = "impossible",
};

const struct profile profiles[] = {
	{ "vps-1g", 1000 * BDP_MBIT, 1 * GIB },
	{ "vps-10g", 10000 * BDP_MBIT, 8 * GIB },
};
const unsigned profiles_count = countof(profiles);

/* clang-format off */
const struct setting settings[] = {
	{ "kernel", .look = look_kernel,
	  .why = "Sluice needs what io_uring has from 6.1 on" },
	{ "io_uring", .look = look_io_uring,
	  .why = "all of Sluice's input and output goes through it" },
	{ "container", .look = look_container,
	  .why = "in one, many settings are the host's" },

	{ "module tcp_bbr", .word = "tcp_bbr", .look = look_module,
	  .why = "BBR; only root (CAP_NET_ADMIN) makes the kernel load it" },
	{ "module sch_fq", .word = "sch_fq", .look = look_module,
	  .why = "fq paces what BBR sends; only root makes the kernel load it" },
	{ "module tls", .word = "tls", .optional = true, .look = look_module,
	  .why = "kernel TLS; Sluice does without it so far" },

	{ "net.ipv4.tcp_congestion_control", RULE_IS, .word = "bbr", .module = "tcp_bbr",
	  .why = "keeps its rate on lines with loss, where CUBIC halves it" },
	{ "net.ipv4.tcp_allowed_congestion_control", RULE_HAS, .word = "bbr",
	  .module = "tcp_bbr", .live = true, .optional = true,
	  .why = "what a program without rights may choose for a socket" },
	{ "net.core.default_qdisc", RULE_IS, .word = "fq", .module = "sch_fq",
	  .why = "of interfaces that come up from now on: paces without a timer for each socket" },
	{ "qdisc", .word = "fq", .module = "sch_fq", .look = look_qdisc,
	  .why = "what the interface has now: the default counts only for new ones" },

	{ "net.core.rmem_max", RULE_LEAST,
	  .why = "the largest receive buffer that a program may ask for (rcvbuf)" },
	{ "net.core.wmem_max", RULE_LEAST,
	  .why = "the largest send buffer that a program may ask for (sndbuf)" },
	{ "net.ipv4.tcp_rmem", RULE_TRIPLE, .word = "4096 131072",
	  .why = "up to which the kernel lets a receive buffer grow: pulls from far registries" },
	{ "net.ipv4.tcp_wmem", RULE_TRIPLE, .word = "4096 16384",
	  .why = "up to which the kernel lets a send buffer grow: clients far away" },
	{ "net.ipv4.tcp_notsent_lowat", RULE_MOST, 128 * KIB,
	  .why = "unsent bytes beyond this wait in Sluice, not in the kernel's memory" },
	{ "net.ipv4.tcp_slow_start_after_idle", RULE_MOST, 0,
	  .why = "a connection that waited goes on at the rate it had" },
	{ "net.ipv4.tcp_mtu_probing", RULE_LEAST, 1,
	  .why = "finds a way out when a router drops large packets without a word" },
	{ "net.core.somaxconn", RULE_LEAST, 4096,
	  .why = "connections that wait to be accepted: Sluice asks for 4096" },
	{ "net.ipv4.tcp_max_syn_backlog", RULE_LEAST, 4096,
	  .why = "connections in the middle of their handshake, for bursts of clients" },
	{ "net.ipv4.ip_local_port_range", RULE_PORTS, 28000, .word = "32768 60999",
	  .live = true,
	  .why = "one port for each connection to the same upstream" },
	{ "net.ipv4.tcp_max_tw_buckets", RULE_LEAST, 16384, .live = true,
	  .why = "closed connections that still wait for late packets; beyond it they do not" },
	{ "time-wait", .look = look_time_wait,
	  .why = "how many of those there are now" },

	{ "fs.file-max", RULE_LEAST, 262144, .live = true,
	  .why = "open files of the whole host" },
	{ "fs.nr_open", RULE_LEAST, 262144, .live = true,
	  .why = "the most that a process may be allowed to open" },
	{ "open files", .number = 65536, .look = look_nofile,
	  .why = "a connection and a cached file take one each (LimitNOFILE= of the unit)" },
	{ "fs.pipe-user-pages-soft", RULE_ZERO_OR_LEAST, 65536, .optional = true,
	  .why = "beyond it a new pipe is two pages small: 1,024 pipes of 256 KiB" },

	{ "initcwnd", .number = 10, .look = look_initcwnd,
	  .why = "packets of a first flight; a fill or a blob soon grows beyond it" },
	{ "queues", .look = look_queues,
	  .why = "one core for each queue takes in packets" },
	{ "rps", .look = look_rps,
	  .why = "spreads the packets of a single queue over the cores" },
	{ "xps", .look = look_xps,
	  .why = "each core sends by its own queue" },
	{ "offloads", .look = look_offloads,
	  .why = "packets of 64 KB until the card: GRO, GSO, TSO" },
	{ "clock", .look = look_clock,
	  .why = "certificates and tokens end by it; reading it should be cheap" },
	{ "ipv6", .look = look_ipv6,
	  .why = "a second way to registries, and to clients that have no other" },
};
/* clang-format on */
const unsigned settings_count = countof(settings);

const struct profile *profile_find(const char *name)
{
	for (unsigned i = 0; i < profiles_count; i++)
		if (strcmp(name, profiles[i].name) == 0)
			return &profiles[i];
	return NULL;
}

const struct setting *setting_find(const char *name)
{
	for (unsigned i = 0; i < settings_count; i++)
		if (strcmp(name, settings[i].name) == 0)
			return &settings[i];
	return NULL;
}

void setting_path(const struct setting *s, char out[HOST_PATH_MAX])
{
	int len = snprintf(out, HOST_PATH_MAX, "/proc/sys/%s", s->name);

	assert(s->rule != RULE_NONE);
	assert(len < HOST_PATH_MAX);
	for (char *p = out; *p; p++)
		if (*p == '.')
			*p = '/';
}

bool words_have(const char *list, struct slice word)
{
	struct slice rest = slice_of(list);

	while (rest.len)
		if (slice_eq(slice_cut(&rest, ' '), word))
			return true;
	return false;
}

static bool triple_is_good(uint64_t least, const char *first_two, const char *now,
			   char wanted[HOST_VALUE_MAX])
{
	struct slice rest = slice_of(now);
	struct slice min = slice_cut(&rest, ' '), mid = slice_cut(&rest, ' ');
	uint64_t a, b, max;

	if (!units_parse_uint(min, &a) || !units_parse_uint(mid, &b) ||
	    !units_parse_uint(rest, &max)) {
		snprintf(wanted, HOST_VALUE_MAX, "%s %" PRIu64, first_two, least);
		return false;
	}
	snprintf(wanted, HOST_VALUE_MAX, "%" PRIu64 " %" PRIu64 " %" PRIu64, a, b, least);
	return max >= least;
}

static bool ports_are_good(uint64_t least, const char *now)
{
	struct slice rest = slice_of(now), first = slice_cut(&rest, ' ');
	uint64_t a, b;

	return units_parse_uint(first, &a) && units_parse_uint(rest, &b) && b >= a &&
	       b - a + 1 >= least;
}

bool setting_is_good(const struct setting *s, uint64_t buffer_bytes, const char *now,
		     char wanted[HOST_VALUE_MAX])
{
	const bool sized = s->rule == RULE_TRIPLE || s->rule == RULE_LEAST;
	const uint64_t number = sized && s->number == 0 ? buffer_bytes : s->number;
	uint64_t n;
	bool known = units_parse_uint(slice_of(now), &n);

	snprintf(wanted, HOST_VALUE_MAX, "%" PRIu64, number);
	switch (s->rule) {
	case RULE_NONE: break;
	case RULE_LEAST: return known && n >= number;
	case RULE_MOST: return known && n <= number;
	case RULE_ZERO_OR_LEAST: return known && (n == 0 || n >= number);
	case RULE_TRIPLE: return triple_is_good(number, s->word, now, wanted);
	case RULE_IS:
		snprintf(wanted, HOST_VALUE_MAX, "%s", s->word);
		return strcmp(now, s->word) == 0;
	case RULE_HAS:
		snprintf(wanted, HOST_VALUE_MAX, "%s%s%s", now, now[0] ? " " : "", s->word);
		return words_have(now, slice_of(s->word));
	case RULE_PORTS:
		snprintf(wanted, HOST_VALUE_MAX, "%s", s->word);
		return ports_are_good(number, now);
	}
	unreachable("a rule");
}

/* What a person reads; the file gets the bare value. */
static void say_rule(struct finding *f, bool good)
{
	static const char *const prefix[] = {
		[RULE_LEAST] = ">= ",
		[RULE_MOST] = "<= ",
		[RULE_ZERO_OR_LEAST] = "0 or >= ",
	};
	const enum rule rule = f->setting->rule;
	char text[HOST_VALUE_MAX];

	if (!good)
		return;
	if (rule == RULE_HAS || rule == RULE_PORTS) {
		snprintf(f->wanted, sizeof(f->wanted),
			 rule == RULE_HAS ? "with %s" : "%s or as many", f->setting->word);
	} else if (rule < countof(prefix) && prefix[rule]) {
		memcpy(text, f->wanted, sizeof(text));
		snprintf(f->wanted, sizeof(f->wanted), "%s%.240s", prefix[rule], text);
	}
}

static void look_sysctl(const struct host *h, const struct setting *s, struct findings *all)
{
	struct finding *f = findings_add(all, s, NULL);
	char path[HOST_PATH_MAX];
	int err;
	bool good;

	setting_path(s, path);
	err = hostfs_read(h->root, path, f->now);
	good = setting_is_good(s, h->bdp.buffer_bytes, f->now, f->wanted);
	if (err < 0) {
		snprintf(f->now, sizeof(f->now), "-");
		finding_say(f, s->optional ? VERDICT_ADVICE : VERDICT_IMPOSSIBLE,
			    err == -ENOENT ? "this %s has no such setting%.0s"
					   : "this %s does not let it be read: %s",
			    h->container[0] ? "container" : "kernel", err_text(err));
	} else if (!good && s->module && module_state(h, s->module) == MODULE_MISSING) {
		finding_say(f, VERDICT_IMPOSSIBLE, "the kernel has no module %s", s->module);
	} else if (!good && (err = hostfs_writable(h->root, path)) < 0) {
		finding_say(f, VERDICT_IMPOSSIBLE, "%s%s", err_text(err),
			    h->container[0] ? ": it is the host's, set it there" : "");
	} else {
		f->verdict = good ? VERDICT_OK : VERDICT_APPLY;
	}
	say_rule(f, good);
}

struct finding *findings_add(struct findings *f, const struct setting *s, const char *what)
{
	struct finding *n = &f->v[f->count];

	assert(f->count < FINDINGS_MAX);
	f->count++;
	*n = (struct finding){ .setting = s };
	snprintf(n->name, sizeof(n->name), "%s%s%s", s->name, what ? " " : "", what ? what : "");
	return n;
}

void finding_say(struct finding *f, enum verdict v, const char *fmt, ...)
{
	va_list ap;

	f->verdict = v;
	va_start(ap, fmt);
	vsnprintf(f->reason, sizeof(f->reason), fmt, ap);
	va_end(ap);
}

unsigned findings_count(const struct findings *f, enum verdict v)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->count; i++)
		n += f->v[i].verdict == v;
	return n;
}

void host_check(const struct host *h, struct findings *out)
{
	out->count = 0;
	for (unsigned i = 0; i < settings_count; i++)
		(settings[i].look ? settings[i].look : look_sysctl)(h, &settings[i], out);
}

/* "MemTotal:  1014840 kB"; 0: it does not stand there. */
static uint64_t find_memory(const char *root)
{
	char *text = hostfs_slurp(root, "/proc/meminfo");
	const char *at = text ? strstr(text, "MemTotal:") : NULL;
	uint64_t bytes = at ? strtoull(at + strlen("MemTotal:"), NULL, 10) * KIB : 0;

	free(text);
	return bytes;
}

static void find_container(struct host *h)
{
	static const struct {
		const char *path, *name;
	} signs[] = {
		{ "/.dockerenv", "docker" },
		{ "/run/.containerenv", "podman" },
		{ "/proc/user_beancounters", "openvz" },
	};
	char value[HOST_VALUE_MAX];

	if (hostfs_read(h->root, "/run/systemd/container", value) == 0 && value[0])
		snprintf(h->container, sizeof(h->container), "%.31s", value);
	for (unsigned i = 0; i < countof(signs) && !h->container[0]; i++)
		if (hostfs_exists(h->root, signs[i].path))
			snprintf(h->container, sizeof(h->container), "%s", signs[i].name);
}

static unsigned count_cores(const char *root)
{
	char *text = hostfs_slurp(root, "/proc/cpuinfo");
	unsigned n = 0;

	for (const char *p = text; p && (p = strstr(p, "processor")); p++)
		n += p == text || p[-1] == '\n';
	free(text);
	return n ? n : 1;
}

bool host_find(struct host *h, const char *root, uint64_t rtt_ms, uint64_t bandwidth)
{
	uint64_t memory_bytes = find_memory(root);

	*h = (struct host){ .root = root };
	if (memory_bytes == 0)
		return false;
	if (hostfs_read(root, "/proc/sys/kernel/osrelease", h->release) < 0)
		h->release[0] = '\0';
	find_container(h);
	h->cores = count_cores(root);
	h->bdp = bdp_of(rtt_ms, bandwidth, memory_bytes);
	h->links_err = links_find(root, &h->links);
	return true;
}

unsigned profile_format(const struct profile *p, char *out, unsigned room)
{
	struct bdp b = bdp_of(PROFILE_RTT_MS, p->bandwidth, p->memory_bytes);
	char wanted[HOST_VALUE_MAX], sum[512];
	unsigned len;

	bdp_format(&b, sum, sizeof(sum));
	len = (unsigned)snprintf(
		out, room,
		"# Profile %s, as \"sluice-tune profile %s\" prints it.\n# %s.\n"
		"# \"sluice-tune apply\" writes only what differs, by the host's own "
		"memory, and can undo it.\n",
		p->name, p->name, sum);
	for (unsigned i = 0; i < settings_count && len < room; i++) {
		const struct setting *s = &settings[i];

		if (s->rule == RULE_NONE || s->live)
			continue;
		if (setting_is_good(s, b.buffer_bytes, "", wanted))
			unreachable("nothing is good of which nothing is known");
		len += (unsigned)snprintf(out + len, room - len, "\n# %s\n%s = %s\n", s->why,
					  s->name, wanted);
	}
	return len;
}
