/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sys/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "test.h"

static char got[NOTIFY_MAX];

/* A manager's socket of that name; '@' stands for the abstract namespace. */
static int manager(const char *name)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (!check(fd >= 0 && len < sizeof(un.sun_path)))
		return -1;
	memcpy(un.sun_path, name, len);
	if (name[0] == '@')
		un.sun_path[0] = '\0';
	check(bind(fd, (struct sockaddr *)&un,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0);
	check(setenv("NOTIFY_SOCKET", name, 1) == 0);
	return fd;
}

static const char *next(int fd)
{
	ssize_t n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);

	got[n < 0 ? 0 : n] = '\0';
	return got;
}

TEST(nobody_wants_to_know)
{
	unsetenv("NOTIFY_SOCKET");
	check_eq(notify_ready("serving"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	check_eq(notify_stopping(0), 0);
}

TEST(messages_arrive_by_either_kind_of_name)
{
	char path[] = "/tmp/sluice-notify.XXXXXX", name[64];
	int fd;

	require(mkdtemp(path));
	snprintf(name, sizeof(name), "%s/s", path);
	fd = manager(name);
	check_eq(notify_ready("serving"), 0);
	check_str(next(fd), "READY=1\nSTATUS=serving");
	check_eq(notify_reloading(), 0);
	check(strncmp(next(fd), "RELOADING=1\nMONOTONIC_USEC=", 27) == 0);
	check(strtoull(got + 27, NULL, 10) > 0);
	close(fd);
	unlink(name);
	rmdir(path);

	snprintf(name, sizeof(name), "@sluice-notify-%d", (int)getpid());
	fd = manager(name);
	check_eq(notify_stopping(1500), 0);
	check_str(next(fd), "STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000\nSTATUS=draining");
	close(fd);
	check_eq(notify_stopping(0), -ECONNREFUSED);
}

TEST(a_name_that_is_no_socket_is_an_error)
{
	char name[200];

	setenv("NOTIFY_SOCKET", "vsock:2:1234", 1);
	check_eq(notify_ready("x"), -EPROTONOSUPPORT);
	memset(name, 'x', sizeof(name));
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	setenv("NOTIFY_SOCKET", name, 1);
	check_eq(notify_ready("x"), -ENAMETOOLONG);
	check_eq(notify_send("%*d", NOTIFY_MAX, 1), -ENAMETOOLONG);
}

/* A queue that nobody empties holds the server up for a bounded time. */
TEST(a_manager_that_does_not_read_is_given_up)
{
	char name[64];
	int fd, err = 0;

	snprintf(name, sizeof(name), "@sluice-notify-full-%d", (int)getpid());
	fd = manager(name);
	for (int i = 0; i < 100000 && err == 0; i++)
		err = notify_send("STATUS=%d", i);
	check_eq(err, -EAGAIN);
	close(fd);
}
