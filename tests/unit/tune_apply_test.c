/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/apply.h"

#include <errno.h>
#include <sys/stat.h>

#include "tune/change.h"
#include "tune_host.h"

static const char record_path[] = "/var/lib/sluice/tune.undo";
static const char sysctl_file[] = "/etc/sysctl.d/90-sluice.conf";
static const char modules_file[] = "/etc/modules-load.d/sluice.conf";

static bool begin(struct made_host *m, struct tune_options *o)
{
	*o = (struct tune_options){ .root = m->root,
				    .rtt_ms = PROFILE_RTT_MS,
				    .bandwidth = profiles[0].bandwidth };
	return made_init(m);
}

/* The programs' lines are not the test's. */
static int quietly(int (*run)(const struct tune_options *), const struct tune_options *o)
{
	int keep_out, keep_err, status;
	FILE *null = fopen("/dev/null", "we");

	fflush(stdout);
	keep_out = dup(1);
	keep_err = dup(2);
	dup2(fileno(null), 1);
	dup2(fileno(null), 2);
	status = run(o);
	fflush(stdout);
	dup2(keep_out, 1);
	dup2(keep_err, 2);
	close(keep_out);
	close(keep_err);
	fclose(null);
	return status;
}

/* All values of the host as one text. */
static char *snapshot(const struct made_host *m)
{
	char *text = NULL, value[HOST_VALUE_MAX], path[HOST_PATH_MAX], *links;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	for (unsigned i = 0; f && i < settings_count; i++) {
		if (settings[i].rule == RULE_NONE)
			continue;
		setting_path(&settings[i], path);
		if (hostfs_read(m->root, path, value) == 0)
			fprintf(f, "%s = %s\n", settings[i].name, value);
	}
	links = hostfs_slurp(m->root, "/links");
	fprintf(f, "%s%d\n", links ? links : "",
		hostfs_exists(m->root, "/sys/module/tcp_bbr/refcnt"));
	free(links);
	fclose(f);
	return text;
}

static void check_value(const struct made_host *m, const char *path, const char *expected)
{
	char value[HOST_VALUE_MAX];

	check_eq(hostfs_read(m->root, path, value), 0);
	check_str(value, expected);
}

/* All of them are what they were then. */
static void check_snapshot(const struct made_host *m, const char *then)
{
	char *now = snapshot(m);

	check_str(now, then);
	free(now);
}

static void check_file(const struct made_host *m, const char *path, const char *part)
{
	char *text = hostfs_slurp(m->root, path);

	check(text && strstr(text, part));
	free(text);
}

TEST(apply_and_undo_come_back_to_where_they_began)
{
	struct made_host m;
	struct tune_options o;
	char *before, *between;

	if (!begin(&m, &o) || !made_put(&m, "/links", "eth0 fq_codel - 0 -,gro,gso,tso\n"))
		return;
	before = snapshot(&m);
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	between = snapshot(&m);
	check(strcmp(before, between) != 0);
	check(hostfs_exists(m.root, record_path));
	check(!hostfs_exists(m.root, sysctl_file));
	made_check(&m);
	for (unsigned i = 0; i < m.found.count; i++)
		if (!check(m.found.v[i].verdict == VERDICT_OK))
			printf("# %s: %s\n", m.found.v[i].name, m.found.v[i].now);
	check_eq(quietly(apply_undo, &o), EXIT_DONE);
	check_snapshot(&m, before);
	check(!hostfs_exists(m.root, record_path));
	free(before);
	free(between);
	made_fini(&m);
}

/* The second run changes nothing, and the first values are still what undo restores. */
TEST(apply_twice_is_apply_once)
{
	struct made_host m;
	struct tune_options o;
	char *before, *once, *record, *again;

	if (!begin(&m, &o) || !made_put(&m, "/links", "eth0 mq pfifo_fast 0 -,gro\n"))
		return;
	before = snapshot(&m);
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	once = snapshot(&m);
	record = hostfs_slurp(m.root, record_path);
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	check_snapshot(&m, once);
	again = hostfs_slurp(m.root, record_path);
	check_str(again, record);
	/* A larger profile over it: undo still leads to the beginning. */
	o.bandwidth = profiles[1].bandwidth;
	o.rtt_ms = 20;
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	check_eq(quietly(apply_undo, &o), EXIT_DONE);
	check_snapshot(&m, before);
	free(before);
	free(once);
	free(record);
	free(again);
	made_fini(&m);
}

TEST(persist_writes_two_own_files_and_undo_removes_them)
{
	struct made_host m;
	struct tune_options o;

	if (!begin(&m, &o))
		return;
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	o.persist = true; /* later: what was changed before counts, too */
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	check_file(&m, sysctl_file, "\nnet.ipv4.tcp_congestion_control = bbr\n");
	check_file(&m, sysctl_file, "\nnet.ipv4.tcp_rmem = 4096 131072 63963136\n");
	check_file(&m, modules_file, "\ntcp_bbr\nsch_fq\n");
	check_eq(quietly(apply_undo, &o), EXIT_DONE);
	check(!hostfs_exists(m.root, sysctl_file));
	check(!hostfs_exists(m.root, modules_file));
	made_fini(&m);
}

TEST(a_file_of_somebody_else_is_not_touched)
{
	struct made_host m;
	struct tune_options o;

	if (!begin(&m, &o) || !made_put(&m, sysctl_file, "vm.swappiness = 1\n"))
		return;
	o.persist = true;
	check_eq(quietly(apply_run, &o), EXIT_FAILED);
	check_file(&m, sysctl_file, "vm.swappiness = 1\n");
	check_eq(quietly(apply_undo, &o), EXIT_FAILED);
	check_file(&m, sysctl_file, "vm.swappiness = 1\n");
	made_fini(&m);
}

TEST(a_dry_run_changes_nothing)
{
	struct made_host m;
	struct tune_options o;
	char *before, *after;

	if (!begin(&m, &o))
		return;
	o.persist = o.dry_run = true;
	before = snapshot(&m);
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	check_snapshot(&m, before);
	check(!hostfs_exists(m.root, record_path));
	check(!hostfs_exists(m.root, sysctl_file));
	o.dry_run = false;
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	after = snapshot(&m);
	o.dry_run = true;
	check_eq(quietly(apply_undo, &o), EXIT_DONE);
	check_snapshot(&m, after);
	check(hostfs_exists(m.root, sysctl_file));
	free(before);
	free(after);
	made_fini(&m);
}

/* A value that goes nowhere, as in a container that plays along, and one that is refused. */
TEST(what_does_not_take_is_an_error_and_the_rest_goes_on)
{
	static const char *const targets[] = { "/dev/null", "/proc/sys/kernel/ostype" };

	for (unsigned i = 0; i < countof(targets); i++) {
		struct made_host m;
		struct tune_options o;
		char path[HOST_PATH_MAX], *record;

		if (!begin(&m, &o))
			return;
		check(hostfs_path(path, m.root, "/proc/sys/net/core/rmem_max"));
		check_eq(unlink(path), 0);
		check_eq(symlink(targets[i], path), 0);
		check_eq(quietly(apply_run, &o), EXIT_FAILED);
		check_value(&m, "/proc/sys/net/core/wmem_max", "63963136");
		record = hostfs_slurp(m.root, record_path);
		check(record && strstr(record, "wmem_max"));
		free(record);
		made_fini(&m);
	}
}

TEST(undo_leaves_alone_what_somebody_changed_since)
{
	struct made_host m;
	struct tune_options o;

	if (!begin(&m, &o))
		return;
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	check_eq(hostfs_write(m.root, "/proc/sys/net/core/rmem_max", "123456789"), 0);
	check_eq(quietly(apply_undo, &o), EXIT_DONE);
	check_value(&m, "/proc/sys/net/core/rmem_max", "123456789");
	check_value(&m, "/proc/sys/net/core/wmem_max", "212992");
	made_fini(&m);
}

/* What could not be restored stays in the record, for another try. */
TEST(an_undo_that_fails_can_be_repeated)
{
	struct made_host m;
	struct tune_options o;
	char path[HOST_PATH_MAX], was[HOST_PATH_MAX + 8], *record;
	struct stat st;

	if (!begin(&m, &o))
		return;
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	check(hostfs_path(path, m.root, "/proc/sys/net/core/rmem_max"));
	snprintf(was, sizeof(was), "%s.was", path);
	check_eq(rename(path, was), 0);
	check_eq(mkdir(path, 0755), 0); /* neither read nor written */
	check_eq(quietly(apply_undo, &o), EXIT_FAILED);
	record = hostfs_slurp(m.root, record_path);
	check(record && strstr(record, "sysctl\tnet.core.rmem_max\t212992\t63963136\n"));
	check(record && !strstr(record, "wmem_max"));
	free(record);
	check_eq(rmdir(path), 0);
	check_eq(rename(was, path), 0);
	check_eq(quietly(apply_undo, &o), EXIT_DONE);
	check_value(&m, "/proc/sys/net/core/rmem_max", "212992");
	check(hostfs_path(path, m.root, record_path));
	check(stat(path, &st) < 0);
	made_fini(&m);
}

/* Whoever may write the record could have root set what he likes. */
TEST(a_record_that_others_may_write_is_not_followed)
{
	struct made_host m;
	struct tune_options o;
	char path[HOST_PATH_MAX];

	if (!begin(&m, &o))
		return;
	check_eq(quietly(apply_run, &o), EXIT_DONE);
	check(hostfs_path(path, m.root, record_path));
	check_eq(chmod(path, 0666), 0);
	check_eq(quietly(apply_undo, &o), EXIT_FAILED);
	check_eq(quietly(apply_run, &o), EXIT_FAILED);
	check_value(&m, "/proc/sys/net/core/wmem_max", "63963136");
	made_fini(&m);
}

TEST(a_record_holds_nothing_but_settings_of_the_table)
{
	static const struct {
		const char *text;
		unsigned line;
	} cases[] = {
		{ "", 0 },
		{ "# a comment\n\n", 0 },
		{ "sysctl\tnet.core.rmem_max\t1\t2\n", 0 },
		{ "module\ttcp_bbr\tnot loaded\tloaded\nqdisc\teth0\tfq_codel\tfq\n", 0 },
		{ "sysctl\tkernel.core_pattern\t|/tmp/x\tcore\n", 1 },
		{ "sysctl\tqdisc\t1\t2\n", 1 },
		{ "sysctl\tnet.core.rmem_max\n", 0 }, /* both values empty */
		{ "# x\nsysctl\tnet.core.rmem_max\t1\t2\nsysctl\tnet.core.rmem_max\t1\t2\n", 3 },
		{ "module\text4\tnot loaded\tloaded\n", 1 },
		{ "module\ttcp_bbr\tloaded\tloaded\n", 1 },
		{ "qdisc\t../x\tfq_codel\tfq\n", 1 },
		{ "qdisc\ta-name-too-long-for-a-link\tfq_codel\tfq\n", 1 },
		{ "route\tdefault\t\t\n", 1 },
	};
	static struct changes c;

	for (unsigned i = 0; i < countof(cases); i++)
		if (!check_eq(changes_parse(slice_of(cases[i].text), &c), cases[i].line))
			printf("# case %u\n", i);
}

TEST(a_record_is_read_as_it_was_written)
{
	static struct changes a, b;
	char *text;

	check_eq(changes_parse(SLICE("sysctl\tnet.ipv4.tcp_rmem\t4096 131072 6291456\t1 2 3\n"
				     "qdisc\teth0\tfq_codel\tfq\n"),
			       &a),
		 0);
	text = changes_format(&a);
	require(text);
	check_eq(changes_parse(slice_of(text), &b), 0);
	check_eq(b.count, 2);
	check_str(b.v[0].before, "4096 131072 6291456");
	check_str(b.v[1].name, "eth0");
	free(text);
}
