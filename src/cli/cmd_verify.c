/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "cache/verify.h"
#include "cli/cli.h"
#include "proxy/oci.h"

enum { EXIT_DAMAGED = 1, EXIT_UNVERIFIED = 2 };

struct verified {
	bool json;
	bool shows; /* progress, on a terminal */
	time_t shown_s;
	unsigned long files, damaged, unknown, left;
	uint64_t bytes;
};

static void verify_progress(struct verified *v)
{
	time_t now_s = time(NULL);

	if (!v->shows || now_s == v->shown_s)
		return;
	v->shown_s = now_s;
	fprintf(stderr, "\r%lu files, %ju MiB, %lu damaged", v->files, (uintmax_t)(v->bytes >> 20),
		v->damaged);
}

static void verify_seen(void *arg, const struct cache_verified *f)
{
	struct verified *v = arg;
	const char *word = f->result == VERIFY_DAMAGED ? "damaged" : "unreadable";

	if (f->result == VERIFY_GONE)
		return;
	v->files++;
	v->bytes += f->bytes;
	v->damaged += f->result == VERIFY_DAMAGED;
	v->unknown += f->result == VERIFY_UNKNOWN;
	v->left += f->err < 0;
	verify_progress(v);
	if (f->result == VERIFY_GOOD)
		return;
	printf(v->json ? "{\"result\":\"%s\",\"path\":\"%s\"}\n" : "%s %s\n", word, f->path);
	if (f->err < 0)
		(void)cli_fail("%s cannot be put into quarantine: %s", f->path, err_text(f->err));
}

static void verify_summary(const struct verified *v)
{
	if (v->shows)
		fputc('\n', stderr);
	if (v->json)
		printf("{\"files\":%lu,\"bytes\":%ju,\"damaged\":%lu,\"unreadable\":%lu}\n",
		       v->files, (uintmax_t)v->bytes, v->damaged, v->unknown);
	else
		printf("%lu files with %ju bytes verified: %lu damaged, %lu unreadable\n", v->files,
		       (uintmax_t)v->bytes, v->damaged, v->unknown);
}

/* Beside a running server, too: it sees what is put into quarantine here. */
int cmd_verify(const struct cli_args *args)
{
	struct config *c = cli_load(args->file);
	struct verified v = { .json = args->json, .shows = !args->json && isatty(STDERR_FILENO) };
	const char *suffixes[OCI_TYPES];
	struct cache_opts opts = { .suffixes = suffixes, .suffixes_count = OCI_TYPES };
	char why[512];
	int err;

	if (!c)
		return EXIT_UNVERIFIED;
	for (unsigned i = 0; i < OCI_TYPES; i++)
		suffixes[i] = oci_types[i].suffix;
	opts.path = c->cache.path;
	snprintf(why, sizeof(why), "no memory");
	err = cache_verify(&opts, verify_seen, &v, why, sizeof(why));
	if (err < 0)
		(void)cli_fail("%s", why);
	else
		verify_summary(&v);
	config_unref(c);
	if (err < 0 || v.unknown > 0 || v.left > 0)
		return EXIT_UNVERIFIED;
	return v.damaged > 0 ? EXIT_DAMAGED : EXIT_SUCCESS;
}
