/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/loop_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

enum { ENTRIES = 8, RX_BUFS = 4, RX_BYTES = 512, LIMIT_MS = 10000 };

/* A loop that ends itself when the watchdog fires: no test hangs. */
static struct loop *loop;
static struct timer watchdog;

static void watchdog_fired(struct timer *t)
{
	(void)t;
	check(!"the loop came to an end in time");
	loop_stop(loop);
}

static bool start(void)
{
	struct loop_opts opts = { .entries = ENTRIES,
				  .rx_bufs = RX_BUFS,
				  .rx_buf_bytes = RX_BYTES };
	const char *why;

	if (loop_new(&loop, &opts, &why) != 0) {
		printf("# %s\n", why);
		return check(!"loop_new");
	}
	timer_init(&watchdog, watchdog_fired);
	loop_timer_set(loop, &watchdog, loop_now_ms(loop) + LIMIT_MS);
	return true;
}

static void finish(void)
{
	loop_timer_clear(loop, &watchdog);
	check_eq(loop_inflight(loop), 0);
	loop_free(loop);
}

/* An op whose completion ends the loop, unless more are awaited. */
struct probe {
	struct op op;
	unsigned inflight;
	unsigned calls;
	int res;
};
static unsigned awaited;

static void probe_done(struct op *op, int res)
{
	struct probe *p = container_of(op, struct probe, op);

	p->calls++;
	p->res = res;
	if (awaited > 0 && --awaited == 0)
		loop_stop(loop);
}

static void probe_init(struct probe *p)
{
	*p = (struct probe){ 0 };
	op_init(&p->op, &p->inflight, probe_done);
}

static void run_until(unsigned completions)
{
	awaited = completions;
	loop_run(loop);
}

static int listen_any(struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_in){ .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	check(bind(fd, (struct sockaddr *)at, sizeof(*at)) == 0);
	check(listen(fd, 64) == 0);
	check(getsockname(fd, (struct sockaddr *)at, &len) == 0);
	return fd;
}

static int sock(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int accepted[32];
static unsigned accepted_count;

static void accept_done(struct op *op, int res)
{
	if (res >= 0)
		accepted[accepted_count++] = res;
	probe_done(op, res);
}

TEST(accept_goes_on_until_cancelled_and_may_start_before_the_loop_runs)
{
	struct probe acceptor, connector[5];
	struct sockaddr_in at;
	int lfd, fds[5];

	require(start());
	lfd = listen_any(&at);
	probe_init(&acceptor);
	acceptor.op.done = accept_done;
	accepted_count = 0;
	loop_accept(loop, &acceptor.op, lfd);
	for (int i = 0; i < 5; i++) {
		probe_init(&connector[i]);
		fds[i] = sock();
		loop_connect(loop, &connector[i].op, fds[i], (struct sockaddr *)&at, sizeof(at));
	}
	run_until(10);
	check_eq(accepted_count, 5);
	check(op_more(&acceptor.op));
	check_eq(acceptor.inflight, 1);
	for (int i = 0; i < 5; i++) {
		check_eq(connector[i].res, 0);
		check(fcntl(accepted[i], F_GETFL) & O_NONBLOCK);
		check(fcntl(accepted[i], F_GETFD) & FD_CLOEXEC);
	}
	loop_cancel(loop, &acceptor.op);
	run_until(1);
	check_eq(acceptor.res, -ECANCELED);
	check(!op_more(&acceptor.op));
	check_eq(acceptor.inflight, 0);
	for (int i = 0; i < 5; i++) {
		close(fds[i]);
		close(accepted[i]);
	}
	close(lfd);
	finish();
}

TEST(send_sends_all_of_it_and_recv_gets_it)
{
	enum { BYTES = 3 << 20 };
	struct probe tx, rx;
	char *out = malloc(BYTES), *in = malloc(BYTES);
	size_t got = 0;
	int sv[2];

	require(start());
	for (int i = 0; i < BYTES; i++)
		out[i] = (char)(i * 7 + (i >> 12));
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
	probe_init(&tx);
	probe_init(&rx);
	loop_send(loop, &tx.op, sv[0], out, BYTES);
	for (int turn = 0; got < BYTES && turn < 100000 && test_bad == 0; turn++) {
		loop_recv(loop, &rx.op, sv[1], in + got, BYTES - got);
		while (op_busy(&rx.op))
			run_until(1);
		require(rx.res > 0);
		got += (size_t)rx.res;
	}
	while (op_busy(&tx.op))
		run_until(1);
	check_eq(tx.res, BYTES);
	check_mem(in, out, BYTES);
	close(sv[0]);
	loop_recv(loop, &rx.op, sv[1], in, BYTES);
	run_until(1);
	check_eq(rx.res, 0);
	close(sv[1]);
	free(out);
	free(in);
	finish();
}

TEST(a_cancelled_send_tells_what_was_sent)
{
	enum { BYTES = 8 << 20 };
	struct probe tx;
	char *out = calloc(1, BYTES);
	int sv[2];

	require(start());
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
	probe_init(&tx);
	loop_send(loop, &tx.op, sv[0], out, BYTES);
	loop_cancel(loop, &tx.op);
	run_until(1);
	check(tx.res == -ECANCELED || (tx.res > 0 && tx.res < BYTES));
	close(sv[0]);
	close(sv[1]);
	free(out);
	finish();
}

TEST(send_to_a_closed_peer_fails_without_a_signal)
{
	struct probe tx;
	int sv[2];

	require(start());
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
	close(sv[1]);
	probe_init(&tx);
	loop_send(loop, &tx.op, sv[0], "x", 1);
	run_until(1);
	check_eq(tx.res, -EPIPE);
	close(sv[0]);
	finish();
}

/* Makes the kernel answer -EAGAIN to what was asked last and is not submitted yet. */
static void last_does_not_wait(void)
{
	struct io_uring_sq *sq = &loop->ring.uring.sq;
	struct io_uring_sqe *sqe = &sq->sqes[(sq->sqe_tail - 1) & sq->ring_mask];

	check(sqe->opcode == IORING_OP_RECV || sqe->opcode == IORING_OP_SEND);
	sqe->msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
}

static void poke(struct timer *t)
{
	(void)t;
	loop_stop(loop);
}

TEST(again_is_waited_for_and_never_seen)
{
	static char out[4 << 20], in[4 << 20];
	struct probe rx, tx;
	struct timer soon;
	size_t got = 0;
	int sv[2];

	require(start());
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
	probe_init(&rx);
	probe_init(&tx);
	timer_init(&soon, poke);
	loop_recv(loop, &rx.op, sv[1], in, sizeof(in));
	last_does_not_wait();
	loop_timer_set(loop, &soon, loop_now_ms(loop) + 20);
	loop_run(loop);
	check(rx.op.polling);
	check_eq(write(sv[0], "x", 1), 1);
	run_until(1);
	check_eq(rx.res, 1);

	loop_recv(loop, &rx.op, sv[1], in, sizeof(in));
	last_does_not_wait();
	loop_timer_set(loop, &soon, loop_now_ms(loop) + 20);
	loop_run(loop);
	check(rx.op.polling);
	loop_cancel(loop, &rx.op);
	run_until(1);
	check_eq(rx.res, -ECANCELED);

	memset(out, 'y', sizeof(out));
	loop_send(loop, &tx.op, sv[0], out, sizeof(out));
	last_does_not_wait();
	while (got < sizeof(in) && test_bad == 0) {
		loop_recv(loop, &rx.op, sv[1], in + got, sizeof(in) - got);
		while (op_busy(&rx.op))
			run_until(1);
		require(rx.res > 0);
		got += (size_t)rx.res;
	}
	while (op_busy(&tx.op))
		run_until(1);
	check_eq(tx.res, sizeof(out));
	check_mem(in, out, sizeof(out));
	close(sv[0]);
	close(sv[1]);
	finish();
}

static char pooled_byte;
static bool pooled_same;

static void pooled_done(struct op *op, int res)
{
	if (res > 0) {
		const char *data = loop_rx_data(loop, op);

		check((size_t)res <= loop_rx_buf_bytes(loop));
		pooled_byte = data[0];
		for (int i = 1; i < res; i++)
			pooled_same = pooled_same && data[i] == data[0];
	}
	probe_done(op, res);
}

TEST(pooled_recv_serves_more_sockets_than_it_has_buffers)
{
	enum { PAIRS = 6 * RX_BUFS, ROUNDS = 20 };
	struct probe rx[PAIRS];
	int sv[PAIRS][2];
	char out[RX_BYTES];

	require(start());
	loop_stop(loop);
	loop_run(loop); /* only a loop that runs takes more operations than it has entries */
	pooled_same = true;
	for (int i = 0; i < PAIRS; i++) {
		require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv[i]) == 0);
		probe_init(&rx[i]);
		rx[i].op.done = pooled_done;
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < PAIRS; i++) {
			if (round % 2) /* data first: the kernel is short of buffers at once */
				loop_recv_pooled(loop, &rx[i].op, sv[i][1]);
			memset(out, i + round, sizeof(out));
			check_eq(write(sv[i][0], out, sizeof(out)), sizeof(out));
			if (round % 2 == 0)
				loop_recv_pooled(loop, &rx[i].op, sv[i][1]);
		}
		run_until(PAIRS);
		for (int i = 0; i < PAIRS; i++)
			check_eq(rx[i].res, RX_BYTES);
	}
	check(pooled_same);
	loop_recv_pooled(loop, &rx[0].op, sv[0][1]);
	loop_cancel(loop, &rx[0].op);
	run_until(1);
	check_eq(rx[0].res, -ECANCELED);
	for (int i = 0; i < PAIRS; i++) {
		close(sv[i][0]);
		loop_recv_pooled(loop, &rx[i].op, sv[i][1]);
	}
	run_until(PAIRS);
	for (int i = 0; i < PAIRS; i++) {
		check_eq(rx[i].res, 0);
		close(sv[i][1]);
	}
	finish();
}

TEST(poll_and_cancel_of_many_with_a_full_submission_queue)
{
	enum { POLLS = 10 * ENTRIES };
	struct probe polls[POLLS];
	int sv[2];

	require(start());
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
	probe_init(&polls[0]);
	loop_poll(loop, &polls[0].op, sv[0], POLLOUT);
	run_until(1);
	check_eq(polls[0].res, POLLOUT);
	for (int i = 0; i < POLLS; i++) {
		probe_init(&polls[i]);
		loop_poll(loop, &polls[i].op, sv[0], POLLIN);
	}
	check_eq(loop_inflight(loop), POLLS);
	for (int i = 0; i < POLLS; i++)
		loop_cancel(loop, &polls[i].op);
	run_until(POLLS);
	for (int i = 0; i < POLLS; i++) {
		check_eq(polls[i].res, -ECANCELED);
		check_eq(polls[i].calls, 1);
	}
	close(sv[0]);
	close(sv[1]);
	finish();
}

TEST(files_open_write_read_close)
{
	char path[] = "/tmp/io_loop_test.XXXXXX", in[16] = "";
	struct probe p;
	int fd;

	require(start());
	fd = mkstemp(path);
	require(fd >= 0);
	close(fd);
	probe_init(&p);
	loop_openat(loop, &p.op, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0600);
	run_until(1);
	require(p.res >= 0);
	fd = p.res;
	loop_write(loop, &p.op, fd, "hello", 5, 3);
	run_until(1);
	check_eq(p.res, 5);
	loop_read(loop, &p.op, fd, in, sizeof(in), 2);
	run_until(1);
	check_eq(p.res, 6);
	check_mem(in, "\0hello", 6);
	loop_close(loop, &p.op, fd);
	run_until(1);
	check_eq(p.res, 0);
	check(fcntl(fd, F_GETFD) < 0);
	unlink(path);
	loop_openat(loop, &p.op, AT_FDCWD, path, O_RDONLY, 0);
	run_until(1);
	check_eq(p.res, -ENOENT);
	finish();
}

static struct timer ticks[3];
static char tick_order[8];

static void tick_fired(struct timer *t)
{
	tick_order[strlen(tick_order)] = (char)('a' + (t - ticks));
	if (strlen(tick_order) == 2)
		loop_stop(loop);
}

TEST(timers_fire_in_order_and_not_early)
{
	uint64_t began;

	require(start());
	memset(tick_order, 0, sizeof(tick_order));
	began = loop_now_ms(loop);
	for (int i = 0; i < 3; i++)
		timer_init(&ticks[i], tick_fired);
	loop_timer_set(loop, &ticks[0], began + 10);
	loop_timer_set(loop, &ticks[1], began + 20);
	loop_timer_set(loop, &ticks[2], began + 5);
	loop_timer_clear(loop, &ticks[2]);
	loop_timer_set(loop, &ticks[0], began + 30); /* later: passes the other */
	loop_run(loop);
	check_str(tick_order, "ba");
	check(loop_now_ms(loop) >= began + 30);
	finish();
}

static struct task steps[3];
static unsigned step_runs[3];

static void step_run(struct task *t)
{
	size_t i = (size_t)(t - steps);

	check(!t->queued);
	step_runs[i]++;
	if (i == 0)
		loop_unwake(loop, &steps[1]);
	if (step_runs[i] < 3)
		loop_wake(loop, t);
	else if (i == 2)
		loop_stop(loop);
	if (i == 2)
		check_eq(step_runs[0], step_runs[2]); /* once a turn each */
}

TEST(tasks_run_once_per_wake_and_can_be_taken_off)
{
	require(start());
	for (int i = 0; i < 3; i++) {
		step_runs[i] = 0;
		task_init(&steps[i], step_run);
		loop_wake(loop, &steps[i]);
		loop_wake(loop, &steps[i]);
	}
	loop_run(loop);
	check_eq(step_runs[0], 3);
	check_eq(step_runs[1], 0);
	check_eq(step_runs[2], 3);
	loop_unwake(loop, &steps[0]);
	finish();
}

enum { POSTERS = 4, POSTS = 5000 };

struct letter {
	struct mail mail;
	unsigned from;
	unsigned nr;
};
static unsigned letters_next[POSTERS], letters_total;

static void letter_deliver(struct mail *m)
{
	struct letter *letter = container_of(m, struct letter, mail);

	check_eq(letter->nr, letters_next[letter->from]);
	letters_next[letter->from]++;
	free(letter);
	if (++letters_total == POSTERS * POSTS)
		loop_stop(loop);
}

static void *poster(void *arg)
{
	unsigned from = *(unsigned *)arg;

	for (unsigned i = 0; i < POSTS; i++) {
		struct letter *letter = calloc(1, sizeof(*letter));

		letter->mail.deliver = letter_deliver;
		letter->from = from;
		letter->nr = i;
		loop_post(loop, &letter->mail);
	}
	return NULL;
}

TEST(posts_from_four_threads_arrive_once_and_in_order)
{
	pthread_t threads[POSTERS];
	unsigned ids[POSTERS] = { 0, 1, 2, 3 };

	require(start());
	letters_total = 0;
	for (int i = 0; i < POSTERS; i++)
		check(pthread_create(&threads[i], NULL, poster, &ids[i]) == 0);
	loop_run(loop);
	for (int i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	check_eq(letters_total, POSTERS * POSTS);
	finish();
}

static void *runner(void *arg)
{
	(void)arg;
	loop_run(loop);
	return NULL;
}

static void stop_deliver(struct mail *m)
{
	(void)m;
	loop_stop(loop);
}

TEST(made_by_one_thread_run_by_another)
{
	struct mail stop = { .deliver = stop_deliver };
	struct probe tx, rx;
	pthread_t thread;
	char in[4] = "";
	int sv[2];

	require(start());
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
	probe_init(&tx);
	probe_init(&rx);
	awaited = 0;
	loop_recv(loop, &rx.op, sv[0], in, sizeof(in));
	require(pthread_create(&thread, NULL, runner, NULL) == 0);
	check_eq(write(sv[1], "ping", 4), 4);
	usleep(20 * 1000);
	loop_post(loop, &stop);
	pthread_join(thread, NULL);
	check_eq(rx.res, 4);
	check_mem(in, "ping", 4);
	close(sv[0]);
	close(sv[1]);
	finish();
}

/* In a child: io_uring_setup fails with <err>; is *why about <word>? */
static int refused_child(int err, const char *word)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = countof(code), .filter = code };
	struct loop_opts opts = { .entries = 8 };
	const char *why;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &prog))
		return 1;
	if (loop_new(&loop, &opts, &why) != -err || loop != NULL)
		return 2;
	printf("# %s\n", why);
	return strstr(why, word) ? 0 : 3;
}

TEST(a_refusal_is_explained)
{
	static const struct {
		int err;
		const char *word;
	} cases[] = {
		{ EPERM, "io_uring_disabled" },
		{ ENOSYS, "6.1" },
		{ EINVAL, "6.1" },
		{ ENOMEM, "LimitMEMLOCK" },
	};

	for (unsigned i = 0; i < countof(cases); i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0)
			_exit(refused_child(cases[i].err, cases[i].word));
		check(waitpid(pid, &status, 0) == pid);
		check_eq(status, 0);
	}
}
