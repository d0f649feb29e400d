/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/looks.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/err.h"

enum { KERNEL_MAJOR = 6, KERNEL_MINOR = 1 };

static bool is_here(const struct host *h)
{
	return !h->root[0];
}

void look_kernel(const struct host *h, const struct setting *s, struct findings *all)
{
	struct finding *f = findings_add(all, s, NULL);
	unsigned major = 0, minor = 0;

	snprintf(f->now, sizeof(f->now), "%s", h->release[0] ? h->release : "-");
	snprintf(f->wanted, sizeof(f->wanted), "%d.%d or newer", KERNEL_MAJOR, KERNEL_MINOR);
	if (sscanf(h->release, "%u.%u", &major, &minor) == 2 &&
	    (major > KERNEL_MAJOR || (major == KERNEL_MAJOR && minor >= KERNEL_MINOR)))
		return;
	finding_say(f, VERDICT_IMPOSSIBLE,
		    "old kernel: install the distribution's newer one; sluice-tune changes none");
}

/* Asks the kernel for a ring, as Sluice does; 0 or -errno. */
static int try_io_uring(void)
{
	struct io_uring_params p = { 0 };
	long fd = syscall(__NR_io_uring_setup, 2, &p);

	if (fd < 0)
		return -errno;
	close((int)fd);
	return 0;
}

void look_io_uring(const struct host *h, const struct setting *s, struct findings *all)
{
	struct finding *f = findings_add(all, s, NULL);
	char value[HOST_VALUE_MAX];
	bool disabled = hostfs_read(h->root, "/proc/sys/kernel/io_uring_disabled", value) == 0 &&
			strcmp(value, "0") != 0;
	int err = is_here(h) ? try_io_uring() : 0;

	snprintf(f->wanted, sizeof(f->wanted), "allowed");
	snprintf(f->now, sizeof(f->now), disabled || err ? "refused" : "allowed");
	/* Root may have a ring where the user that Sluice becomes may not. */
	if (disabled)
		finding_say(f, VERDICT_IMPOSSIBLE,
			    "kernel.io_uring_disabled is %.8s: \"sysctl -w "
			    "kernel.io_uring_disabled=0\" allows it; that is the operator's to "
			    "decide",
			    value);
	else if (err == -EPERM)
		finding_say(f, VERDICT_IMPOSSIBLE,
			    "a seccomp filter refuses it: the container's profile has to allow "
			    "io_uring_setup, io_uring_enter and io_uring_register");
	else if (err < 0)
		finding_say(f, VERDICT_IMPOSSIBLE, "%s", err_text(err));
}

void look_container(const struct host *h, const struct setting *s, struct findings *all)
{
	struct finding *f = findings_add(all, s, NULL);

	snprintf(f->now, sizeof(f->now), "%s", h->container[0] ? h->container : "no");
	snprintf(f->wanted, sizeof(f->wanted), "any");
}

/* Names in modules.dep and modules.builtin have '-' or '_' as their authors liked. */
static bool list_has(const struct host *h, const char *list, const char *name)
{
	char path[HOST_PATH_MAX], *text;
	size_t len = strlen(name);
	bool found = false;

	snprintf(path, sizeof(path), "/lib/modules/%s/%s", h->release, list);
	text = hostfs_slurp(h->root, path);
	for (const char *p = text; p && !found && (p = strchr(p, '/')); p++) {
		found = strncmp(p + len + 1, ".ko", 3) == 0;
		for (size_t i = 0; i < len && found; i++)
			found = p[i + 1] == name[i] || (p[i + 1] == '-' && name[i] == '_');
	}
	free(text);
	return found;
}

static bool is_available(const struct host *h, const char *name)
{
	char list[HOST_VALUE_MAX];

	return strncmp(name, "tcp_", 4) == 0 &&
	       hostfs_read(h->root, "/proc/sys/net/ipv4/tcp_available_congestion_control", list) ==
		       0 &&
	       words_have(list, slice_of(name + 4));
}

enum module_state module_state(const struct host *h, const char *name)
{
	char path[HOST_PATH_MAX];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	if (hostfs_exists(h->root, path) || is_available(h, name) ||
	    list_has(h, "modules.builtin", name))
		return MODULE_LOADED;
	if (list_has(h, "modules.dep", name))
		return MODULE_LOADABLE;
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.builtin", h->release);
	if (hostfs_exists(h->root, path))
		return MODULE_MISSING;
	if (is_here(h) && geteuid() == 0 && strncmp(name, "sch_", 4) == 0)
		switch (links_try_qdisc(name + 4)) {
		case 1: return MODULE_LOADED;
		case 0: return MODULE_MISSING;
		default: break;
		}
	/* A list of what can be had of congestion control exists: it is not in it. */
	return strncmp(name, "tcp_", 4) == 0 ? MODULE_MISSING : MODULE_UNKNOWN;
}

void look_module(const struct host *h, const struct setting *s, struct findings *all)
{
	static const char *const texts[] = { "loaded", "not loaded", "missing", "cannot tell" };
	struct finding *f = findings_add(all, s, NULL);
	enum module_state state = module_state(h, s->word);

	snprintf(f->now, sizeof(f->now), "%s", texts[state]);
	snprintf(f->wanted, sizeof(f->wanted), s->optional ? "any" : "loaded");
	if (s->optional)
		return;
	if (state == MODULE_LOADABLE)
		f->verdict = h->container[0] ? VERDICT_IMPOSSIBLE : VERDICT_APPLY;
	if (f->verdict == VERDICT_IMPOSSIBLE)
		snprintf(f->reason, sizeof(f->reason), "a container cannot load it, its host can");
	else if (state == MODULE_MISSING)
		finding_say(f, VERDICT_IMPOSSIBLE, "module missing: this kernel was built without");
	else if (state == MODULE_UNKNOWN)
		finding_say(f, VERDICT_ADVICE, "/lib/modules/%s is not here to look at",
			    h->release);
}

/* What to call the row when there is no interface to look at. */
static bool no_links(const struct host *h, const struct setting *s, struct findings *all)
{
	struct finding *f;

	if (h->links_err == 0 && h->links.count)
		return false;
	f = findings_add(all, s, NULL);
	snprintf(f->now, sizeof(f->now), "-");
	snprintf(f->wanted, sizeof(f->wanted), "an interface");
	finding_say(f, VERDICT_ADVICE, "%s",
		    h->links_err ? err_text(h->links_err) : "no interface is up");
	return true;
}

static struct finding *add_for(const struct link *l, const struct setting *s, struct findings *all)
{
	struct finding *f = findings_add(all, s, l->name);

	f->link = l;
	return f;
}

static void look_one_qdisc(const struct host *h, const struct link *l, struct finding *f)
{
	const struct setting *s = f->setting;
	const bool mq = strcmp(l->qdisc, "mq") == 0;

	snprintf(f->now, sizeof(f->now), mq ? "mq, %.15s" : "%s%s",
		 mq ? link_sends_by(l) : l->qdisc, "");
	snprintf(f->wanted, sizeof(f->wanted), "%s", s->word);
	if (strcmp(link_sends_by(l), s->word) == 0)
		return;
	if (strcmp(l->qdisc, "noqueue") == 0) {
		/* A bridge, a veth, a tunnel: what it sends is queued elsewhere, TCP paces. */
		snprintf(f->wanted, sizeof(f->wanted), "any: it has no queue");
		return;
	}
	if (module_state(h, s->module) == MODULE_MISSING)
		finding_say(f, VERDICT_IMPOSSIBLE,
			    "the kernel has no module %s; BBR paces by timers", s->module);
	else if (hostfs_writable(h->root, "/proc/sys/net/core/default_qdisc") < 0)
		/* Queues of an mq come up with it, and undo needs it. */
		finding_say(f, VERDICT_IMPOSSIBLE,
			    "it takes net.core.default_qdisc, which cannot be changed here");
	else if (l->by_hand)
		finding_say(f, VERDICT_ADVICE,
			    "somebody chose it: left alone; \"tc qdisc replace dev %s root %s\" "
			    "changes it",
			    l->name, s->word);
	else
		f->verdict = VERDICT_APPLY;
}

void look_qdisc(const struct host *h, const struct setting *s, struct findings *all)
{
	if (no_links(h, s, all))
		return;
	for (unsigned i = 0; i < h->links.count; i++)
		look_one_qdisc(h, &h->links.v[i], add_for(&h->links.v[i], s, all));
}

void look_queues(const struct host *h, const struct setting *s, struct findings *all)
{
	for (unsigned i = 0; i < h->links.count; i++) {
		const struct link *l = &h->links.v[i];
		struct finding *f;

		if (!l->hardware)
			continue;
		f = add_for(l, s, all);
		snprintf(f->now, sizeof(f->now), "%u rx, %u tx", l->rx_queues, l->tx_queues);
		snprintf(f->wanted, sizeof(f->wanted), "up to %u", h->cores);
		if (l->rx_queues == 1 && h->cores > 1)
			snprintf(f->reason, sizeof(f->reason),
				 "if the card has more: ethtool -L %s combined %u", l->name,
				 h->cores);
	}
}

/* Is the mask of queue <kind>-0 set?  1, 0, or -errno. */
static int mask_is_set(const struct host *h, const struct link *l, const char *file)
{
	char path[HOST_PATH_MAX], value[HOST_VALUE_MAX];
	int err;

	snprintf(path, sizeof(path), "/sys/class/net/%s/queues/%s", l->name, file);
	err = hostfs_read(h->root, path, value);
	return err < 0 ? err : value[strspn(value, "0,")] != '\0';
}

void look_rps(const struct host *h, const struct setting *s, struct findings *all)
{
	for (unsigned i = 0; i < h->links.count; i++) {
		const struct link *l = &h->links.v[i];
		struct finding *f;
		int set;

		if (!l->hardware || l->rx_queues != 1 || h->cores < 2)
			continue;
		f = add_for(l, s, all);
		set = mask_is_set(h, l, "rx-0/rps_cpus");
		snprintf(f->now, sizeof(f->now), set == 1 ? "on" : set == 0 ? "off" : "-");
		snprintf(f->wanted, sizeof(f->wanted), "on, if one core is busy");
		if (set == 0)
			snprintf(f->reason, sizeof(f->reason),
				 "when top shows one core full of si: echo %llx > "
				 "/sys/class/net/%s/queues/rx-0/rps_cpus",
				 h->cores < 32 ? (1ull << h->cores) - 1 : 0xffffffffull, l->name);
	}
}

void look_xps(const struct host *h, const struct setting *s, struct findings *all)
{
	for (unsigned i = 0; i < h->links.count; i++) {
		const struct link *l = &h->links.v[i];
		struct finding *f;
		int set;

		if (!l->hardware || l->tx_queues < 2)
			continue;
		f = add_for(l, s, all);
		set = mask_is_set(h, l, "tx-0/xps_cpus");
		snprintf(f->now, sizeof(f->now), set == 1 ? "on" : "off");
		snprintf(f->wanted, sizeof(f->wanted), "on, if the driver can");
	}
}

void look_offloads(const struct host *h, const struct setting *s, struct findings *all)
{
	for (unsigned i = 0; i < h->links.count; i++) {
		const struct link *l = &h->links.v[i];
		struct finding *f;

		if (!l->hardware || !l->offloads_known)
			continue;
		f = add_for(l, s, all);
		snprintf(f->now, sizeof(f->now), "gro %s, gso %s, tso %s", l->gro ? "on" : "off",
			 l->gso ? "on" : "off", l->tso ? "on" : "off");
		snprintf(f->wanted, sizeof(f->wanted), "all on");
		if (!l->gro || !l->gso || !l->tso)
			finding_say(f, VERDICT_ADVICE, "ethtool -K %s gro on gso on tso on",
				    l->name);
	}
}

void look_initcwnd(const struct host *h, const struct setting *s, struct findings *all)
{
	struct finding *f = findings_add(all, s, NULL);
	int n = links_initcwnd(h->root);

	snprintf(f->wanted, sizeof(f->wanted), ">= %ju", (uintmax_t)s->number);
	if (n == -ENOENT) {
		snprintf(f->now, sizeof(f->now), "-");
		finding_say(f, VERDICT_ADVICE, "there is no IPv4 default route");
	} else if (n < 0) {
		snprintf(f->now, sizeof(f->now), "-");
		finding_say(f, VERDICT_ADVICE, "%s", err_text(n));
	} else {
		snprintf(f->now, sizeof(f->now), "%d%s", n ? n : 10, n ? "" : " (kernel)");
		if (n && (uint64_t)n < s->number)
			finding_say(f, VERDICT_ADVICE,
				    "\"ip route change default ... initcwnd 10\"; sluice-tune "
				    "touches no routes");
	}
}

/* "Max open files            1024                 524288               files" */
void look_nofile(const struct host *h, const struct setting *s, struct findings *all)
{
	struct finding *f = findings_add(all, s, NULL);
	char *text = hostfs_slurp(h->root, "/proc/self/limits");
	const char *at = text ? strstr(text, "Max open files") : NULL;
	char soft[32] = "-", hard[32] = "-";

	if (at && sscanf(at + strlen("Max open files"), "%31s %31s", soft, hard) != 2)
		snprintf(hard, sizeof(hard), "-");
	free(text);
	snprintf(f->now, sizeof(f->now), "%s", hard);
	snprintf(f->wanted, sizeof(f->wanted), ">= %" PRIu64, s->number);
	if (strcmp(hard, "unlimited") != 0 && strtoull(hard, NULL, 10) < s->number)
		finding_say(f, VERDICT_ADVICE, "here, in this shell: LimitNOFILE=%ju in the unit",
			    (uintmax_t)s->number);
}

void look_clock(const struct host *h, const struct setting *s, struct findings *all)
{
	struct finding *f = findings_add(all, s, NULL);
	struct timex t = { .modes = 0 };
	char source[HOST_VALUE_MAX];
	bool slow, wrong = is_here(h) && (adjtimex(&t) < 0 || t.status & STA_UNSYNC);

	if (hostfs_read(h->root, "/sys/devices/system/clocksource/clocksource0/current_clocksource",
			source) < 0)
		snprintf(source, sizeof(source), "-");
	slow = strcmp(source, "hpet") == 0 || strcmp(source, "acpi_pm") == 0 ||
	       strcmp(source, "jiffies") == 0;
	snprintf(f->now, sizeof(f->now), "%.200s%s", source, wrong ? ", not synchronised" : "");
	snprintf(f->wanted, sizeof(f->wanted), "tsc or kvm-clock, synchronised");
	if (wrong)
		finding_say(f, VERDICT_ADVICE,
			    "a host may keep the time for its guests; else install chrony");
	else if (slow)
		finding_say(f, VERDICT_ADVICE, "%.100s is slow to read; the hypervisor's to change",
			    source);
}

/* A line of if_inet6: address index prefix scope flags name; scope 00 is global. */
void look_ipv6(const struct host *h, const struct setting *s, struct findings *all)
{
	struct finding *f = findings_add(all, s, NULL);
	char *text = hostfs_slurp(h->root, "/proc/net/if_inet6"), *save = NULL;
	bool global = false;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line && !global;
	     line = strtok_r(NULL, "\n", &save)) {
		char address[33], index[9], prefix[9], scope[9];

		global = sscanf(line, "%32s %8s %8s %8s", address, index, prefix, scope) == 4 &&
			 strcmp(scope, "00") == 0 && (address[0] == '2' || address[0] == '3');
	}
	free(text);
	snprintf(f->now, sizeof(f->now), global ? "a public address" : "no public address");
	snprintf(f->wanted, sizeof(f->wanted), "a public address");
	if (!global)
		finding_say(f, VERDICT_ADVICE, "if the provider gives you some, set it up");
}

/* "TCP: inuse 27 orphan 0 tw 12 alloc 40 mem 3" */
void look_time_wait(const struct host *h, const struct setting *s, struct findings *all)
{
	struct finding *f = findings_add(all, s, NULL);
	char *text = hostfs_slurp(h->root, "/proc/net/sockstat");
	const char *at = text ? strstr(text, " tw ") : NULL;
	uint64_t now = at ? strtoull(at + 4, NULL, 10) : 0, most;
	char value[HOST_VALUE_MAX];

	free(text);
	if (hostfs_read(h->root, "/proc/sys/net/ipv4/tcp_max_tw_buckets", value) < 0)
		snprintf(value, sizeof(value), "0");
	most = strtoull(value, NULL, 10);
	snprintf(f->now, sizeof(f->now), "%" PRIu64, now);
	snprintf(f->wanted, sizeof(f->wanted), "less than half of %" PRIu64, most);
	if (most && now > most / 2)
		finding_say(f, VERDICT_ADVICE,
			    "many clients close and come again: \"ss -tan state time-wait\" shows "
			    "who");
}
