/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * INI text to events, by inih.  We cut the text into lines ourselves, because Debian's inih tells
 * its handler no line number, silently splits a line that is longer than its buffer (200 bytes),
 * reports the first bad line only, and says nothing of a section without keys.  inih does the rest:
 * key, value, comments.
 *
 * Grammar: "[section name]", "key = value", "; comment" and "# comment" on lines of their own, " ;"
 * before a comment behind a value.  A value that is a list may go on in the next lines, indented:
 *	host = a.example.com
 *	       b.example.com
 * An indented line that looks like "key = value" is one.
 */
#pragma once

#include "base/slice.h"

enum ini_kind {
	INI_SECTION, /* name */
	INI_KEY,     /* name, value */
	INI_MORE,    /* name of the key that goes on, value */
	INI_BAD,     /* value: what is wrong, in words */
};

/* Slices are valid during the call only. */
struct ini_event {
	enum ini_kind kind;
	unsigned line; /* from 1 */
	struct slice name;
	struct slice value;
};

/* Goes on after bad lines, to the end of <text>. */
void ini_read(struct slice text, void (*event)(void *ctx, const struct ini_event *ev), void *ctx);
