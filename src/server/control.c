/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

static int address(const char *path, struct sockaddr_un *un)
{
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(un->sun_path))
		return -ENAMETOOLONG;
	memcpy(un->sun_path, path, strlen(path));
	return 0;
}

/* Nobody may connect to it in the moment before a chmod(): so the mask, while no thread runs. */
static int bind_private(int fd, const struct sockaddr_un *un)
{
	mode_t mask = umask(0177);
	int err = bind(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 ? 0 : -errno;

	umask(mask);
	if (err == 0 && listen(fd, CONTROL_CONNS_MAX) < 0)
		err = -errno;
	return err;
}

static int open_socket(struct control *c, const char *path)
{
	struct sockaddr_un un;
	struct stat st;
	int err;

	if (asprintf(&c->path, "%s.%d", path, getpid()) < 0) {
		c->path = NULL;
		return -ENOMEM;
	}
	err = address(c->path, &un);
	if (err < 0)
		return err;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	(void)unlink(c->path); /* of a dead process that had our number */
	err = bind_private(c->fd, &un);
	if (err == 0 && stat(c->path, &st) < 0)
		err = -errno;
	if (err < 0)
		return err;
	c->ino = st.st_ino;
	c->dev = st.st_dev;
	return 0;
}

int control_open(struct control *c, const char *path, struct server *server,
		 const struct control_command *commands, unsigned count)
{
	int err;

	*c = (struct control){
		.server = server, .fd = -1, .commands = commands, .commands_count = count
	};
	list_init(&c->calls);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->done, NULL);
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = c->wake_fd < 0 ? -errno : open_socket(c, path);
	if (err < 0)
		control_close(c);
	return err;
}

int control_publish(struct control *c, const char *path)
{
	char *name = strdup(path);

	if (!name || rename(c->path, name) < 0) {
		int err = name ? -errno : -ENOMEM;

		free(name);
		return err;
	}
	free(c->path);
	c->path = name;
	return 0;
}

bool control_is_there(const char *path)
{
	struct sockaddr_un un;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool is;

	if (fd < 0)
		return false;
	is = address(path, &un) == 0 &&
	     (connect(fd, (const struct sockaddr *)&un, sizeof(un)) == 0 || errno == EAGAIN);
	close(fd);
	return is;
}

/* ---- answers ---- */

static void send_all(struct control_call *call, const char *at, size_t len)
{
	while (len > 0 && !call->lost) {
		ssize_t n = send(call->fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			call->lost = true; /* gone, or it took nothing for CONTROL_IO_MS */
			return;
		}
		at += n;
		len -= (size_t)n;
	}
}

void control_line(struct control_call *call, const char *json, size_t len)
{
	send_all(call, json, len);
	send_all(call, "\n", 1);
}

bool control_give(struct control_call *call, const char *json, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} with = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
			     .cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { (void *)(uintptr_t)json, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = with.room,
			    .msg_controllen = sizeof(with.room) };
	ssize_t n;

	memcpy(CMSG_DATA(&with.head), &fd, sizeof(fd));
	do
		n = sendmsg(call->fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	call->lost = call->lost || n != 1;
	control_line(call, json + 1, strlen(json + 1));
	return n == 1; /* who has it may leave before the line's end */
}

/* As much of it as there is room for. */
static void put_escaped(struct buf *b, const char *text)
{
	for (; *text && buf_room(b) > 16; text++) {
		unsigned char ch = (unsigned char)*text;
		bool good = ch == '"' || ch == '\\'  ? buf_printf(b, "\\%c", ch)
			    : ch < ' ' || ch == 0x7f ? buf_printf(b, "\\u%04x", ch)
						     : buf_printf(b, "%c", ch);

		assert(good);
	}
}

void control_say(struct control_call *call, const char *key, const char *fmt, ...)
{
	char text[CONTROL_LINE_MAX / 2], line[CONTROL_LINE_MAX];
	struct buf b;
	va_list ap;
	bool good;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_init(&b, line, sizeof(line));
	good = buf_printf(&b, "{\"%s\":\"", key);
	put_escaped(&b, text);
	good = good && buf_append(&b, SLICE("\"}"));
	assert(good);
	control_line(call, line, buf_len(&b));
}

bool control_goes_on(struct control_call *call)
{
	char byte;

	if (__atomic_load_n(&call->control->closing, __ATOMIC_RELAXED))
		return false;
	if (recv(call->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		call->lost = true;
	return !call->lost;
}

/* ---- on the main thread and back ---- */

int control_on_main(struct control_call *call,
		    int (*run)(struct server *s, struct control_call *call))
{
	struct control *c = call->control;
	const uint64_t one = 1;
	bool open;

	list_init(&call->node);
	call->on_main = run;
	call->done = false;
	call->status = EXIT_FAILURE;
	pthread_mutex_lock(&c->lock);
	open = !c->closing;
	if (open)
		list_push(&c->calls, &call->node);
	if (open && write(c->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN); /* it is readable, then */
	while (open && !call->done)
		pthread_cond_wait(&c->done, &c->lock);
	pthread_mutex_unlock(&c->lock);
	if (!open)
		control_say(call, "error", "the server is stopping");
	return call->status;
}

void control_finish(struct control_call *call, int status)
{
	struct control *c = call->control;

	assert(status >= 0);
	pthread_mutex_lock(&c->lock);
	call->status = status;
	call->done = true;
	pthread_cond_broadcast(&c->done);
	pthread_mutex_unlock(&c->lock);
}

static struct control_call *take_call(struct control *c)
{
	struct control_call *call = NULL;

	pthread_mutex_lock(&c->lock);
	if (!list_empty(&c->calls)) {
		call = container_of(c->calls.next, struct control_call, node);
		list_remove(&call->node);
	}
	pthread_mutex_unlock(&c->lock);
	return call;
}

static void run_calls(struct control *c)
{
	struct control_call *call;
	uint64_t count;

	(void)!read(c->wake_fd, &count, sizeof(count));
	while ((call = take_call(c))) {
		int status = call->on_main(c->server, call);

		if (status != CONTROL_LATER)
			control_finish(call, status);
	}
}

/* ---- a connection ---- */

/* The whole line without its end, or false: too long, too slow, broken off. */
static bool read_line(int fd, char *line, size_t max)
{
	size_t len = 0;

	while (len < max) {
		ssize_t n = recv(fd, line + len, max - len, 0);
		char *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		end = memchr(line + len, '\n', (size_t)n);
		if (end) {
			*end = '\0';
			return true;
		}
		len += (size_t)n;
	}
	return false;
}

static bool cut_words(struct control_call *call, char *line)
{
	while (line) {
		if (call->argc == CONTROL_WORDS_MAX)
			return false;
		call->argv[call->argc++] = strsep(&line, "\t");
	}
	return true;
}

static int run_command(struct control *c, struct control_call *call)
{
	for (unsigned i = 0; i < c->commands_count; i++) {
		const struct control_command *cmd = &c->commands[i];

		if (strcmp(cmd->name, call->argv[0]) != 0)
			continue;
		if (call->argc - 1 < cmd->min || call->argc - 1 > cmd->max) {
			control_say(call, "error", "%s takes %u to %u words, not %u", cmd->name,
				    cmd->min, cmd->max, call->argc - 1);
			return EXIT_FAILURE;
		}
		return cmd->run(c->server, call);
	}
	control_say(call, "error",
		    "this server has no command %s: it runs an older version; sluice upgrade "
		    "starts the new one",
		    call->argv[0]);
	return EXIT_FAILURE;
}

static void serve_call(struct control *c, int fd)
{
	struct control_call call = { .control = c, .fd = fd };
	char line[CONTROL_LINE_MAX], last[32];
	int status = EXIT_FAILURE;

	if (!read_line(fd, line, sizeof(line)))
		return;
	if (cut_words(&call, line))
		status = run_command(c, &call);
	else
		control_say(&call, "error", "more than %d words", CONTROL_WORDS_MAX);
	control_line(&call, last, (size_t)snprintf(last, sizeof(last), "{\"status\":%d}", status));
}

static void *serve_thread(void *arg)
{
	struct control_slot *slot = arg;

	serve_call(slot->control, slot->fd);
	(void)shutdown(slot->fd, SHUT_RDWR); /* the descriptor is the main thread's to close */
	__atomic_store_n(&slot->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_allowed(int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return false;
	if (who.uid == 0 || who.uid == geteuid())
		return true;
	log_limited(LOG_WARN, "control uid=%u pid=%d refused: neither root nor our own user",
		    who.uid, who.pid);
	return false;
}

static void slot_free(struct control_slot *slot)
{
	pthread_join(slot->thread, NULL);
	close(slot->fd);
	slot->used = false;
}

static struct control_slot *slot_find(struct control *c)
{
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		struct control_slot *slot = &c->slots[i];

		if (slot->used && __atomic_load_n(&slot->ended, __ATOMIC_ACQUIRE))
			slot_free(slot);
		if (!slot->used)
			return slot;
	}
	return NULL;
}

/* Threads inherit that signals are blocked. */
static bool start(struct control *c, int fd)
{
	const struct timeval wait = { .tv_sec = CONTROL_IO_MS / 1000 };
	struct control_slot *slot = slot_find(c);
	int err;

	if (!slot) {
		static const char full[] = "{\"error\":\"the control socket is busy: try again\"}\n"
					   "{\"status\":1}\n";

		(void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		log_limited(LOG_WARN, "control conns=%d are open: no more", CONTROL_CONNS_MAX);
		return false;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		return false;
	*slot = (struct control_slot){ .used = true, .fd = fd, .control = c };
	err = pthread_create(&slot->thread, NULL, serve_thread, slot);
	if (err) {
		log_warn("control no thread: %s", err_text(-err));
		slot->used = false;
		return false;
	}
	(void)pthread_setname_np(slot->thread, "sluice/control");
	return true;
}

void control_serve(struct control *c)
{
	run_calls(c);
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return;
		if (!is_allowed(fd) || !start(c, fd))
			close(fd);
	}
}

/* Another server may have the name by now. */
static void remove_name(const struct control *c)
{
	struct stat st;

	if (stat(c->path, &st) == 0 && st.st_ino == c->ino && st.st_dev == c->dev)
		(void)unlink(c->path);
}

void control_close(struct control *c)
{
	struct control_call *call;

	if (!c->server)
		return;
	pthread_mutex_lock(&c->lock);
	__atomic_store_n(&c->closing, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&c->lock);
	if (c->path)
		remove_name(c);
	if (c->fd >= 0)
		close(c->fd);
	while ((call = take_call(c))) {
		control_say(call, "error", "the server is stopping");
		control_finish(call, EXIT_FAILURE);
	}
	for (unsigned i = 0; i < CONTROL_CONNS_MAX; i++) {
		if (!c->slots[i].used)
			continue;
		(void)shutdown(c->slots[i].fd, SHUT_RD);
		slot_free(&c->slots[i]);
	}
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	free(c->path);
	pthread_cond_destroy(&c->done);
	pthread_mutex_destroy(&c->lock);
	*c = (struct control){ 0 };
}
