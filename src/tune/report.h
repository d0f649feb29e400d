/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a check found, for people and for programs. */
#pragma once

#include <stdio.h>

#include "tune/settings.h"

void report_text(FILE *to, const struct host *h, const struct findings *f);
void report_json(FILE *to, const struct host *h, const struct findings *f);
/* 0 all is good; 1 something to apply; 2 something is impossible here. */
int report_status(const struct findings *f);

/* A JSON string, quotes included. */
void report_json_text(FILE *to, const char *text);
