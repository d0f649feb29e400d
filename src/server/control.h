/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The control socket: what the subcommands ask of a server that runs.  A Unix socket, mode 0600;
 * the kernel tells who asks: root, or the user that the server runs as; others are turned away.
 *
 * A request is one line of words with a tab between them, the command first.  The answer is a
 * stream of lines of JSON, one object each, and the last of them is {"status":N}: the exit status
 * for who asked.  A connection serves one request.
 *
 * Each connection has a thread of its own, so that a command may take its time without holding up
 * the main thread or a worker; what needs the main thread goes there by control_on_main().
 *
 * Bounds: CONTROL_CONNS_MAX connections, one more is closed; CONTROL_LINE_MAX bytes a line;
 * CONTROL_IO_MS for a request to come and for an answer's line to be taken.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/assert.h"
#include "base/list.h"

enum {
	CONTROL_CONNS_MAX = 8,
	CONTROL_LINE_MAX = 16 * 1024,
	CONTROL_WORDS_MAX = 16,
	CONTROL_IO_MS = 10 * 1000,
	CONTROL_LATER = -1, /* a status: control_finish() will be called */
};

struct server;
struct control;

/* One request, while its command runs. */
struct control_call {
	unsigned argc; /* >= 1 */
	const char *argv[CONTROL_WORDS_MAX + 1];
	void *data; /* the command's own */
	/* private */
	struct control *control;
	int fd;
	bool lost; /* who asked takes nothing any more */
	struct list node;
	int (*on_main)(struct server *s, struct control_call *call);
	bool done;
	int status;
};

/* A row of commands.c's table.  Words after the command: min to max. */
struct control_command {
	const char *name;
	unsigned min, max;
	/* On the connection's thread; the exit status.  It locks what it reads of the server. */
	int (*run)(struct server *s, struct control_call *call);
};

struct control_slot {
	pthread_t thread;
	bool used;
	bool ended; /* atomic */
	int fd;
	struct control *control;
};

/* Zeroed: there is none. */
struct control {
	struct server *server;
	int fd;      /* the socket */
	int wake_fd; /* readable: the main thread has something to do */
	char *path;  /* that it has */
	ino_t ino;   /* of it, to know it again */
	dev_t dev;
	const struct control_command *commands;
	unsigned commands_count;
	struct control_slot slots[CONTROL_CONNS_MAX];
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t done;
	struct list calls; /* that want the main thread */
	bool closing;      /* atomic, too */
};

/*
 * Binds it, under a name that nobody knows yet.  0 or -errno.  Commands must outlive it.
 * -ENAMETOOLONG: a socket's path has 107 bytes at most.
 */
int control_open(struct control *c, const char *path, struct server *server,
		 const struct control_command *commands, unsigned count) must_check;
/* It gets its name, from whoever has it now: <path> as above.  0 or -errno. */
int control_publish(struct control *c, const char *path) must_check;
/* Does a server answer at <path>? */
bool control_is_there(const char *path) must_check;
/* On the main thread, when one of both descriptors is readable: never waits. */
void control_serve(struct control *c);
/* Answers those who wait that it is over, waits for the threads.  Legal on a zeroed struct. */
void control_close(struct control *c);

/* For commands, on the connection's thread. */

/* {"key":"text"}: as a line of the answer.  Also on the main thread while the call waits there. */
void control_say(struct control_call *call, const char *key, const char *fmt, ...)
	printf_like(3, 4);
/* A line that is JSON already, without its end. */
void control_line(struct control_call *call, const char *json, size_t len);
/* The same, with a descriptor, which stays the caller's.  False: it was not taken. */
bool control_give(struct control_call *call, const char *json, int fd) must_check;
/* false: nobody wants the rest, or the server stops; for commands that take long. */
bool control_goes_on(struct control_call *call) must_check;
/* Runs it on the main thread, between other things there; its status. */
int control_on_main(struct control_call *call,
		    int (*run)(struct server *s, struct control_call *call));
/* On the main thread: a call that got CONTROL_LATER has its status now, and goes. */
void control_finish(struct control_call *call, int status);
