/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/local.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/answer.h"

enum { ACME_FILE_MAX = 16 * 1024 };

#define ACME_PREFIX "/.well-known/acme-challenge/"

static bool acme_name_ok(struct slice s)
{
	if (s.len == 0 || s.len > 255)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_'))
			return false;
	}
	return true;
}

/* Challenge files are some hundred bytes, read a few times in two months: no need to be clever. */
static char *acme_read(struct xfer *x, struct slice name, size_t *len)
{
	const char *root = x->proxy->config->server.acme_webroot;
	char *path = arena_printf(&x->arena, "%s" ACME_PREFIX "%.*s", root, SLICE_FMT(name));
	char *text = arena_alloc(&x->arena, ACME_FILE_MAX);
	struct stat st;
	ssize_t n = -1;
	int fd;

	if (!path || !text)
		return NULL;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < ACME_FILE_MAX)
		n = read(fd, text, ACME_FILE_MAX - 1);
	close(fd);
	if (n < 0)
		return NULL;
	text[n] = '\0';
	*len = (size_t)n;
	return text;
}

static void local_acme(struct xfer *x, struct slice name)
{
	size_t len;
	char *text = acme_name_ok(name) ? acme_read(x, name, &len) : NULL;

	if (text)
		answer_text(x, 200, "text/plain", text);
	else
		answer_text(x, 404, "text/plain", "no such challenge\n");
}

/* The port that clients see for https: the first https address's, unless it is 443. */
static unsigned https_port(const struct config *c)
{
	const struct conf_addr *a = c->server.https.count ? &c->server.https.v[0] : NULL;

	if (!a)
		return 443;
	return ntohs(a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in.sin_port);
}

void local_http(struct xfer *x)
{
	struct slice path = slice_first(x->target, slice_find(x->target, '?'));
	unsigned port = https_port(x->proxy->config);
	bool v6 = slice_find(x->host, ':') < x->host.len;
	char *where;

	x->cache = "local";
	if (x->proxy->config->server.acme_webroot && slice_starts(path, SLICE(ACME_PREFIX))) {
		local_acme(x, slice_skip(path, strlen(ACME_PREFIX)));
		return;
	}
	if (x->host.len == 0) {
		answer_text(x, 400, "text/plain", "a Host field is needed\n");
		return;
	}
	where = arena_printf(&x->arena, "https://%s%.*s%s", v6 ? "[" : "", SLICE_FMT(x->host),
			     v6 ? "]" : "");
	if (where && port != 443)
		where = arena_printf(&x->arena, "%s:%u", where, port);
	if (where)
		where = arena_printf(&x->arena, "%s%.*s", where, SLICE_FMT(x->target));
	answer_text(x, 302, "text/plain", "this mirror is at https\n");
	answer_field(x, "Location", where);
}
