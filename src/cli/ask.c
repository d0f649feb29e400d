/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"

enum { LINE_MAX_BYTES = 16 * 1024 * 1024, CHANNEL_WAIT_S = 20 };

static const char *ask_fix(int err)
{
	switch (err) {
	case -ENOENT:
	case -ECONNREFUSED:
		return "no server runs with this file; -c FILE names another, or it has no control";
	case -EACCES: return "root may ask, and the user that the server runs as";
	default: return "look into the server's log";
	}
}

/* fd, or -1: stderr says why. */
static int ask_connect(const struct cli_args *args)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd, err = 0;

	if (!config_control(args->file, un.sun_path, sizeof(un.sun_path))) {
		(void)cli_fail("%s has control = off, or no path for it: a server that is started "
			       "with it cannot be asked; signals can (SIGHUP, SIGUSR2)",
			       args->file);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&un, sizeof(un)) < 0)
		err = -errno;
	if (err == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	(void)cli_fail("cannot reach the server at %s: %s; %s", un.sun_path, err_text(err),
		       ask_fix(err));
	return -1;
}

static bool ask_send(int fd, const char *const *words, unsigned count)
{
	char line[16 * 1024];
	size_t len = 0;

	for (unsigned i = 0; i < count; i++) {
		int n = snprintf(line + len, sizeof(line) - len, "%s%c", words[i],
				 i + 1 < count ? '\t' : '\n');

		if (strpbrk(words[i], "\t\n"))
			return cli_fail("a word may have no tab and no line end: %s", words[i]);
		if (n < 0 || (size_t)n >= sizeof(line) - len)
			return cli_fail("too many words");
		len += (size_t)n;
	}
	if (send(fd, line, len, MSG_NOSIGNAL) == (ssize_t)len)
		return true;
	return cli_fail("the server does not take the request: %s", err_text(-errno));
}

static void print_line(void *ctx, const cJSON *line, const char *text)
{
	const bool *raw = ctx;
	static const char *const keys[] = { "message", "warning", "error" };

	for (unsigned i = 0; i < countof(keys) && !*raw; i++) {
		const char *said = cJSON_GetStringValue(cJSON_GetObjectItem(line, keys[i]));

		if (said && i == 0)
			printf("%s\n", said);
		else if (said)
			(void)cli_fail("%s: %s", keys[i], said);
		if (said)
			return;
	}
	puts(text);
	fflush(stdout);
}

/* The status that the last line tells, -1: it is another line. */
static int take_line(char *text, ask_line line, void *ctx)
{
	cJSON *json = cJSON_Parse(text);
	const cJSON *status = cJSON_GetObjectItem(json, "status");
	int code = -1;

	if (cJSON_IsNumber(status) && cJSON_GetArraySize(json) == 1)
		code = status->valueint;
	else if (json)
		line(ctx, json, text);
	else
		(void)cli_fail("the server said what is no JSON: %.200s", text);
	cJSON_Delete(json);
	return code;
}

static int ask_read(FILE *in, ask_line line, void *ctx)
{
	char *text = NULL;
	size_t room = 0;
	ssize_t n;
	int code = -1;

	errno = 0;
	while (code < 0 && (n = getline(&text, &room, in)) > 0 && n < LINE_MAX_BYTES) {
		if (text[n - 1] == '\n')
			text[n - 1] = '\0';
		code = take_line(text, line, ctx);
	}
	if (code < 0)
		(void)cli_fail("the server broke off its answer%s%s", errno ? ": " : "",
			       errno ? err_text(-errno) : "");
	free(text);
	return code < 0 ? ASK_FAILED : code;
}

int cli_ask(const struct cli_args *args, const char *const *words, unsigned count, unsigned quiet_s,
	    ask_line line, void *ctx)
{
	const struct timeval wait = { .tv_sec = quiet_s };
	bool raw = args->json;
	int fd = ask_connect(args), code;
	FILE *in;

	if (fd < 0)
		return ASK_FAILED;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    !ask_send(fd, words, count) || !(in = fdopen(fd, "r"))) {
		close(fd);
		return ASK_FAILED;
	}
	code = line ? ask_read(in, line, ctx) : ask_read(in, print_line, &raw);
	fclose(in);
	return code;
}

/* What comes with the first byte is a descriptor; -1: only text did, of <len> bytes. */
static int take_descriptor(int fd, char *text, size_t room, size_t *len)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} with;
	struct iovec iov = { text, room };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = with.room,
			    .msg_controllen = sizeof(with.room) };
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	int got = -1;

	*len = n > 0 ? (size_t)n : 0;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&got, CMSG_DATA(c), sizeof(got));
	return got;
}

int cli_channel(const struct cli_args *args)
{
	const struct timeval wait = { .tv_sec = CHANNEL_WAIT_S };
	int fd = ask_connect(args), got = -1;
	char text[1024] = "";
	size_t len = 0;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0 &&
	    ask_send(fd, (const char *[]){ "channel" }, 1))
		got = take_descriptor(fd, text, sizeof(text) - 1, &len);
	if (got < 0)
		(void)cli_fail("the server gives no connection: %.*s", (int)strcspn(text, "\n"),
			       text);
	close(fd);
	return got;
}
