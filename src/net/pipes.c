/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/pipes.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void pipes_fini(struct pipes *ps)
{
	assert(ps->out == 0);
	while (ps->kept > 0) {
		ps->kept--;
		close(ps->idle[ps->kept][0]);
		close(ps->idle[ps->kept][1]);
	}
}

bool pipes_get(struct pipes *ps, struct pipe *p)
{
	assert(!pipe_is(p));
	if (ps->out == PIPES_MAX)
		return false;
	if (ps->kept > 0) {
		ps->kept--;
		memcpy(p->fds, ps->idle[ps->kept], sizeof(p->fds));
	} else if (pipe2(p->fds, O_NONBLOCK | O_CLOEXEC) < 0) {
		*p = (struct pipe){ 0 };
		return false;
	} else {
		/* A user who has many gets small ones: slower, and right. */
		(void)fcntl(p->fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	}
	ps->out++;
	return true;
}

void pipes_put(struct pipes *ps, struct pipe *p, bool empty)
{
	if (!pipe_is(p))
		return;
	assert(ps->out > 0);
	ps->out--;
	if (empty && ps->kept < PIPES_KEPT) {
		memcpy(ps->idle[ps->kept++], p->fds, sizeof(p->fds));
	} else {
		close(p->fds[0]);
		close(p->fds[1]);
	}
	*p = (struct pipe){ 0 };
}
