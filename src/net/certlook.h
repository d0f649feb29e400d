/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a file of certificates says of itself, for people: names, times, and whether the chain leads
 * to a root that this machine trusts.  Serves nothing: net/tls.h does.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "net/names.h"

struct cert_look {
	struct cert_names names; /* of the first: the server's own */
	int64_t not_before;      /* of it, in seconds since 1970 */
	unsigned count;          /* certificates in the file */
	unsigned gap;            /* > 0: certificate number <gap> is not issued by the next one */
	bool self_issued;        /* the first one is: by no CA */
	bool rooted;             /* by the system's roots, whatever its times say */
};

/* 0, or ERR_TLS_CERT (nothing can be read), -errno; cert_look_fini() after a 0 alone. */
int cert_look(const char *path, struct cert_look *out) must_check;
void cert_look_fini(struct cert_look *l);
