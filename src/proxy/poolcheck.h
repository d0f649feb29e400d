/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * `check` of a [pool]: each member is asked GET /v2/ by itself, on a connection that is dialled as
 * those for requests are.  200 and 401 are well; all else, and no answer, leaves it out until a
 * check finds it well again, or its time is over.
 *
 * Invariants
 *  1. One for each host that a mirror's upstreams are at and whose pool has a check; of the
 *     generation that new requests use, on its worker; none while draining.
 *  2. At most PROBES_MAX connections each, one to a member; a round begins only after the last has
 *     ended, so a check that takes long delays the next.
 *  3. What is our own fault (no descriptor, no free slot, no address) says nothing of a member.
 */
#pragma once

#include "proxy/proxy.h"

/* For p->generation, in which no check runs. */
void poolchecks_start(struct proxy *p);
/* Synchronous: connections close by themselves. */
void poolchecks_stop(struct proxy *p);
