/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Is this the password of that hash?  bcrypt takes some 50 ms, so a helper of its own does it.
 *
 * Invariants
 *  1. The password is copied here and wiped when the answer is known.
 *  2. A check lives until its helper has given it back, whoever has lost interest meanwhile.
 *  3. At most PASSWORDS_MAX wait in one worker.
 */
#pragma once

#include "io/offload.h"
#include "proxy/proxy.h"

enum { PASSWORDS_MAX = 64 };

struct password {
	struct job job;
	struct proxy *proxy;
	struct task *owner; /* NULL: nobody waits */
	char *hash;
	char *text;
	bool done;
	bool right;
};

/* <owner> is woken when `done`.  NULL: too many, or no memory. */
struct password *password_start(struct proxy *p, struct task *owner, const char *hash,
				struct slice text) must_check;
/* It is not wanted any more, done or not. */
void password_end(struct password *pw);
