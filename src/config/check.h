/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of draft_check() that have a file of their own. */
#pragma once

#include "config/draft.h"

/* When the mirrors are known. */
void check_tenants(struct draft *d, bool look_at_files);
