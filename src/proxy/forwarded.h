/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whose a request is, as balancers before us tell it: X-Forwarded-For.  Pure. */
#pragma once

#include "config/config.h"
#include "http/msg.h"
#include "net/addr.h"

/*
 * *client is the peer when it is called, and stays it unless that is in <trusted>.  Then the
 * field's addresses are gone through from the last one: each was added by the one that is known so
 * far, and counts if that is trusted.  What is no address ends that.
 */
void forwarded_find(const struct msg *m, const struct conf_nets *trusted, struct addr *client);
/* Is it in one of these networks? */
bool forwarded_trusts(const struct conf_nets *trusted, const struct addr *a);
