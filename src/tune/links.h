/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Network interfaces, the queueing discipline (qdisc) that each really has, and the default route.
 *
 * This machine's come from rtnetlink; those of a made-up host from the file /links below its root,
 * a line each: NAME QDISC LEAF HANDLE OFFLOADS ("eth0 mq fq_codel 0 gro,gso").
 */
#pragma once

#include <stdbool.h>

#include "base/assert.h"

enum { LINKS_MAX = 32, LINK_NAME_MAX = 16, QDISC_NAME_MAX = 16 };

struct link {
	char name[LINK_NAME_MAX];
	int index;
	char qdisc[QDISC_NAME_MAX]; /* at its root: noqueue, mq, fq, ... */
	char leaf[QDISC_NAME_MAX];  /* below an mq: what all its queues have, or "mixed" */
	bool by_hand;               /* the kernel did not choose it by itself */
	bool hardware;              /* a device stands behind it, or a host that plays one */
	unsigned rx_queues;
	unsigned tx_queues;
	bool offloads_known;
	bool gro, gso, tso;
};

struct links {
	struct link v[LINKS_MAX];
	unsigned count;
	unsigned more; /* that found no place */
};

/* Those that are up, without loopback.  0 or -errno. */
int links_find(const char *root, struct links *out) must_check;
/* What sends: of an mq that of its queues. */
const char *link_sends_by(const struct link *l);
/*
 * Puts <kind> at the root, or below an mq in each queue, which has to be net.core.default_qdisc
 * by then.
 */
int link_set_qdisc(const char *root, const struct link *l, const char *kind) must_check;
/* Lets the kernel choose again: by net.core.default_qdisc. */
int link_reset_qdisc(const char *root, const struct link *l) must_check;

/* initcwnd of the IPv4 default route: 0 the kernel's 10; -ENOENT no such route; or -errno. */
int links_initcwnd(const char *root) must_check;
/* Has this kernel that qdisc?  Tried in a network of its own, by root.  1, 0, or -errno. */
int links_try_qdisc(const char *kind) must_check;
