/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parts of `sluice doctor`: each looks at one thing and says what it found. */
#pragma once

#include "cli/findings.h"
#include "config/config.h"

struct checkup;

/* doctor_host.c */
void doctor_kernel(struct findings *f, const struct config *c);
void doctor_ports(struct findings *f, const struct config *c);
void doctor_cache(struct findings *f, const struct config *c);
void doctor_clock(struct findings *f);
/* doctor_certs.c */
void doctor_certs(struct findings *f, const struct config *c);
/* doctor_up.c: all upstreams at once, each within CHECKUP_MS. */
void doctor_upstreams(struct findings *f, struct config *c);
/* doctor_tell.c: what one of them told. */
void doctor_tell(struct findings *f, const struct checkup *c);
