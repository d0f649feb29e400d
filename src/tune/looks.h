/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How each setting that is no plain sysctl is looked at: functions of the table in settings.c. */
#pragma once

#include "tune/settings.h"

#define LOOK(name)                                                                                 \
	void look_##name(const struct host *h, const struct setting *s, struct findings *f)

LOOK(kernel);
LOOK(io_uring);
LOOK(container);
LOOK(module);
LOOK(qdisc);
LOOK(queues);
LOOK(rps);
LOOK(xps);
LOOK(offloads);
LOOK(initcwnd);
LOOK(nofile);
LOOK(clock);
LOOK(ipv6);
LOOK(time_wait);

enum module_state {
	MODULE_LOADED,   /* or built in */
	MODULE_LOADABLE, /* it is in /lib/modules */
	MODULE_MISSING,
	MODULE_UNKNOWN, /* there is no list of what is built in */
};
enum module_state module_state(const struct host *h, const char *name);
