/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The one file that sees VERSION, so that a new commit recompiles nothing else. */
#include "base/version.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

const char *version_text(void)
{
	return VERSION;
}
