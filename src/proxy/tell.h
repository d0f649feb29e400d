/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Pulls in the access log: which requests a tally (tally.h) is made of, and when its line is
 * written.  Nothing of it where there is no access log.
 */
#pragma once

#include "proxy/xfer.h"

void tell_init(struct proxy *p);
/* Of a mirror that is known. */
void tell_begin(struct xfer *x);
/* Nothing more is sent.  <whole>: it was not cut off.  Twice is legal. */
void tell_end(struct xfer *x, bool whole);
/* Draining: as many lines as there is room for; true: none is left that could be written now. */
bool tell_rest(struct proxy *p) must_check;
