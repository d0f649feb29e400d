/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which engine seals what is sent: tried and measured at the start, on sockets of our own over
 * loopback.  What counts is the CPU time of the sending thread for a byte of a file: read, seal,
 * send on the one side, sendfile(2) on the other.
 */
#include "net/ktls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"

enum {
	CHUNK = 64 * 1024,
	SLAB = CHUNK + 4096,
	/* Each engine has its turns, one after the other; its best one counts. */
	TURNS = 5,
	TURN_NS = 800 * 1000,
	TURN_CHUNKS_MAX = 64,
	TRIES_MAX = 1000, /* of a socket that takes nothing */
};

static const char *const cipher_names[AEAD_CIPHERS] = {
	[AEAD_AES_128_GCM] = "aes128gcm",
	[AEAD_AES_256_GCM] = "aes256gcm",
	[AEAD_CHACHA20_POLY1305] = "chacha20",
};

/* ---- sockets ---- */

struct pair {
	int tx;
	int rx;
};

static void pair_close(struct pair *p)
{
	if (p->tx >= 0)
		close(p->tx);
	if (p->rx >= 0)
		close(p->rx);
	*p = (struct pair){ -1, -1 };
}

static int pair_connect(struct pair *p, int listening, const struct sockaddr_in *at)
{
	p->tx = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->tx < 0 || connect(p->tx, (const struct sockaddr *)at, sizeof(*at)) != 0)
		return -errno;
	if (fcntl(p->tx, F_SETFL, O_NONBLOCK) != 0)
		return -errno;
	p->rx = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return p->rx < 0 ? -errno : 0;
}

/* Two ends of a connection.  0 or -errno. */
static int pair_open(struct pair *p)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err = 0;

	*p = (struct pair){ -1, -1 };
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, 1) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		err = -errno;
	if (err == 0)
		err = pair_connect(p, fd, &at);
	close(fd);
	if (err < 0)
		pair_close(p);
	return err;
}

/* ---- what the kernel takes ---- */

static void random_keys(struct record_keys *k, unsigned minor, enum aead_cipher c)
{
	*k = (struct record_keys){ .minor = (uint8_t)minor, .cipher = c };
	/* Nobody reads what they seal; they need not be good, if the kernel has no better. */
	(void)!getrandom(k->key, sizeof(k->key), GRND_NONBLOCK);
	(void)!getrandom(k->iv, sizeof(k->iv), GRND_NONBLOCK);
	k->secret_len = c == AEAD_AES_256_GCM ? 48 : 32;
}

/* 0 or -errno; <k> is asked whether keys can be changed, too. */
static int try_cipher(struct ktls *k, struct aead_engine *e, unsigned minor, enum aead_cipher c)
{
	struct record_keys keys;
	struct record_tx t;
	struct ktls_tx kt;
	struct pair p;
	int err = pair_open(&p);

	if (err < 0)
		return err;
	random_keys(&keys, minor, c);
	record_tx_init(&t, e, &keys);
	err = ktls_begin(&kt, p.tx, &t);
	k->seals[minor - 3][c] = err == 0;
	if (err == 0 && minor == 4)
		k->rekeys = ktls_rekey(&kt, p.tx, &t, e) == 0;
	record_tx_fini(&t);
	pair_close(&p);
	return err;
}

/* All that it takes; 0, or the first refusal if that was all. */
static int try_all(struct ktls *k, struct aead_engine *e, char *refused, size_t len)
{
	int first = 0;
	bool any = false;

	refused[0] = '\0';
	for (unsigned minor = 4; minor >= 3; minor--) {
		for (int c = 0; c < AEAD_CIPHERS; c++) {
			int err = try_cipher(k, e, minor, (enum aead_cipher)c);
			size_t at = strlen(refused);

			any |= err == 0;
			if (err == 0)
				continue;
			first = first ? first : err;
			snprintf(refused + at, len - at, "%s1.%u-%s", at ? "," : "", minor - 1,
				 cipher_names[c]);
		}
	}
	return any ? 0 : first;
}

/* ---- what it costs ---- */

struct bench {
	struct pair p;
	int file;
	struct aead_engine *aead;
	struct record_tx t;
	struct ktls_tx kt;
	char *plain;
	char *slab;
};

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* What has arrived is dropped by the kernel, uncopied. */
static void drain(struct bench *b)
{
	while (recv(b->p.rx, b->plain, CHUNK, MSG_TRUNC | MSG_DONTWAIT) > 0)
		;
}

/* Each gives the bytes that went, and drains for the next.  0: it does not go. */
static size_t send_user(struct bench *b)
{
	size_t sealed = 0, at = 0;

	if (pread(b->file, b->plain, CHUNK, 0) != CHUNK)
		return 0;
	for (size_t i = 0; i < CHUNK; i += TLS_PLAIN_MAX)
		sealed += record_seal(&b->t, b->aead, RECORD_DATA,
				      (struct slice){ b->plain + i, TLS_PLAIN_MAX },
				      (uint8_t *)b->slab + sealed);
	for (unsigned i = 0; at < sealed && i < TRIES_MAX; i++) {
		ssize_t n = send(b->p.tx, b->slab + at, sealed - at, MSG_DONTWAIT | MSG_NOSIGNAL);

		at += n > 0 ? (size_t)n : 0;
		if (at < sealed)
			drain(b);
	}
	return at == sealed ? CHUNK : 0;
}

static size_t send_kernel(struct bench *b)
{
	off_t at = 0;

	for (unsigned i = 0; at < CHUNK && i < TRIES_MAX; i++) {
		(void)!sendfile(b->p.tx, b->file, &at, (size_t)(CHUNK - at));
		if (at < CHUNK)
			drain(b);
	}
	return (size_t)at;
}

/* Nanoseconds of CPU for a MiB, in one turn; 0: it does not work. */
static uint64_t turn(struct bench *b, size_t (*send_chunk)(struct bench *b))
{
	uint64_t spent = 0, bytes = 0;

	for (unsigned i = 0; i < TURN_CHUNKS_MAX && spent < TURN_NS; i++) {
		uint64_t from = cpu_ns();
		size_t n = send_chunk(b);

		spent += cpu_ns() - from;
		if (n != CHUNK)
			return 0;
		bytes += n;
		drain(b);
	}
	/* A clock that goes by ticks may have seen nothing. */
	return (spent + 1) * (1 << 20) / bytes + 1;
}

static bool better(uint64_t *best, uint64_t ns)
{
	if (ns > 0 && (*best == 0 || ns < *best))
		*best = ns;
	return ns > 0;
}

static int bench_open(struct bench *b, struct aead_engine *e, enum aead_cipher c)
{
	struct record_keys keys;
	int err;

	*b = (struct bench){ .p = { -1, -1 }, .aead = e };
	random_keys(&keys, 4, c);
	record_tx_init(&b->t, e, &keys);
	b->file = memfd_create("sluice-ktls", MFD_CLOEXEC);
	b->plain = calloc(1, CHUNK);
	b->slab = malloc(SLAB);
	if (b->file < 0 || !b->plain || !b->slab || write(b->file, b->plain, CHUNK) != CHUNK)
		return -ENOMEM;
	err = pair_open(&b->p);
	return err;
}

static void bench_close(struct bench *b)
{
	pair_close(&b->p);
	record_tx_fini(&b->t);
	if (b->file >= 0)
		close(b->file);
	free(b->plain);
	free(b->slab);
}

/* The socket of <kernel> goes over, that of <user> does not. */
static bool measure(struct bench *user, struct bench *kernel, uint64_t *user_ns,
		    uint64_t *kernel_ns)
{
	if (ktls_begin(&kernel->kt, kernel->p.tx, &kernel->t) < 0)
		return false;
	for (unsigned i = 0; i < TURNS; i++)
		if (!better(user_ns, turn(user, send_user)) ||
		    !better(kernel_ns, turn(kernel, send_kernel)))
			return false;
	return true;
}

static bool compare(struct aead_engine *e, enum aead_cipher c, uint64_t *user_ns,
		    uint64_t *kernel_ns)
{
	struct bench user, kernel;
	int err_user = bench_open(&user, e, c), err_kernel = bench_open(&kernel, e, c);
	bool ok = err_user == 0 && err_kernel == 0 && measure(&user, &kernel, user_ns, kernel_ns);

	bench_close(&user);
	bench_close(&kernel);
	return ok;
}

/* ---- the choice ---- */

static const char *why_not(int err)
{
	switch (err) {
	case -ENOENT:
		return "it has no tls module, or not that cipher's: modprobe tls, before the start";
	case -ENOPROTOOPT: return "it is made without TLS";
	}
	return err_text(err);
}

/* An engine's cost of a byte, as bench/ has it: CPU seconds for a GB. */
static double s_per_gb(uint64_t ns_per_mib)
{
	return (double)ns_per_mib / (1 << 20);
}

static void choose(struct ktls *k, enum ktls_mode mode, struct aead_engine *e)
{
	enum log_level level = mode == KTLS_ON ? LOG_WARN : LOG_INFO;
	enum aead_cipher c = AEAD_AES_128_GCM;
	uint64_t user_ns = 0, kernel_ns = 0;
	char refused[128];
	bool rekeys;
	int err = try_all(k, e, refused, sizeof(refused));

	if (err < 0) {
		log_line(level, "tls engine=user ktls=refused reason=\"%s\"", why_not(err));
		return;
	}
	while (c < AEAD_CIPHERS - 1 && !k->seals[1][c])
		c++;
	if (!compare(e, c, &user_ns, &kernel_ns)) {
		log_line(level,
			 "tls engine=user ktls=refused reason=\"it fails when it is tried\"");
		*k = (struct ktls){ 0 };
		return;
	}
	rekeys = k->rekeys;
	if (mode == KTLS_AUTO && user_ns <= kernel_ns)
		*k = (struct ktls){ 0 };
	log_info("tls engine=%s ktls=%s user_s_per_gb=%.3f kernel_s_per_gb=%.3f "
		 "measured=%s refused=%s rekey=%s",
		 k->seals[1][c] ? "kernel" : "user", mode == KTLS_ON ? "on" : "auto",
		 s_per_gb(user_ns), s_per_gb(kernel_ns), cipher_names[c],
		 refused[0] ? refused : "-", rekeys ? "yes" : "no");
}

void ktls_choose(struct ktls *k, enum ktls_mode mode)
{
	struct aead_engine *e = aead_engine_new();

	*k = (struct ktls){ 0 };
	if (e && mode == KTLS_OFF)
		log_info("tls engine=user ktls=off");
	else if (e)
		choose(k, mode, e);
	aead_engine_free(e);
}
