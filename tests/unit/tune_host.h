/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A made-up host: a folder with the files of proc and sys that sluice-tune reads. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test.h"
#include "tune/settings.h"

struct made_host {
	char root[64];
	struct host host;
	struct findings found;
};

static inline void made_fini(struct made_host *m)
{
	test_remove(m->root);
}

static inline bool made_put(const struct made_host *m, const char *path, const char *text)
{
	return check_eq(hostfs_replace(m->root, path, text), 0);
}

/* A small VPS as Debian 12 leaves it: two cores, 1 GB, one network card with one queue. */
static inline bool made_init(struct made_host *m)
{
	static const char *const files[][2] = {
		{ "/proc/meminfo", "MemTotal:        1000000 kB\nMemFree: 1 kB\n" },
		{ "/proc/cpuinfo", "processor\t: 0\n\nprocessor\t: 1\n" },
		{ "/proc/self/limits",
		  "Max open files            1024           524288      files\n" },
		{ "/proc/net/sockstat",
		  "sockets: used 9\nTCP: inuse 5 orphan 0 tw 7 alloc 6 mem 1\n" },
		{ "/proc/net/if_inet6", "20010db8000000000000000000000001 02 40 00 80     eth0\n" },
		{ "/proc/sys/kernel/osrelease", "6.1.0-40-amd64\n" },
		{ "/proc/sys/net/ipv4/tcp_available_congestion_control", "reno cubic\n" },
		{ "/proc/sys/net/ipv4/tcp_allowed_congestion_control", "reno cubic\n" },
		{ "/proc/sys/net/ipv4/tcp_congestion_control", "cubic\n" },
		{ "/proc/sys/net/core/default_qdisc", "fq_codel\n" },
		{ "/proc/sys/net/core/rmem_max", "212992\n" },
		{ "/proc/sys/net/core/wmem_max", "212992\n" },
		{ "/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n" },
		{ "/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n" },
		{ "/proc/sys/net/ipv4/tcp_notsent_lowat", "4294967295\n" },
		{ "/proc/sys/net/ipv4/tcp_slow_start_after_idle", "1\n" },
		{ "/proc/sys/net/ipv4/tcp_mtu_probing", "0\n" },
		{ "/proc/sys/net/core/somaxconn", "4096\n" },
		{ "/proc/sys/net/ipv4/tcp_max_syn_backlog", "256\n" },
		{ "/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n" },
		{ "/proc/sys/net/ipv4/tcp_max_tw_buckets", "8192\n" },
		{ "/proc/sys/fs/file-max", "9223372036854775807\n" },
		{ "/proc/sys/fs/nr_open", "1048576\n" },
		{ "/proc/sys/fs/pipe-user-pages-soft", "16384\n" },
		{ "/lib/modules/6.1.0-40-amd64/modules.builtin", "kernel/net/ipv4/tcp_cubic.ko\n" },
		{ "/lib/modules/6.1.0-40-amd64/modules.dep",
		  "net/ipv4/tcp_bbr.ko:\nnet/sched/sch_fq.ko:\nnet/tls/tls.ko:\n" },
		{ "/sys/devices/system/clocksource/clocksource0/current_clocksource",
		  "kvm-clock\n" },
		{ "/sys/class/net/eth0/device/vendor", "0x1af4\n" },
		{ "/sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n" },
		{ "/sys/class/net/eth0/queues/tx-0/xps_cpus", "0\n" },
		{ "/links", "eth0 fq_codel - 0 gro,gso,tso\n" },
		{ "/initcwnd", "0\n" },
	};

	*m = (struct made_host){ .root = "/tmp/sluice-test-XXXXXX" };
	if (!check(mkdtemp(m->root)))
		return false;
	for (unsigned i = 0; i < countof(files); i++)
		if (!made_put(m, files[i][0], files[i][1]))
			return false;
	return true;
}

/* As "sluice-tune check" does. */
static inline bool made_check(struct made_host *m)
{
	if (!check(host_find(&m->host, m->root, PROFILE_RTT_MS, profiles[0].bandwidth)))
		return false;
	host_check(&m->host, &m->found);
	return true;
}

static inline struct finding *made_find(struct made_host *m, const char *name)
{
	for (unsigned i = 0; i < m->found.count; i++)
		if (strcmp(m->found.v[i].name, name) == 0)
			return &m->found.v[i];
	check_str("no finding", name);
	return &m->found.v[0];
}

#define check_verdict(m, name, expected) check_eq(made_find(m, name)->verdict, expected)
