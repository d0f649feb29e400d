/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/stat.h"

const struct stat_info stat_infos[STAT_COUNT] = {
#define X(name, metric, kind, help) [STAT_##name] = { metric, kind, help },
#include "base/stat.def"
#undef X
};
