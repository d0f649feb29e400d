/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How subcommands show numbers and progress. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { SHOW_MAX = 32 };

/* "27.1 MiB"; returns <out>. */
const char *show_bytes(uint64_t bytes, char out[SHOW_MAX]);
/* "5 min", of seconds. */
const char *show_age(int64_t seconds, char out[SHOW_MAX]);
/* "#####....." of <width> characters; <of> 0: not known. */
void show_bar(uint64_t part, uint64_t of, unsigned width, char *out);
