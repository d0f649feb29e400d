/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/settings.h"

#include "tune/report.h"
#include "tune_host.h"

TEST(a_fresh_vps_has_something_to_apply_and_nothing_impossible)
{
	struct made_host m;

	if (made_init(&m) && made_check(&m)) {
		check_eq(report_status(&m.found), 1);
		check_eq(m.host.cores, 2);
		check_verdict(&m, "kernel", VERDICT_OK);
		check_verdict(&m, "module tcp_bbr", VERDICT_APPLY);
		check_verdict(&m, "net.ipv4.tcp_congestion_control", VERDICT_APPLY);
		check_verdict(&m, "qdisc eth0", VERDICT_APPLY);
		check_verdict(&m, "net.core.somaxconn", VERDICT_OK);
		check_verdict(&m, "fs.file-max", VERDICT_OK);
		check_str(made_find(&m, "net.ipv4.tcp_rmem")->now, "4096 131072 6291456");
		check_str(made_find(&m, "net.ipv4.tcp_rmem")->wanted, "4096 131072 63963136");
		check_str(made_find(&m, "net.ipv4.tcp_allowed_congestion_control")->wanted,
			  "reno cubic bbr");
	}
	made_fini(&m);
}

/* Nothing is ever made smaller, and more is as good. */
TEST(more_than_enough_is_good)
{
	struct made_host m;

	if (made_init(&m) && made_put(&m, "/proc/sys/net/core/rmem_max", "999999999\n") &&
	    made_put(&m, "/proc/sys/net/ipv4/tcp_wmem", "8192 8192 999999999\n") &&
	    made_put(&m, "/proc/sys/net/ipv4/tcp_notsent_lowat", "16384\n") &&
	    made_put(&m, "/proc/sys/net/ipv4/ip_local_port_range", "1024 65535\n") &&
	    made_put(&m, "/proc/sys/fs/pipe-user-pages-soft", "0\n") && made_check(&m)) {
		check_verdict(&m, "net.core.rmem_max", VERDICT_OK);
		check_verdict(&m, "net.ipv4.tcp_wmem", VERDICT_OK);
		check_verdict(&m, "net.ipv4.tcp_notsent_lowat", VERDICT_OK);
		check_verdict(&m, "net.ipv4.ip_local_port_range", VERDICT_OK);
		check_verdict(&m, "fs.pipe-user-pages-soft", VERDICT_OK);
	}
	made_fini(&m);
}

TEST(values_that_make_no_sense_are_not_good)
{
	static const char *const texts[] = { "", "-1", "many", "1 2", "18446744073709551616" };
	char wanted[HOST_VALUE_MAX];

	for (unsigned i = 0; i < settings_count; i++)
		for (unsigned k = 0; k < countof(texts) && settings[i].rule != RULE_NONE; k++)
			check(!setting_is_good(&settings[i], 1 << 20, texts[k], wanted));
}

/* What is written is good when it is read back: apply would not end otherwise. */
TEST(what_is_wanted_is_good)
{
	static const char *const texts[] = { "", "0", "7", "4294967296", "1 2 3", "reno cubic" };
	char wanted[HOST_VALUE_MAX], again[HOST_VALUE_MAX];

	for (unsigned i = 0; i < settings_count; i++)
		for (unsigned k = 0; k < countof(texts) && settings[i].rule != RULE_NONE; k++) {
			if (setting_is_good(&settings[i], 1 << 20, texts[k], wanted))
				continue;
			if (!check(setting_is_good(&settings[i], 1 << 20, wanted, again)))
				printf("# %s = %s\n", settings[i].name, wanted);
		}
}

TEST(a_container_has_what_its_host_gives)
{
	struct made_host m;

	if (made_init(&m) && made_put(&m, "/run/systemd/container", "lxc\n") &&
	    check_eq(hostfs_remove(m.root, "/proc/sys/net/core/default_qdisc"), 0) &&
	    made_put(&m, "/links", "eth0 noqueue - 0 -\n") && made_check(&m)) {
		check_str(made_find(&m, "container")->now, "lxc");
		check_verdict(&m, "net.core.default_qdisc", VERDICT_IMPOSSIBLE);
		check_str(made_find(&m, "net.core.default_qdisc")->reason,
			  "this container has no such setting");
		check_verdict(&m, "module tcp_bbr", VERDICT_IMPOSSIBLE);
		check_verdict(&m, "qdisc eth0", VERDICT_OK); /* it has no queue */
		check_eq(report_status(&m.found), 2);
	}
	made_fini(&m);
}

TEST(a_kernel_without_bbr_says_so)
{
	struct made_host m;

	if (made_init(&m) &&
	    made_put(&m, "/lib/modules/6.1.0-40-amd64/modules.dep",
		     "kernel/net/sched/sch_fq.ko:\n") &&
	    made_check(&m)) {
		check_verdict(&m, "module tcp_bbr", VERDICT_IMPOSSIBLE);
		check_verdict(&m, "net.ipv4.tcp_congestion_control", VERDICT_IMPOSSIBLE);
		check_str(made_find(&m, "net.ipv4.tcp_congestion_control")->reason,
			  "the kernel has no module tcp_bbr");
		check_verdict(&m, "module sch_fq", VERDICT_APPLY);
	}
	made_fini(&m);
}

TEST(an_old_kernel_or_one_that_forbids_io_uring_is_told)
{
	struct made_host m;

	if (made_init(&m) && made_put(&m, "/proc/sys/kernel/osrelease", "5.10.0-30-amd64\n") &&
	    made_put(&m, "/proc/sys/kernel/io_uring_disabled", "2\n") && made_check(&m)) {
		check_verdict(&m, "kernel", VERDICT_IMPOSSIBLE);
		check_verdict(&m, "io_uring", VERDICT_IMPOSSIBLE);
	}
	made_fini(&m);
}

TEST(what_somebody_chose_for_an_interface_is_left_alone)
{
	struct made_host m;

	if (made_init(&m) &&
	    made_put(&m, "/links",
		     "eth0 cake - 80010000 gro\neth1 mq fq 0 gro\neth2 mq pfifo_fast 0 -\n") &&
	    made_check(&m)) {
		check_verdict(&m, "qdisc eth0", VERDICT_ADVICE);
		check_verdict(&m, "qdisc eth1", VERDICT_OK);
		check_verdict(&m, "qdisc eth2", VERDICT_APPLY);
		check_str(made_find(&m, "qdisc eth2")->now, "mq, pfifo_fast");
		check_verdict(&m, "offloads eth0", VERDICT_ADVICE);
	}
	made_fini(&m);
}

/* The issue is with many: none may be forgotten, none may overflow. */
TEST(there_is_room_for_as_many_interfaces_as_are_looked_at)
{
	char text[64 * 64], path[64];
	size_t len = 0;
	struct made_host m;

	if (!made_init(&m))
		return;
	for (unsigned i = 0; i < 40; i++) {
		len += (size_t)snprintf(text + len, sizeof(text) - len, "e%u mq pfifo 0 -\n", i);
		for (unsigned q = 0; q < 2; q++) {
			snprintf(path, sizeof(path), "/sys/class/net/e%u/queues/tx-%u/xps_cpus", i,
				 q);
			made_put(&m, path, "0\n");
		}
		snprintf(path, sizeof(path), "/sys/class/net/e%u/queues/rx-0/rps_cpus", i);
		made_put(&m, path, "0\n");
		snprintf(path, sizeof(path), "/sys/class/net/e%u/device/vendor", i);
		made_put(&m, path, "0\n");
	}
	if (made_put(&m, "/links", text) && made_check(&m)) {
		check_eq(m.host.links.count, LINKS_MAX);
		check_eq(m.host.links.more, 40 - LINKS_MAX);
		check_verdict(&m, "qdisc e31", VERDICT_APPLY);
	}
	made_fini(&m);
}

/* sysctl/NAME.conf is what "sluice-tune profile NAME" prints. */
TEST(the_profiles_in_sysctl_are_those_of_the_table)
{
	for (unsigned i = 0; i < profiles_count; i++) {
		char text[16 * 1024], path[64], *file;

		require(profile_format(&profiles[i], text, sizeof(text)) < sizeof(text));
		snprintf(path, sizeof(path), "/%s.conf", profiles[i].name);
		file = hostfs_slurp("sysctl", path);
		require(file);
		check_str(file, text);
		free(file);
	}
	check_str(profile_find("vps-1g")->name, "vps-1g");
	check(!profile_find("vps-100g"));
}

TEST(text_is_squeezed_and_quoted)
{
	char text[] = " 4096\t131072 \t 6291456\n";
	char out[64] = "";
	FILE *f = fmemopen(out, sizeof(out), "w");

	hostfs_squeeze(text);
	check_str(text, "4096 131072 6291456");
	require(f);
	report_json_text(f, "a\"b\\c\n\xff");
	fclose(f);
	check_str(out, "\"a\\\"b\\\\c\\u000a\\u00ff\"");
}
