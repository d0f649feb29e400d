/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What `sluice doctor` found: sentences in the order in which they are to be read, each about
 * something (the host, a certificate, an upstream) and with a verdict.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/assert.h"

enum verdict {
	FOUND_WELL,
	FOUND_NOTE,    /* worth a look; nothing is wrong */
	FOUND_WRONG,   /* clients will notice, or do already */
	FOUND_UNKNOWN, /* it could not be looked at */
	FOUND_VERDICTS
};

enum { FINDINGS_MAX = 8192 }; /* ten of each of 800 upstreams; more are only counted */

struct finding {
	char *about;
	const char *check; /* a word for programs: "dns", "token", ... */
	enum verdict verdict;
	char *text;
};

struct findings {
	struct finding *v;
	unsigned count;
	unsigned cap;
	unsigned lost; /* for want of memory or room */
	unsigned each[FOUND_VERDICTS];
};

/* <check> is static text. */
void found(struct findings *f, enum verdict verdict, const char *about, const char *check,
	   const char *fmt, ...) printf_like(5, 6);
void findings_print(const struct findings *f, bool json, int status);
void findings_free(struct findings *f);
/* The exit status: 0 all is well, 1 something is wrong, 2 something could not be looked at. */
int findings_status(const struct findings *f) must_check;
