/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sys/notify.h"

#include <errno.h>
#include <stddef.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

/* '@' in front stands for the abstract namespace.  Other kinds (vsock:) are of virtual machines. */
static int address(const char *name, struct sockaddr_un *un, socklen_t *len)
{
	size_t n = strlen(name);

	if (name[0] != '/' && name[0] != '@')
		return -EPROTONOSUPPORT;
	if (n >= sizeof(un->sun_path))
		return -ENAMETOOLONG;
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(un->sun_path, name, n);
	if (name[0] == '@')
		un->sun_path[0] = '\0';
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	return 0;
}

static int send_to(const char *name, const char *text, size_t text_len)
{
	const struct timeval wait = { .tv_sec = NOTIFY_WAIT_MS / 1000 };
	struct sockaddr_un un;
	socklen_t len;
	int err = address(name, &un, &len);
	int fd;

	if (err < 0)
		return err;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    sendto(fd, text, text_len, MSG_NOSIGNAL, (const struct sockaddr *)&un, len) < 0)
		err = -errno;
	close(fd);
	return err;
}

int notify_send(const char *fmt, ...)
{
	const char *name = getenv("NOTIFY_SOCKET");
	char text[NOTIFY_MAX];
	va_list ap;
	int n, err;

	if (!name || !name[0])
		return 0;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err = n < 0 || n >= NOTIFY_MAX ? -ENAMETOOLONG : send_to(name, text, (size_t)n);
	if (err < 0)
		log_warn("notify socket=%s the service manager is not told: %s",
			 LOG_Q(slice_of(name)), err_text(err));
	return err;
}

int notify_ready(const char *status)
{
	return notify_send("READY=1\nSTATUS=%s", status);
}

/* The time tells the manager which of its own reloads this is. */
int notify_reloading(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
			   (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000);
}

int notify_stopping(uint64_t ms)
{
	return notify_send("STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\nSTATUS=draining",
			   ms * 1000);
}
