/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/channel.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "cli/ask.h"
#include "http/h1.h"
#include "proxy/quota.h"

_Static_assert((int)CHANNEL_BUF > (int)HTTP_HEAD_MAX, "a whole head fits");

static printf_like(2, 3) bool fail(struct channel_answer *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
	return false;
}

bool channel_init(struct channel *c, const struct cli_args *args)
{
	*c = (struct channel){ .args = args, .fd = -1, .mem = malloc(CHANNEL_BUF) };
	return c->mem != NULL;
}

static void hang_up(struct channel *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->len = 0;
}

void channel_fini(struct channel *c)
{
	hang_up(c);
	free(c->mem);
	c->mem = NULL;
}

bool channel_reach(struct channel *c)
{
	const struct timeval limit = { .tv_sec = CHANNEL_IDLE_S };

	if (c->fd >= 0)
		return true;
	c->fd = cli_channel(c->args);
	if (c->fd < 0)
		return false;
	(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return true;
}

/* One connection may have ended while it was idle: then nothing has come of the answer. */
static bool request(struct channel *c, const char *method, const char *path, const char *more,
		    struct channel_answer *a)
{
	char *text = NULL;
	int n = asprintf(&text,
			 "%s %s HTTP/1.1\r\nHost: sluice.invalid\r\nUser-Agent: sluice\r\n%s\r\n",
			 method, path, more);
	bool sent;

	if (n < 0)
		return fail(a, "no memory");
	sent = channel_reach(c) && send(c->fd, text, (size_t)n, MSG_NOSIGNAL) == n;
	free(text);
	return sent ? true : fail(a, "the server cannot be asked: %s", err_text(-errno));
}

/* More bytes; false: none will come. */
static bool receive(struct channel *c, struct channel_answer *a)
{
	ssize_t n;

	do
		n = recv(c->fd, c->mem + c->len, CHANNEL_BUF - c->len, 0);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return fail(a, "the answer breaks off");
	if (n < 0)
		return fail(a, "the answer breaks off: %s",
			    errno == EAGAIN ? "nothing comes any more" : err_text(-errno));
	c->len += (size_t)n;
	return true;
}

static void use(struct channel *c, size_t n)
{
	memmove(c->mem, c->mem + n, c->len - n);
	c->len -= n;
}

static bool head(struct channel *c, bool is_head, struct msg *m, size_t *used,
		 struct channel_answer *a)
{
	struct h1_error e;

	for (;;) {
		switch (h1_parse_response((struct slice){ c->mem, c->len }, is_head, m, used, &e)) {
		case H1_DONE: return true;
		case H1_BAD: return fail(a, "the answer is not HTTP: %s", e.why);
		case H1_MORE: break;
		}
		if (c->len == CHANNEL_BUF)
			return fail(a, "the answer's head is too long");
		if (!receive(c, a))
			return false;
	}
}

static void copy(char *out, size_t room, struct slice s)
{
	snprintf(out, room, "%.*s", SLICE_FMT(s));
}

static bool body(struct channel *c, struct h1_body *b, struct buf *keep,
		 void (*seen)(void *ctx, size_t bytes), void *ctx, struct channel_answer *a)
{
	for (;;) {
		struct slice out;
		size_t used;
		enum h1_result r = h1_body_next(b, (struct slice){ c->mem, c->len }, &used, &out);

		if (r == H1_BAD)
			return fail(a, "the answer's body is malformed");
		a->bytes += out.len;
		if (keep && !buf_append(keep, out))
			return fail(a, "the answer is larger than %zu bytes", keep->cap);
		if (seen && out.len)
			seen(ctx, out.len);
		use(c, used);
		if (r == H1_DONE)
			return true;
		if (used == 0 && !receive(c, a))
			return false;
	}
}

/* What a refusal says: an OCI error's message, if it is one. */
static void tell_refusal(struct channel_answer *a, struct slice json)
{
	cJSON *root = json.ptr ? cJSON_ParseWithLength(json.ptr, json.len) : NULL;
	const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "errors"), 0);
	const char *said = cJSON_GetStringValue(cJSON_GetObjectItem(first, "message"));

	(void)fail(a, "%d%s%s", a->status, said ? ": " : "", said ? said : "");
	cJSON_Delete(root);
}

bool channel_ask(struct channel *c, const char *method, const char *path, const char *more,
		 struct buf *keep, void (*seen)(void *ctx, size_t bytes), void *ctx,
		 struct channel_answer *a)
{
	char refusal[4096];
	struct h1_body b;
	struct buf said;
	struct msg m;
	size_t used;
	bool good;

	*a = (struct channel_answer){ 0 };
	buf_init(&said, refusal, sizeof(refusal));
	if (!request(c, method, path, more, a) || !head(c, method[0] == 'H', &m, &used, a)) {
		hang_up(c);
		return false;
	}
	a->status = m.status;
	good = a->status >= 200 && a->status < 300;
	copy(a->cache, sizeof(a->cache), msg_field(&m, "X-Cache"));
	copy(a->digest, sizeof(a->digest), msg_field(&m, "Docker-Content-Digest"));
	(void)!retry_after_parse(msg_field(&m, "Retry-After"), 0, &a->retry_after_s);
	h1_body_init(&b, &m);
	m.keep_alive = m.keep_alive && m.body != BODY_UNTIL_CLOSE;
	use(c, used);
	if (!body(c, &b, good ? keep : &said, good ? seen : NULL, ctx, a)) {
		hang_up(c);
		return false;
	}
	if (!good)
		tell_refusal(a, buf_data(&said));
	if (!m.keep_alive)
		hang_up(c);
	return true;
}
