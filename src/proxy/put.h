/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * JSON that is told to whoever looks after the server.  cJSON ignores additions to NULL: without
 * memory something is missing, and that is all.
 */
#pragma once

#include <cjson/cJSON.h>
#include <stdint.h>

#include "base/slice.h"

void put_uint(cJSON *to, const char *key, uint64_t n);
void put_text(cJSON *to, const char *key, struct slice s);
