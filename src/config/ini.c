/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/ini.h"

#include <ini.h>
#include <stdio.h>

#include "base/assert.h"

struct ini_state {
	struct slice rest;
	unsigned line;
	bool pending; /* inih has a line that it must call the handler for */
	bool is_more; /* that line continues the key before it */
	char key[64]; /* of the last key line; "" when no value can go on */
	void (*event)(void *ctx, const struct ini_event *ev);
	void *ctx;
};

static void emit(struct ini_state *st, enum ini_kind kind, struct slice name, struct slice value)
{
	st->event(st->ctx, &(struct ini_event){ kind, st->line, name, value });
}

static void emit_bad(struct ini_state *st, const char *what)
{
	emit(st, INI_BAD, SLICE_NONE, slice_of(what));
}

/* Offset of a byte that no text has, or s.len. */
static size_t find_control(struct slice s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if (((unsigned char)s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
			break;
	return i;
}

static bool is_comment(struct slice s)
{
	return s.len && (s.ptr[0] == ';' || s.ptr[0] == '#');
}

/* "word =", so that keys may be indented. */
static bool is_key_line(struct slice s)
{
	struct slice key = slice_trim(slice_first(s, slice_find(s, '=')));

	if (key.len == 0 || slice_find(s, '=') == s.len)
		return false;
	for (size_t i = 0; i < key.len; i++)
		if (key.ptr[i] != '_' && (key.ptr[i] < 'a' || key.ptr[i] > 'z'))
			return false;
	return true;
}

static void section_line(struct ini_state *st, struct slice s)
{
	size_t end = slice_find(s, ']');
	struct slice after = slice_trim(slice_skip(s, end + 1));

	st->key[0] = '\0';
	if (end == s.len)
		emit_bad(st, "a section line must end with ']'");
	else if (after.len && !is_comment(after))
		emit_bad(st, "nothing but a comment may follow the ']' of a section line");
	else
		emit(st, INI_SECTION, slice_trim(slice_skip(slice_first(s, end), 1)), SLICE_NONE);
}

/* Hands one key line to inih, if its buffer takes it. */
static bool key_line(struct ini_state *st, struct slice s, char *out, int room)
{
	char what[120];
	int n;

	if (st->is_more)
		n = snprintf(out, (size_t)room, "%s = %.*s\n", st->key, SLICE_FMT(s));
	else
		n = snprintf(out, (size_t)room, "%.*s\n", SLICE_FMT(s));
	if (n < room)
		return true;
	snprintf(what, sizeof(what),
		 "the line is longer than %d bytes: let a list go on in the next line, indented",
		 room - 2);
	emit_bad(st, what);
	return false;
}

/* inih's fgets(): gives it the next key line and deals with all others. */
static char *next_line(char *out, int room, void *stream)
{
	struct ini_state *st = stream;

	assert(room > 2);
	if (st->pending)
		emit_bad(st, "must be 'key = value', '[section]' or a comment");
	st->pending = false;
	while (st->rest.len) {
		struct slice whole = slice_cut(&st->rest, '\n');
		struct slice s;

		if (whole.len && whole.ptr[whole.len - 1] == '\r')
			whole.len--;
		s = slice_trim(whole);
		st->line++;
		if (find_control(s) < s.len) {
			emit_bad(st, "the line has a control character");
		} else if (s.len && s.ptr[0] == '[' && (s.ptr == whole.ptr || !st->key[0])) {
			section_line(st, s);
		} else if (s.len && !is_comment(s)) {
			st->is_more = st->key[0] && s.ptr > whole.ptr && !is_key_line(s);
			st->pending = key_line(st, s, out, room);
			if (st->pending)
				return out;
		}
	}
	return NULL;
}

static int on_pair(void *user, const char *section, const char *name, const char *value)
{
	struct ini_state *st = user;

	(void)section;
	st->pending = false;
	if (!st->is_more)
		snprintf(st->key, sizeof(st->key), "%s", name);
	emit(st, st->is_more ? INI_MORE : INI_KEY, slice_of(name), slice_of(value));
	return 1;
}

void ini_read(struct slice text, void (*event)(void *ctx, const struct ini_event *ev), void *ctx)
{
	struct ini_state st = { .rest = text, .event = event, .ctx = ctx };

	if (slice_starts(text, SLICE("\xef\xbb\xbf"))) /* a BOM, as Windows editors write it */
		st.rest = slice_skip(text, 3);
	/* Else its result is the number of the first bad line, as it counts them. */
	if (ini_parse_stream(next_line, &st, on_pair, &st) == -2)
		emit_bad(&st, "no memory");
}
