/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/ini.h"

#include "base/assert.h"
#include "base/buf.h"
#include "test.h"

/* All events as text: "1[server] 2host=a 3host+b 4!". */
struct trace {
	char mem[8192];
	struct buf buf;
	unsigned bad;
};

static void on_event(void *ctx, const struct ini_event *ev)
{
	struct trace *t = ctx;
	bool ok = true;

	switch (ev->kind) {
	case INI_SECTION:
		ok = buf_printf(&t->buf, " %u[%.*s]", ev->line, SLICE_FMT(ev->name));
		break;
	case INI_KEY:
	case INI_MORE:
		ok = buf_printf(&t->buf, " %u%.*s%c%.*s", ev->line, SLICE_FMT(ev->name),
				ev->kind == INI_KEY ? '=' : '+', SLICE_FMT(ev->value));
		break;
	case INI_BAD:
		t->bad++;
		ok = buf_printf(&t->buf, " %u!", ev->line);
		break;
	}
	assert(ok);
}

static const char *trace(struct slice text)
{
	static struct trace t;

	t.bad = 0;
	buf_init(&t.buf, t.mem, sizeof(t.mem) - 1);
	ini_read(text, on_event, &t);
	t.mem[t.buf.tail] = '\0';
	return t.mem[0] == ' ' ? t.mem + 1 : t.mem;
}
#define TRACE(literal) trace(SLICE(literal))

TEST(sections_and_keys_have_their_lines)
{
	check_str(TRACE("[server]\n\nhost = a\r\n; c\n# c\n  plain=x:1\n[ cache ] ; c\n"),
		  "1[server] 3host=a 6plain=x:1 7[cache]");
	check_str(TRACE("[a]"), "1[a]");
	check_str(TRACE("\n\n\nx = 1"), "4x=1");
	check_str(TRACE(""), "");
}

TEST(a_comment_needs_a_blank_before_it)
{
	check_str(TRACE("a = b ; c"), "1a=b");
	check_str(TRACE("a = b;c"), "1a=b;c");
	check_str(TRACE("a = max-age=1; includeSubDomains; preload ; c"),
		  "1a=max-age=1; includeSubDomains; preload");
	check_str(TRACE("a = b # c"), "1a=b # c");
	check_str(TRACE("a = ; c"), "1a=");
}

TEST(an_indented_line_goes_on)
{
	check_str(TRACE("a = 1\n  2 ; c\n\n\t[::]:443\nb = 3\n"), "1a=1 2a+2 4a+[::]:443 5b=3");
	check_str(TRACE("a = 1\n  b = 2\n"), "1a=1 2b=2");
	check_str(TRACE("  [s]\n  a = 1\n"), "1[s] 2a=1");
}

TEST(nothing_goes_on_over_a_section)
{
	check_str(TRACE("a = 1\n[s]\n  2\n"), "1a=1 2[s] 3!");
	check_str(TRACE("a = 1\n[s\n  2\n"), "1a=1 2! 3!");
}

TEST(every_bad_line_is_told)
{
	check_str(TRACE("x\n[a\n[b] c\n= 1\ny\n[c]\n"), "1! 2! 3! 4=1 5! 6[c]");
}

TEST(control_bytes_are_refused)
{
	check_str(TRACE("a = b\0c\na = \x01\na\x7f = 1\na = b\rc\nb = 2\n"), "1! 2! 3! 4! 5b=2");
	check_str(TRACE("\0"), "1!");
}

TEST(a_byte_order_mark_is_skipped_at_the_start_only)
{
	check_str(TRACE("\xef\xbb\xbf[a]\n"), "1[a]");
	check_str(TRACE("\xef\xbb\xbf\xef\xbb\xbf[a]\n"), "1!");
}

/* inih's own buffer is what bounds a line; 200 bytes in Debian's. */
TEST(a_long_line_is_refused_and_never_cut)
{
	char text[600], want[600];
	unsigned taken = 0, refused = 0;

	for (unsigned len = 10; len < 500; len++) {
		const char *got;

		snprintf(text, sizeof(text), "k = %0*d\nz = 1\n", (int)len, 1);
		snprintf(want, sizeof(want), "1k=%0*d 2z=1", (int)len, 1);
		got = trace(slice_of(text));
		if (strcmp(got, "1! 2z=1") == 0)
			refused++;
		else if (check_str(got, want))
			taken++;
		check(refused == 0 || taken + refused == len - 9);
	}
	check(taken > 150);
	check(refused > 0);
}

TEST(a_long_line_that_goes_on_is_refused_as_well)
{
	char text[600];

	snprintf(text, sizeof(text), "k = 1\n  %0*d\nz = 1\n", 400, 1);
	check_str(trace(slice_of(text)), "1k=1 2! 3z=1");
}

TEST(a_very_long_key_does_no_harm)
{
	char text[300];

	snprintf(text, sizeof(text), "%0*d = 1\n  2\n", 150, 1);
	check(strstr(trace(slice_of(text)), " 2") != NULL);
}
