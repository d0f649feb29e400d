/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * sluice top: what the server does now, on a terminal, anew every TOP_MS until q.  Where stdout is
 * no terminal, one picture; with --json the state as the server tells it, once.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/ask.h"
#include "cli/show.h"

enum {
	TOP_MS = 2000,
	TOP_FIRST_MS = 1000, /* between the two looks of which one picture is made */
	TOP_QUIET_S = 10,
	TOP_BAR = 20,
	WIDE_MIN = 40,
	WIDE_MAX = 500,
	HIGH_MIN = 12,
	HIGH_MAX = 500,
};

struct look {
	cJSON *state;
	uint64_t at_ms;
};

static volatile sig_atomic_t asked_to_end;

static void on_signal(int sig)
{
	(void)sig;
	asked_to_end = 1;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- asking ---- */

static void keep_line(void *ctx, const cJSON *line, const char *text)
{
	struct look *l = ctx;
	const char *error = cJSON_GetStringValue(cJSON_GetObjectItem(line, "error"));

	(void)text;
	if (error)
		(void)cli_fail("%s", error);
	else if (!l->state)
		l->state = cJSON_Duplicate(line, true);
}

/* True: there is a state. */
static bool look(const struct cli_args *args, struct look *l)
{
	*l = (struct look){ .at_ms = now_ms() };
	return cli_ask(args, (const char *[]){ "state" }, 1, TOP_QUIET_S, keep_line, l) ==
		       EXIT_SUCCESS &&
	       l->state;
}

/* ---- reading it ---- */

static const cJSON *at(const cJSON *o, const char *key)
{
	return cJSON_GetObjectItem(o, key);
}

static double number(const cJSON *o, const char *key)
{
	const cJSON *n = at(o, key);

	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

static uint64_t uint_of(const cJSON *o, const char *key)
{
	double n = number(o, key);

	return n > 0 ? (uint64_t)n : 0;
}

static const char *text(const cJSON *o, const char *key)
{
	const char *s = cJSON_GetStringValue(at(o, key));

	return s ? s : "";
}

/* Of a counter, in a second. */
static double rate(const struct look *was, const struct look *is, const char *key)
{
	double s = (double)(is->at_ms - was->at_ms) / 1000;
	double n = number(at(is->state, "counters"), key) - number(at(was->state, "counters"), key);

	return s > 0 && n > 0 ? n / s : 0;
}

/* ---- a picture ---- */

struct picture {
	FILE *out;
	unsigned wide, high;
	unsigned lines;
	bool tty;
};

/* One line, cut to what fits; beyond the last nothing is written. */
static printf_like(2, 3) void put(struct picture *p, const char *fmt, ...)
{
	char line[WIDE_MAX + 1];
	va_list ap;

	if (p->lines + 1 > p->high)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	fprintf(p->out, "%.*s%s\n", (int)p->wide, line, p->tty ? "\033[K" : "");
	p->lines++;
}

static void put_title(struct picture *p, const char *title)
{
	if (p->lines + 2 >= p->high)
		return;
	put(p, "%s", "");
	if (p->tty)
		fputs("\033[1m", p->out);
	put(p, "%s", title);
	if (p->tty)
		fputs("\033[0m", p->out);
}

static void put_head(struct picture *p, const struct look *was, const struct look *is)
{
	const cJSON *s = is->state, *cache = at(s, "cache");
	char a[SHOW_MAX], b[SHOW_MAX], bar[TOP_BAR + 1];
	double hits = rate(was, is, "cache_hits_total");
	double asked = hits + rate(was, is, "cache_misses_total");

	put(p, "sluice %s, up %s, %" PRIu64 " workers, %s%s", text(s, "version"),
	    show_age((int64_t)(number(s, "time") - number(s, "started")), a), uint_of(s, "workers"),
	    text(s, "congestion"),
	    cJSON_IsTrue(at(s, "draining"))      ? ", draining"
	    : cJSON_IsFalse(at(cache, "usable")) ? ", the disk fails"
						 : "");
	put(p, "to clients %10s/s   from upstreams %10s/s",
	    show_bytes((uint64_t)rate(was, is, "bytes_down_total"), a),
	    show_bytes((uint64_t)rate(was, is, "bytes_up_total"), b));
	snprintf(a, sizeof(a), asked > 0 ? "%.1f %%" : "-", asked > 0 ? 100 * hits / asked : 0);
	put(p, "requests   %10.0f/s   hits %9s   connections %" PRIu64,
	    rate(was, is, "requests_total"), a, uint_of(at(s, "counters"), "connections"));
	show_bar(uint_of(cache, "bytes"), uint_of(cache, "size_bytes"), TOP_BAR, bar);
	put(p, "cache [%s] %s of %s, %" PRIu64 " files", bar,
	    show_bytes(uint_of(cache, "bytes"), a), show_bytes(uint_of(cache, "size_bytes"), b),
	    uint_of(cache, "blobs"));
}

static void put_fills(struct picture *p, const cJSON *s, unsigned most)
{
	const cJSON *list = at(s, "fills"), *f;
	char title[64], bar[TOP_BAR + 1], a[SHOW_MAX], b[SHOW_MAX];

	snprintf(title, sizeof(title), "FILLS %" PRIu64, uint_of(s, "fills_running"));
	put_title(p, title);
	cJSON_ArrayForEach(f, list)
	{
		if (most-- == 0)
			return;
		show_bar(uint_of(f, "bytes"), uint_of(f, "size"), TOP_BAR, bar);
		put(p, "[%s] %10s of %-10s %s/%s", bar, show_bytes(uint_of(f, "bytes"), a),
		    uint_of(f, "size") ? show_bytes(uint_of(f, "size"), b) : "?", text(f, "mirror"),
		    text(f, "repository"));
	}
}

static void put_top(struct picture *p, const cJSON *s, unsigned most)
{
	const cJSON *t;
	char a[SHOW_MAX];

	put_title(p, "  REQUESTS        SENT  IMAGE");
	cJSON_ArrayForEach(t, at(s, "top"))
	{
		if (most-- == 0)
			return;
		put(p, "%10" PRIu64 "  %10s  %s", uint_of(t, "requests"),
		    show_bytes(uint_of(t, "bytes"), a), text(t, "image"));
	}
}

static void put_upstreams(struct picture *p, const cJSON *s)
{
	const cJSON *m;

	put_title(p, "    IN USE  STATE       UPSTREAM");
	cJSON_ArrayForEach(m, at(s, "members"))
		put(p, "%10" PRIu64 "  %-10.10s  %s (%s)", uint_of(m, "connections"),
		    uint_of(m, "workers_out") ? text(m, "why") : "well", text(m, "host"),
		    text(m, "address"));
}

/* What is left of the height is shared: fills that run, then images, then upstreams. */
static void picture_draw(struct picture *p, const struct look *was, const struct look *is)
{
	unsigned rest, fills = (unsigned)cJSON_GetArraySize(at(is->state, "fills"));

	put_head(p, was, is);
	rest = p->high - p->lines > 8 ? p->high - p->lines - 8 : 0;
	if (fills > rest / 2)
		fills = rest / 2;
	put_fills(p, is->state, fills);
	put_top(p, is->state, rest - fills > 4 ? (rest - fills) * 2 / 3 : 4);
	put_upstreams(p, is->state);
}

static unsigned within(unsigned n, unsigned min, unsigned max)
{
	return n < min ? min : n > max ? max : n;
}

static void picture_size(struct picture *p)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };

	if (p->tty && (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0))
		size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	p->wide = within(size.ws_col, WIDE_MIN, WIDE_MAX);
	p->high = within(size.ws_row, HIGH_MIN, HIGH_MAX) - 1; /* where the cursor rests */
}

/* In one write, so that nothing flickers. */
static void show(const struct look *was, const struct look *is, bool tty)
{
	struct picture p = { .tty = tty };
	char *mem = NULL;
	size_t len = 0;

	picture_size(&p);
	p.out = open_memstream(&mem, &len);
	if (!p.out)
		return;
	if (tty)
		fputs("\033[H", p.out);
	picture_draw(&p, was, is);
	if (tty)
		fputs("\033[Jq quits", p.out);
	fclose(p.out);
	fwrite(mem, 1, len, stdout);
	fflush(stdout);
	free(mem);
}

/* ---- the terminal ---- */

/* Waits so long for a key; true: it is time to go. */
static bool quits(unsigned ms)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	uint64_t until = now_ms() + ms;
	char key;

	while (!asked_to_end && now_ms() < until) {
		int n = poll(&in, 1, (int)(until - now_ms()));

		if (n < 0 && errno != EINTR)
			return true;
		if (n <= 0)
			continue;
		if (read(STDIN_FILENO, &key, 1) <= 0)
			return true;
		if (key == 'q' || key == 'Q' || key == 3 || key == 4)
			return true;
	}
	return asked_to_end;
}

static int top_live(const struct cli_args *args, struct look *was)
{
	struct termios before, raw;
	struct look is;
	int code = EXIT_SUCCESS;

	if (tcgetattr(STDIN_FILENO, &before) < 0) {
		(void)cli_fail("stdin is no terminal: %s", err_text(-errno));
		return EXIT_FAILURE;
	}
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGTERM, on_signal);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l\033[2J", stdout);
	for (bool end = quits(TOP_FIRST_MS); !end; end = quits(TOP_MS)) {
		if (!look(args, &is)) {
			code = EXIT_FAILURE;
			break;
		}
		show(was, &is, true);
		cJSON_Delete(was->state);
		*was = is;
	}
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
	if (code != EXIT_SUCCESS)
		(void)cli_fail("the server does not answer any more");
	return code;
}

static int top_once(const struct cli_args *args, const struct look *was)
{
	const struct timespec pause = { .tv_sec = TOP_FIRST_MS / 1000 };
	struct look is;
	bool ok;

	nanosleep(&pause, NULL);
	ok = look(args, &is);
	if (ok)
		show(was, &is, false);
	cJSON_Delete(is.state);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int cmd_top(const struct cli_args *args)
{
	struct look first;
	int code;

	if (args->json)
		return cli_ask(args, (const char *[]){ "state" }, 1, TOP_QUIET_S, NULL, NULL);
	if (!look(args, &first))
		return EXIT_FAILURE;
	code = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) ? top_live(args, &first)
							     : top_once(args, &first);
	cJSON_Delete(first.state);
	return code;
}
