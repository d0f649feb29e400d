/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/guest.h"

#include <stdlib.h>
#include <unistd.h>

#include "proxy/client.h"

struct guest {
	struct mail mail;
	struct proxy *proxy;
	int fd;
};

static void guest_deliver(struct mail *m)
{
	struct guest *v = container_of(m, struct guest, mail);
	struct addr here = { .len = sizeof(here.in) };

	here.in.sin_family = AF_INET;
	here.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (v->proxy->draining)
		close(v->fd);
	else
		client_accept(v->proxy, v->fd, &here, LISTEN_CONTROL);
	free(v);
}

bool guest_begin(struct proxy *p, int fd)
{
	struct guest *v = malloc(sizeof(*v));

	if (!v) {
		close(fd);
		return false;
	}
	*v = (struct guest){ .mail.deliver = guest_deliver, .proxy = p, .fd = fd };
	loop_post(p->loop, &v->mail);
	return true;
}
