/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/err.h"
#include "tune/change.h"
#include "tune/persist.h"
#include "tune/report.h"

static const char lock_path[] = "/run/sluice-tune.lock";

/* EXIT_DONE: this host may be changed by us, and by no other sluice-tune meanwhile. */
static int begin(const struct tune_options *o, const char *what)
{
	int fd;

	if (o->root[0] || o->dry_run)
		return EXIT_DONE;
	if (geteuid() != 0)
		return report_fail(
			"%s changes the host, which takes root: \"sudo sluice-tune %s\".  "
			"Nothing was changed; --dry-run shows what would be",
			what, what);
	fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return report_fail("%s cannot be opened: %s", lock_path, err_text(-errno));
	/* Held until the process ends. */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return report_fail("another sluice-tune is at work: %s is locked", lock_path);
	return EXIT_DONE;
}

static int load(const struct tune_options *o, struct changes *record)
{
	unsigned line;
	int err = changes_load(o->root, record, &line);

	if (err == 0)
		return EXIT_DONE;
	if (line)
		return report_fail(
			"%s:%u: not a change of sluice-tune's: mend that line or remove it",
			changes_path, line);
	if (err == -EPERM)
		return report_fail("%s is not a file that root alone may write: it is not followed",
				   changes_path);
	return report_fail("%s cannot be read: %s", changes_path, err_text(err));
}

static int save(const struct tune_options *o, const struct changes *record)
{
	int err = changes_save(o->root, record);

	return err == 0 ? EXIT_DONE
			: report_fail("%s cannot be written: %s", changes_path, err_text(err));
}

static const char *label(const struct change *c)
{
	switch (c->kind) {
	case CHANGE_MODULE: return "module ";
	case CHANGE_QDISC: return "qdisc ";
	case CHANGE_SYSCTL:
	case CHANGE_KINDS: break;
	}
	return "";
}

static void print_diff(const struct change *c, const char *from, const char *to)
{
	printf("-%s%s = %s\n+%s%s = %s\n", label(c), c->name, from, label(c), c->name, to);
}

static void print_file(const struct persist_file *f)
{
	struct slice old = slice_of(f->old), text = slice_of(f->text);

	printf("--- %s\n+++ %s\n", f->old ? f->path : "/dev/null", f->text ? f->path : "/dev/null");
	while (old.len)
		printf("-%.*s\n", SLICE_FMT(slice_cut(&old, '\n')));
	while (text.len)
		printf("+%.*s\n", SLICE_FMT(slice_cut(&text, '\n')));
}

/* ---- apply ---- */

static void plan_one(const struct finding *f, struct change *c)
{
	const struct setting *s = f->setting;

	*c = (struct change){ .kind = CHANGE_SYSCTL };
	if (f->link) {
		c->kind = CHANGE_QDISC;
		snprintf(c->name, sizeof(c->name), "%s", f->link->name);
		snprintf(c->before, sizeof(c->before), "%s", link_sends_by(f->link));
	} else if (s->rule == RULE_NONE) {
		c->kind = CHANGE_MODULE;
		snprintf(c->name, sizeof(c->name), "%s", s->word);
	} else {
		snprintf(c->name, sizeof(c->name), "%s", s->name);
	}
	if (!c->before[0])
		memcpy(c->before, f->now, sizeof(c->before));
	memcpy(c->after, f->wanted, sizeof(c->after));
	assert(change_is_ours(c));
}

static void plan(const struct findings *found, struct changes *out)
{
	out->count = 0;
	for (unsigned i = 0; i < found->count; i++)
		if (found->v[i].verdict == VERDICT_APPLY) {
			assert(out->count < CHANGES_MAX);
			plan_one(&found->v[i], &out->v[out->count++]);
		}
}

/* False: the record is full. */
static bool remember(struct changes *record, const struct change *c)
{
	struct change *r = changes_find(record, c->kind, c->name);

	if (!r) {
		if (record->count == CHANGES_MAX)
			return false;
		record->v[record->count++] = *c;
		return true;
	}
	/* What was there before the first of our changes, if they followed one another. */
	if (strcmp(r->after, c->before) != 0)
		memcpy(r->before, c->before, sizeof(r->before));
	memcpy(r->after, c->after, sizeof(r->after));
	return true;
}

static bool took(const struct host *h, const struct change *c, const char *now)
{
	char wanted[HOST_VALUE_MAX];

	if (c->kind == CHANGE_SYSCTL)
		return setting_is_good(setting_find(c->name), h->bdp.buffer_bytes, now, wanted);
	return strcmp(now, c->after) == 0;
}

/* Does it; what it is then goes into the record. */
static int do_one(const struct host *h, const struct change *c, struct changes *record)
{
	struct change *r = changes_find(record, c->kind, c->name);
	char now[HOST_VALUE_MAX] = "";
	int err = change_do(h->root, c), again = change_read(h->root, c, now);

	assert(r);
	if (err == 0 && again == 0 && took(h, c, now)) {
		memcpy(r->after, now, sizeof(r->after));
		print_diff(c, c->before, now);
		return EXIT_DONE;
	}
	if (again == 0 && strcmp(now, r->before) == 0)
		changes_remove(record, (unsigned)(r - record->v));
	if (err < 0)
		return report_fail("%s%s = %s: the kernel refuses it: %s", label(c), c->name,
				   c->after, err_text(err));
	if (again < 0)
		return report_fail("%s%s cannot be read back: %s", label(c), c->name,
				   err_text(again));
	return report_fail("%s%s = %s did not take: it is %s", label(c), c->name, c->after,
			   now[0] ? now : "empty");
}

static int do_all(const struct tune_options *o, const struct host *h, const struct changes *todo,
		  struct changes *record)
{
	int status = EXIT_DONE;

	for (unsigned i = 0; i < todo->count; i++)
		if (!remember(record, &todo->v[i]))
			return report_fail("%s is full: \"sluice-tune undo\" first", changes_path);
	if (o->dry_run) {
		for (unsigned i = 0; i < todo->count; i++)
			print_diff(&todo->v[i], todo->v[i].before, todo->v[i].after);
		return EXIT_DONE;
	}
	if (todo->count == 0)
		return EXIT_DONE;
	if (save(o, record) != EXIT_DONE)
		return EXIT_FAILED;
	for (unsigned i = 0; i < todo->count; i++)
		if (do_one(h, &todo->v[i], record) != EXIT_DONE)
			status = EXIT_FAILED;
	return save(o, record) == EXIT_DONE ? status : EXIT_FAILED;
}

/* Files after the record: removes them when it is empty. */
static int write_files(const struct tune_options *o, const struct changes *record, bool persist)
{
	struct persist files;
	const char *whose = "";
	int err = persist_plan(o->root, record, &files, &whose), status = EXIT_DONE;

	if (err == -EEXIST)
		return report_fail("%s is not sluice-tune's: rename it", whose);
	if (err < 0)
		return report_fail("%s", err_text(err));
	for (unsigned i = 0; i < PERSIST_FILES; i++) {
		const struct persist_file *f = &files.files[i];

		if (!persist_differs(f))
			continue;
		if (!persist) {
			if (f->old)
				printf("note: %s has other values: --persist writes these\n",
				       f->path);
			continue;
		}
		err = o->dry_run ? 0 : persist_write(o->root, f);
		if (err < 0)
			status = report_fail("%s cannot be written: %s", f->path, err_text(err));
		else
			print_file(f);
	}
	persist_fini(&files);
	return status;
}

int apply_run(const struct tune_options *o)
{
	static struct host h;
	static struct findings found;
	static struct changes todo, record;
	unsigned impossible;
	int status = begin(o, "apply"), files;

	if (status == EXIT_DONE)
		status = load(o, &record);
	if (status != EXIT_DONE)
		return status;
	if (!host_find(&h, o->root, o->rtt_ms, o->bandwidth))
		return report_fail("%s/proc/meminfo does not tell how much memory there is",
				   o->root);
	host_check(&h, &found);
	plan(&found, &todo);
	status = do_all(o, &h, &todo, &record);
	files = write_files(o, &record, o->persist);
	if (todo.count == 0)
		printf("nothing to change\n");
	impossible = findings_count(&found, VERDICT_IMPOSSIBLE);
	if (impossible)
		printf("%u impossible here: \"sluice-tune check\" says why\n", impossible);
	return status == EXIT_DONE ? files : status;
}

/* ---- undo ---- */

/* A list comes in the order in which the kernel has loaded modules. */
static bool is_same(const struct change *c, const char *a, const char *b)
{
	const struct setting *s = c->kind == CHANGE_SYSCTL ? setting_find(c->name) : NULL;
	struct slice rest = slice_of(a);

	if (!s || s->rule != RULE_HAS || strlen(a) != strlen(b))
		return strcmp(a, b) == 0;
	while (rest.len)
		if (!words_have(b, slice_cut(&rest, ' ')))
			return false;
	return true;
}

/* True: done with it. */
static bool undo_one(const struct tune_options *o, const struct change *c)
{
	char now[HOST_VALUE_MAX];
	int err = change_read(o->root, c, now);

	if (err == -ENODEV || err == -ENOENT) {
		printf("note: %s%s is not here any more\n", label(c), c->name);
		return true;
	}
	if (err == 0 && is_same(c, now, c->before))
		return true;
	if (err == 0 && !is_same(c, now, c->after)) {
		printf("note: %s%s = %s is not what sluice-tune set (%s): left alone\n", label(c),
		       c->name, now, c->after);
		return true;
	}
	if (err == 0 && o->dry_run) {
		print_diff(c, now, c->before);
		return true;
	}
	if (err == 0)
		err = change_undo(o->root, c);
	if (c->kind == CHANGE_MODULE && (err == -EBUSY || err == -EAGAIN)) {
		printf("note: module %s is in use: it stays until the next start\n", c->name);
		return true;
	}
	if (err == 0)
		err = change_read(o->root, c, now);
	if (err < 0) {
		report_fail("%s%s = %s: the kernel refuses it: %s", label(c), c->name, c->before,
			    err_text(err));
		return false;
	}
	if (!is_same(c, now, c->before)) {
		report_fail("%s%s = %s did not take: it is %s", label(c), c->name, c->before, now);
		return false;
	}
	print_diff(c, c->after, now);
	return true;
}

int apply_undo(const struct tune_options *o)
{
	static struct changes record;
	static const struct changes none;
	int status = begin(o, "undo"), files;
	bool any;

	if (status == EXIT_DONE)
		status = load(o, &record);
	if (status != EXIT_DONE)
		return status;
	any = record.count > 0;
	files = write_files(o, &none, true);
	/* Backwards: qdiscs, the default qdisc, what allows BBR, and its module last. */
	for (unsigned i = record.count; i-- > 0;)
		if (undo_one(o, &record.v[i]))
			changes_remove(&record, i);
	if (!any)
		printf("nothing to undo: %s is not here\n", changes_path);
	if (record.count)
		status = EXIT_FAILED;
	if (!o->dry_run && any && save(o, &record) != EXIT_DONE)
		status = EXIT_FAILED;
	return status == EXIT_DONE ? files : status;
}
