/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/access.h"

#include <stdlib.h>
#include <unistd.h>

#include "test.h"

static struct stats stats;
static struct loop *loop;
static struct access_log access_log;
static char text[4 * ACCESS_BUF_BYTES];
static size_t text_len;
static FILE *file;

static bool begin(enum conf_format format)
{
	const struct loop_opts opts = { .entries = 8 };
	const char *why;

	stats = (struct stats){ 0 };
	if (loop_new(&loop, &opts, &why) < 0)
		return false;
	file = tmpfile();
	return file && access_init(&access_log, loop, &stats, fileno(file), format) == 0;
}

static void end(void)
{
	ssize_t n;

	access_fini(&access_log);
	loop_free(loop);
	n = pread(fileno(file), text, sizeof(text) - 1, 0);
	text_len = n > 0 ? (size_t)n : 0;
	text[text_len] = '\0';
	fclose(file);
}

static struct access_line line_of(struct slice agent)
{
	static struct addr client;

	check_eq(addr_parse(SLICE("192.0.2.1:99"), &client), 0);
	return (struct access_line){
		.client = &client,
		.host = SLICE("m.test"),
		.mirror = SLICE("docker.io"),
		.method = SLICE("GET"),
		.target = SLICE("/v2/x/manifests/\"y"),
		.major = 1,
		.minor = 1,
		.status = 200,
		.bytes = 7,
		.ms = 12,
		.cache = "hit",
		.end = "ok",
		.user_agent = agent,
		.tls = "-",
	};
}

TEST(combined_has_its_shape_and_escapes)
{
	struct access_line line = line_of(SLICE("a\"b\\c\r\nd\x7f\xff"));

	require(begin(FORMAT_COMBINED));
	access_line(&access_log, &line);
	end();
	check(strncmp(text, "192.0.2.1 - - [", 15) == 0);
	check(strstr(text, "] \"GET /v2/x/manifests/\\\"y HTTP/1.1\" 200 7 \"-\" "
			   "\"a\\\"b\\\\c\\x0d\\x0ad\\x7f\\xff\" ") != NULL);
	check(strstr(text, "\" cache=hit ms=12 end=ok tls=- host=\"m.test\" mirror=\"docker.io\" "
			   "upstream=\"-\"\n") != NULL);
	check(strchr(text, '\n') == text + text_len - 1);
}

TEST(json_has_its_keys_and_escapes)
{
	struct access_line line = line_of(SLICE("a\"b\n\xff"));

	require(begin(FORMAT_JSON));
	access_line(&access_log, &line);
	end();
	check(strncmp(text, "{\"time\":\"20", 11) == 0);
	check(strstr(text,
		     "Z\",\"client\":\"192.0.2.1\",\"host\":\"m.test\",\"mirror\":"
		     "\"docker.io\",\"method\":\"GET\",\"path\":\"/v2/x/manifests/\\\"y\","
		     "\"status\":200,\"bytes\":7,\"ms\":12,\"cache\":\"hit\",\"upstream\":"
		     "\"\",\"end\":\"ok\",\"ua\":\"a\\\"b\\u000a\\u00ff\",\"tls\":\"-\"}\n") !=
	      NULL);
}

TEST(the_longest_line_fits)
{
	static char junk[64 * 1024];
	struct slice s = { junk, sizeof(junk) };
	struct access_line line = line_of(s);

	memset(junk, 1, sizeof(junk));
	line.host = line.mirror = line.method = line.target = line.upstream = s;
	require(begin(FORMAT_JSON));
	access_line(&access_log, &line);
	end();
	check(text_len > 10000);
	check_eq(stat_get(&stats, STAT_ACCESS_DROPPED), 0);
}

static void stop(struct timer *t)
{
	(void)t;
	loop_stop(loop);
}

TEST(lines_are_dropped_when_both_buffers_are_full_and_flushed_by_the_timer)
{
	struct access_line line = line_of(SLICE("agent"));
	struct timer timer;
	unsigned lines = 0, sent = 0;

	require(begin(FORMAT_COMBINED));
	while (stat_get(&stats, STAT_ACCESS_DROPPED) == 0 && sent < 10000) {
		access_line(&access_log, &line);
		sent++;
	}
	check_eq(stat_get(&stats, STAT_ACCESS_DROPPED), 1);
	timer_init(&timer, stop);
	loop_timer_set(loop, &timer, loop_now_ms(loop) + 3 * ACCESS_FLUSH_MS);
	loop_run(loop);
	check_eq(access_log.len[0] + access_log.len[1], 0);
	end();
	for (size_t i = 0; i < text_len; i++)
		lines += text[i] == '\n';
	check_eq(lines, sent - 1);
}

TEST(off_costs_nothing)
{
	struct access_line line = line_of(SLICE("agent"));

	require(begin(FORMAT_COMBINED));
	access_fini(&access_log);
	check_eq(access_init(&access_log, loop, &stats, -1, FORMAT_JSON), 0);
	access_line(&access_log, &line);
	check(access_log.mem[0] == NULL);
	end();
	check_eq(text_len, 0);
}
