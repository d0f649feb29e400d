/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/listens.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "net/listen.h"

static bool same_sockaddr(const struct conf_addr *a, const struct sockaddr *b)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)b;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)b;

	if (a->sa.sa_family != b->sa_family)
		return false;
	if (b->sa_family == AF_INET)
		return a->in.sin_port == in->sin_port &&
		       a->in.sin_addr.s_addr == in->sin_addr.s_addr;
	return a->in6.sin6_port == in6->sin6_port && a->in6.sin6_scope_id == in6->sin6_scope_id &&
	       memcmp(&a->in6.sin6_addr, &in6->sin6_addr, sizeof(in6->sin6_addr)) == 0;
}

static bool same_row(const struct listen_row *a, const struct listen_row *b)
{
	return a->kind == b->kind && same_sockaddr(&a->at, &b->at.sa);
}

static bool has_address(int fd, const struct conf_addr *at)
{
	struct conf_addr own = { .len = sizeof(own.in6) };

	return getsockname(fd, &own.sa, &own.len) == 0 && same_sockaddr(at, &own.sa);
}

/* The next inherited one of that address, or -1. */
static int take_inherited(struct inherited *from, const struct conf_addr *at)
{
	for (unsigned i = 0; from && i < from->count; i++) {
		int fd = from->fds[i];

		if (fd < 0 || !has_address(fd, at))
			continue;
		from->fds[i] = -1;
		return fd;
	}
	return -1;
}

static const char *open_fix(int err)
{
	switch (err) {
	case -EADDRINUSE: return "; another process has it: \"ss -ltnp\" shows which";
	case -EACCES:
		return "; ports below 1024 need root (and `user =`) or CAP_NET_BIND_SERVICE "
		       "(AmbientCapabilities= of the unit)";
	case -EADDRNOTAVAIL: return "; no interface of this machine has that address";
	default: return "";
	}
}

static struct proxy_listen *cell(const struct listens *l, unsigned worker, unsigned row)
{
	return &l->fds[(size_t)worker * l->count + row];
}

/* A row of the old ones goes on as it is. */
static void copy_row(struct listens *out, unsigned row, const struct listens *old, unsigned was)
{
	for (unsigned i = 0; i < out->workers; i++)
		cell(out, i, row)->fd = cell(old, i, was)->fd;
}

/* For each worker one that is inherited, or a new one. */
static bool fill_row(struct listens *out, unsigned row, struct inherited *from, struct tuning *t,
		     char *why, size_t why_len)
{
	const struct conf_addr *at = &out->rows[row].at;
	struct addr addr = { .len = at->len };

	addr.in6 = at->in6; /* the larger of the two */
	for (unsigned i = 0; i < out->workers; i++) {
		int fd = take_inherited(from, at);

		if (fd < 0)
			fd = listen_open(&addr, t);
		/* More workers than before, and no right to bind: two share one. */
		if (fd < 0 && i > 0 && from && from->count)
			fd = fcntl(cell(out, 0, row)->fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0) {
			snprintf(why, why_len, "cannot listen at %s: %s%s", at->text, err_text(fd),
				 open_fix(fd));
			return false;
		}
		cell(out, i, row)->fd = fd;
	}
	return true;
}

static unsigned count_inherited(const struct inherited *from)
{
	return from ? from->count : 0;
}

static bool make_rows(struct listens *out, const struct config *c, unsigned extra)
{
	const struct conf_addrs *const all[] = {
		[LISTEN_HTTPS] = &c->server.https,
		[LISTEN_HTTP] = &c->server.http,
		[LISTEN_PLAIN] = &c->server.plain,
		[LISTEN_ADMIN] = &c->server.admin,
	};
	unsigned max = extra;

	for (unsigned kind = 0; kind < countof(all); kind++)
		max += all[kind]->count;
	out->rows = calloc(max + 1, sizeof(*out->rows));
	for (unsigned kind = 0; out->rows && kind < countof(all); kind++)
		for (unsigned i = 0; i < all[kind]->count; i++)
			out->rows[out->count++] =
				(struct listen_row){ all[kind]->v[i], (enum listener_kind)kind };
	return out->rows != NULL;
}

/* One more row for each of the old that has the address of a row, beyond the first. */
static unsigned add_old(struct listens *out, const struct listens *old, unsigned *was)
{
	unsigned plain = out->count;

	for (unsigned i = 0; i < plain; i++)
		was[i] = UINT32_MAX;
	for (unsigned k = 0; k < old->count; k++)
		for (unsigned i = 0; i < plain; i++) {
			if (!same_row(&out->rows[i], &old->rows[k]))
				continue;
			if (was[i] != UINT32_MAX) {
				was[out->count] = k;
				out->rows[out->count++] = out->rows[i];
			} else {
				was[i] = k;
			}
			break;
		}
	return plain;
}

static bool make_cells(struct listens *out)
{
	out->fds = calloc((size_t)out->workers * out->count + 1, sizeof(*out->fds));
	for (unsigned i = 0; out->fds && i < out->workers; i++)
		for (unsigned row = 0; row < out->count; row++)
			*cell(out, i, row) = (struct proxy_listen){ -1, out->rows[row].kind };
	return out->fds != NULL;
}

/* Fewer workers than before: what is left of an address is shared out, none is closed. */
static bool add_left(struct listens *out, struct inherited *from, unsigned plain)
{
	struct listens more = *out;
	unsigned first = out->count;

	for (unsigned row = 0; row < plain; row++)
		for (unsigned i = 0; i < count_inherited(from); i++)
			if (from->fds[i] >= 0 && has_address(from->fds[i], &out->rows[row].at))
				out->rows[more.count++] = out->rows[row];
	if (more.count == first)
		return true;
	if (!make_cells(&more))
		return false;
	for (unsigned i = 0; i < out->workers; i++)
		for (unsigned row = 0; row < first; row++)
			*cell(&more, i, row) = *cell(out, i, row);
	for (unsigned row = first; row < more.count; row++)
		cell(&more, row % out->workers, row)->fd = take_inherited(from, &out->rows[row].at);
	free(out->fds);
	*out = more;
	return true;
}

bool listens_open(struct listens *out, const struct config *c, unsigned workers,
		  const struct listens *old, struct inherited *from, struct tuning *t, char *why,
		  size_t why_len)
{
	unsigned extra = count_inherited(from) + old->count;
	unsigned *was = NULL, plain = 0;
	bool good;

	*out = (struct listens){ .workers = workers };
	snprintf(why, why_len, "no memory for listening sockets");
	good = make_rows(out, c, extra);
	was = good ? calloc(out->count + extra + 1, sizeof(*was)) : NULL;
	if (was)
		plain = add_old(out, old, was);
	good = was && make_cells(out);
	for (unsigned row = 0; good && row < out->count; row++) {
		if (was[row] != UINT32_MAX)
			copy_row(out, row, old, was[row]);
		else
			good = fill_row(out, row, from, t, why, why_len);
	}
	good = good && add_left(out, from, plain);
	free(was);
	if (!good)
		listens_close(out, old);
	return good;
}

static bool has_fd(const struct listens *l, int fd)
{
	for (size_t i = 0; i < (size_t)l->workers * l->count; i++)
		if (l->fds[i].fd == fd)
			return true;
	return false;
}

void listens_close(struct listens *l, const struct listens *old)
{
	for (size_t i = 0; l->fds && i < (size_t)l->workers * l->count; i++)
		if (l->fds[i].fd >= 0 && !has_fd(old, l->fds[i].fd))
			close(l->fds[i].fd);
	listens_free(l);
}

void listens_free(struct listens *l)
{
	free(l->rows);
	free(l->fds);
	*l = (struct listens){ 0 };
}
