/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a check found, for people and for programs; and why something could not be done. */
#pragma once

#include <stdio.h>

#include "tune/tune.h"

void report_text(FILE *to, const struct host *h, const struct findings *f);
void report_json(FILE *to, const struct host *h, const struct findings *f);
/* 0 all is good; 1 something to apply; 2 something is impossible here. */
int report_status(const struct findings *f);

/* A line on stderr; gives EXIT_FAILED. */
int report_fail(const char *fmt, ...) cold printf_like(1, 2);

/* A JSON string, quotes included. */
void report_json_text(FILE *to, const char *text);
