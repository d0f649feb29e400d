/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The version of this build, from git describe: a tag, or a short commit; "unknown" outside git. */
const char *version_text(void);
