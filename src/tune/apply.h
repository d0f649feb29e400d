/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Changing the host, and back.
 *
 * 1. Only what the check finds to differ is changed; a second run changes nothing.
 * 2. The record of what to undo is on the disk before the first change.
 * 3. Each change is read back; one that did not take is an error, and the others go on.
 * 4. undo restores what was there before, and leaves alone what somebody else has changed since.
 */
#pragma once

#include "tune/tune.h"

/* Both print a line for each change and give the exit status. */
int apply_run(const struct tune_options *o);
int apply_undo(const struct tune_options *o);
