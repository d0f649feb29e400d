/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include "test.h"

TEST(quoting_escapes_what_could_fool_a_reader)
{
	check_str(LOG_Q(SLICE("plain text")), "\"plain text\"");
	check_str(LOG_Q(SLICE("a\"b\\c")), "\"a\\\"b\\\\c\"");
	check_str(LOG_Q(SLICE("a\nb\0c\x7f\xff")), "\"a\\x0ab\\x00c\\x7f\\xff\"");
	check_str(LOG_Q(SLICE_NONE), "\"\"");
}

TEST(quoting_is_cut_at_any_length_without_overrun)
{
	char text[300];

	for (int fill = 0; fill < 3; fill++) {
		memset(text, "a\n\""[fill], sizeof(text));
		for (size_t n = 0; n <= sizeof(text); n++) {
			struct log_quoted q = log_quote((struct slice){ text, n });
			size_t len = strlen(q.text);

			check(len < sizeof(q.text));
			check_eq(q.text[0], '"');
			check_eq(q.text[len - 1], '"');
		}
	}
	check(strstr(LOG_Q(((struct slice){ text, sizeof(text) })), "...\"") != NULL);
}

/* What log_line() writes to stderr while fn runs. */
static char *captured(void (*fn)(void))
{
	static char out[8192];
	int pipes[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	if (pipe2(pipes, O_NONBLOCK) < 0)
		return NULL;
	dup2(pipes[1], STDERR_FILENO);
	fn();
	dup2(saved, STDERR_FILENO);
	n = read(pipes[0], out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = '\0';
	close(pipes[0]);
	close(pipes[1]);
	close(saved);
	return out;
}

static void say_something(void)
{
	log_info("start workers=%d", 2);
	log_debug("%s", "not shown");
}

static void say_much(void)
{
	log_info("%4000d", 1);
}

static void say_often(void)
{
	for (int i = 0; i < 50; i++)
		log_limited(LOG_WARN, "flood n=%d", i);
}

TEST(a_line_has_level_and_text_and_one_end)
{
	const char *text = captured(say_something);

	require(text);
	check(strstr(text, "Z info start workers=2\n") != NULL);
	check(strstr(text, "not shown") == NULL);
	check(strchr(text, '\n') == strrchr(text, '\n'));
}

TEST(a_line_that_is_too_long_is_cut_and_still_ends)
{
	const char *text = captured(say_much);

	require(text);
	check(strlen(text) < 2100);
	check_eq(text[strlen(text) - 1], '\n');
	check(strchr(text, '\n') == text + strlen(text) - 1);
}

TEST(a_flood_is_held_back)
{
	const char *text = captured(say_often);
	int lines = 0;

	require(text);
	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	check(lines >= 1);
	check(lines <= 2); /* a second may have begun in between */
	check(strstr(text, "flood n=0 held=0\n") != NULL);
}
