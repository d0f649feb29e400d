/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "server/server.h"
#include "sys/notify.h"

static const char env_name[] = "SLUICE_HEIR";

enum { ENV_MAX = 64 * 1024, FIRST_FD = 10 };

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- the heir ---- */

static char *own_program(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n <= 0)
		return NULL;
	path[n] = '\0';
	return strdup(path);
}

/* The next number of the list, -1: none, or no descriptor. */
static int next_fd(char **at)
{
	char *end;
	long n = strtol(*at, &end, 10);

	if (end == *at || n < 0 || n > 1 << 30 || fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	*at = *end == ',' ? end + 1 : end;
	return (int)n;
}

void upgrade_inherit(struct server *s)
{
	char *list = getenv(env_name), *at;
	struct upgrade *u = &s->upgrade;
	int fd;

	u->program = own_program();
	list = list ? strdup(list) : NULL;
	unsetenv(env_name);
	if (!list)
		return;
	at = list;
	u->ready_fd = next_fd(&at);
	u->stderr_fd = next_fd(&at);
	u->heir = u->ready_fd >= 0 && u->stderr_fd >= 0;
	s->inherited.fds = calloc(strlen(list) + 1, sizeof(*s->inherited.fds));
	while (s->inherited.fds && u->heir && (fd = next_fd(&at)) >= 0)
		s->inherited.fds[s->inherited.count++] = fd;
	free(list);
}

void upgrade_done(struct server *s)
{
	struct upgrade *u = &s->upgrade;
	int err;

	if (!u->heir)
		return;
	for (unsigned i = 0; i < s->inherited.count; i++)
		if (s->inherited.fds[i] >= 0)
			close(s->inherited.fds[i]); /* of an address that is no more */
	s->inherited.count = 0;
	err = s->control.server ? control_publish(&s->control, s->config->server.control) : 0;
	if (err < 0)
		log_warn("control path=%s cannot be taken over: %s", s->config->server.control,
			 err_text(err));
	if (dup2(u->stderr_fd, STDERR_FILENO) < 0)
		log_warn("upgrade stderr: %s", err_text(-errno));
	close(u->stderr_fd);
	if (write(u->ready_fd, "R", 1) != 1)
		log_warn("upgrade the process before us cannot be told: %s", err_text(-errno));
	close(u->ready_fd);
	u->heir = false;
}

/* ---- the old one ---- */

int upgrade_status_fd(const struct upgrade *u)
{
	return u->state == UPGRADE_RUNS ? u->status_fd : -1;
}

int upgrade_said_fd(const struct upgrade *u)
{
	return u->state == UPGRADE_RUNS ? u->said_fd : -1;
}

static bool listed(const struct listens *l, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (l->fds[i].fd == l->fds[n].fd)
			return true;
	return l->fds[n].fd < 0;
}

/* "SLUICE_HEIR=7,8,9": all that it gets. */
static char *make_list(const struct listens *l, int status_fd, int stderr_fd)
{
	size_t at = 0, max = ENV_MAX;
	char *out = malloc(max);

	if (!out)
		return NULL;
	at = (size_t)snprintf(out, max, "%s=%d,%d", env_name, status_fd, stderr_fd);
	for (size_t i = 0; i < (size_t)l->workers * l->count && at + 16 < max; i++)
		if (!listed(l, i))
			at += (size_t)snprintf(out + at, max - at, ",%d", l->fds[i].fd);
	return out;
}

static char **make_env(char *list)
{
	size_t count = 0;
	char **env;

	while (environ[count])
		count++;
	env = calloc(count + 2, sizeof(*env));
	if (!env)
		return NULL;
	memcpy(env, environ, count * sizeof(*env));
	env[count] = list;
	return env;
}

struct heir {
	char *const *argv;
	char **env;
	int status_fd, stderr_fd, said_fd;
	const struct listens *listens;
};

/* Between fork() and exec(), with other threads in the parent: system calls alone. */
static void become_heir(const struct heir *h)
{
	static const char failed[] = "sluice: the new program cannot be started\n";
	const struct listens *l = h->listens;

	for (size_t i = 0; i < (size_t)l->workers * l->count; i++)
		if (l->fds[i].fd >= 0)
			(void)fcntl(l->fds[i].fd, F_SETFD, 0);
	(void)fcntl(h->status_fd, F_SETFD, 0);
	(void)fcntl(h->stderr_fd, F_SETFD, 0);
	(void)dup2(h->said_fd, STDERR_FILENO);
	privs_pass_on();
	execve(h->argv[0], h->argv, h->env);
	(void)!write(STDERR_FILENO, failed, sizeof(failed) - 1);
	_exit(127);
}

static int fail(struct upgrade *u, struct control_call *call, const char *why)
{
	log_err("upgrade program=%s refused: %s; this process goes on", u->program, why);
	if (call)
		control_say(call, "error", "upgrade refused: %s; the old process goes on", why);
	notify_ready("the last upgrade was refused: the log says why");
	return EXIT_FAILURE;
}

/* 0 or -errno. */
static int start_heir(struct server *s, int status[2], int said[2])
{
	struct upgrade *u = &s->upgrade;
	char serve[] = "serve", c[] = "-c";
	char *argv[] = { u->program, serve, c, (char *)(uintptr_t)s->file, NULL };
	int real = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, FIRST_FD);
	char *list = make_list(&s->listens, status[1], real);
	struct heir h = {
		argv, list ? make_env(list) : NULL, status[1], real, said[1], &s->listens
	};
	int err = 0;

	if (real < 0 || !h.env)
		err = real < 0 ? -EBADF : -ENOMEM;
	u->pid = err == 0 ? fork() : -1;
	if (u->pid == 0)
		become_heir(&h);
	if (err == 0 && u->pid < 0)
		err = -errno;
	if (real >= 0)
		close(real);
	free(h.env);
	free(list);
	return err;
}

static void close_pair(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

int upgrade_start(struct server *s, struct control_call *call)
{
	struct upgrade *u = &s->upgrade;
	int status[2], said[2], err;

	if (u->state != UPGRADE_NONE)
		return fail(u, call, "one is under way");
	if (!u->program || access(u->program, X_OK) < 0)
		return fail(u, call, "there is no program at that path");
	if (pipe2(status, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail(u, call, err_text(-errno));
	if (pipe2(said, O_CLOEXEC) < 0) {
		close_pair(status);
		return fail(u, call, err_text(-errno));
	}
	err = start_heir(s, status, said);
	if (err < 0) {
		close_pair(status);
		close_pair(said);
		return fail(u, call, err_text(err));
	}
	close(status[1]);
	close(said[1]);
	(void)fcntl(said[0], F_SETFL, O_NONBLOCK);
	u->state = UPGRADE_RUNS;
	u->status_fd = status[0];
	u->said_fd = said[0];
	u->due_ms = now_ms() + UPGRADE_MAX_MS;
	u->call = call;
	u->line_len = 0;
	log_info("upgrade program=%s pid=%d starts", u->program, u->pid);
	return CONTROL_LATER;
}

static void say_line(struct upgrade *u)
{
	u->line[u->line_len] = '\0';
	if (u->line_len && u->call)
		control_say(u->call, "message", "%s", u->line);
	u->line_len = 0;
}

/* On to our own stderr, and to who asked. */
static void take_said(struct upgrade *u)
{
	char text[4096];
	ssize_t n;

	for (unsigned turn = 0; turn < 64 && (n = read(u->said_fd, text, sizeof(text))) > 0;
	     turn++) {
		(void)!write(STDERR_FILENO, text, (size_t)n);
		for (ssize_t i = 0; i < n; i++) {
			if (text[i] == '\n')
				say_line(u);
			else if (u->line_len < UPGRADE_LINE_MAX - 1)
				u->line[u->line_len++] = text[i];
		}
	}
}

static void finish(struct server *s, bool ready, const char *why)
{
	struct upgrade *u = &s->upgrade;
	struct control_call *call = u->call;
	int status = EXIT_SUCCESS;

	take_said(u);
	close(u->status_fd);
	close(u->said_fd);
	u->state = ready ? UPGRADE_DONE : UPGRADE_NONE;
	u->call = NULL;
	if (ready) {
		log_info("upgrade pid=%d serves; this process ends what it began", u->pid);
		notify_send("MAINPID=%d\nREADY=1\nSTATUS=serving", u->pid);
		__atomic_store_n(&s->shared.handed_over, true, __ATOMIC_RELAXED);
		if (call)
			control_say(call, "message", "process %d serves now", u->pid);
	} else {
		status = fail(u, call, why);
	}
	if (call)
		control_finish(call, status);
}

/* It has closed its end without a word: it is gone, or about to be. */
static void put_away(struct server *s, const char *why)
{
	struct upgrade *u = &s->upgrade;
	char text[128];
	int code = 0;

	for (unsigned i = 0; i < 200 && waitpid(u->pid, &code, WNOHANG) == 0; i++) {
		if (i == 100)
			kill(u->pid, SIGKILL);
		nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
	}
	if (!why) {
		snprintf(text, sizeof(text),
			 WIFSIGNALED(code) ? "the new process died of signal %d"
					   : "the new process ended with status %d",
			 WIFSIGNALED(code) ? WTERMSIG(code) : WEXITSTATUS(code));
		why = text;
	}
	finish(s, false, why);
}

void upgrade_look(struct server *s)
{
	struct upgrade *u = &s->upgrade;
	char byte;
	ssize_t n;

	if (u->state != UPGRADE_RUNS)
		return;
	take_said(u);
	n = read(u->status_fd, &byte, 1);
	if (n == 1)
		finish(s, true, NULL);
	else if (n == 0)
		put_away(s, NULL);
	else if (now_ms() > u->due_ms) {
		kill(u->pid, SIGKILL);
		put_away(s, "the new process was not ready in time");
	}
}

void upgrade_fini(struct upgrade *u)
{
	free(u->program);
	*u = (struct upgrade){ 0 };
}
