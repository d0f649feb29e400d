/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Certificates and names; handshakes between our two roles over memory; what must fail and why. */
#include "net/handshake.h"

#include <pthread.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "net/aead.h"
#include "net/tls.h"

#include "net_certs.h"
#include "test.h"

static struct tls_server *server_of(const char *a, const char *b, bool h2)
{
	struct tls_cert_opts opts[2] = { { a, NULL, NULL }, { b, NULL, NULL } };
	struct tls_server *s;
	char err[512] = "", names[4][64];
	size_t count = b ? 2 : 1;

	certs_make();
	for (size_t i = 0; i < count; i++) {
		snprintf(names[i * 2], 64, "%s.pem", opts[i].name);
		snprintf(names[i * 2 + 1], 64, "%s.key", opts[i].name);
		opts[i].chain = certs_path(names[i * 2]);
		opts[i].key = certs_path(names[i * 2 + 1]);
	}
	s = tls_server_new(opts, count, h2, err, sizeof(err));
	if (!s)
		printf("# %s\n", err);
	return s;
}

static struct tls_client *client_of(const char *extra_ca)
{
	struct tls_client *c;
	char err[512] = "";

	certs_make();
	c = tls_client_new(extra_ca, err, sizeof(err));
	if (!c)
		printf("# %s\n", err);
	return c;
}

struct side {
	struct handshake *hs;
	struct buf in, raw;
	char in_mem[65536], raw_mem[65536];
	struct handshake_end end;
	int r;
};

static void carry(struct side *from, struct side *to)
{
	check(buf_append(&to->in, handshake_out(from->hs)));
}

/* Gives <in> to the side in pieces of <step> bytes. */
static void run(struct side *s, size_t step)
{
	do {
		struct slice piece = slice_first(buf_data(&s->in), step);

		check(buf_append(&s->raw, piece));
		buf_take(&s->in, piece.len);
		if (s->r == 0)
			s->r = handshake_run(s->hs, &s->raw, &s->end);
	} while (buf_len(&s->in) > 0);
}

static struct side *side_new(struct handshake *hs)
{
	struct side *s = calloc(1, sizeof(*s));

	check(hs != NULL);
	s->hs = hs;
	buf_init(&s->in, s->in_mem, sizeof(s->in_mem));
	buf_init(&s->raw, s->raw_mem, sizeof(s->raw_mem));
	return s;
}

static void side_free(struct side *s)
{
	handshake_free(s->hs);
	free(s);
}

/* A whole handshake. */
static void shake(struct side *c, struct side *s, size_t step)
{
	for (unsigned i = 0; i < 10 && (c->r == 0 || s->r == 0); i++) {
		run(c, step);
		carry(c, s);
		run(s, step);
		carry(s, c);
	}
}

/* A record of one side opens at the other, behind what that one has not read yet (tickets). */
static void check_records(struct side *from, struct side *to)
{
	struct aead_engine *e = aead_engine_new();
	struct record_tx t;
	struct record_rx r;
	uint8_t rec[2048], out[2048];
	enum record_type type;

	record_tx_init(&t, e, &from->end.tx);
	record_rx_init(&r, e, &to->end.rx);
	t.explicit_nonce = from->end.explicit_nonce;
	check(buf_append(&to->raw, buf_data(&to->in)));
	while (buf_len(&to->raw) > 0) {
		int n = record_size(buf_data(&to->raw));

		require(n > 0);
		check(record_open(&r, e, slice_first(buf_data(&to->raw), (size_t)n), out, &type) >
		      0);
		check_eq(type, RECORD_HANDSHAKE);
		buf_take(&to->raw, (size_t)n);
	}
	size_t n = record_seal(&t, e, RECORD_DATA, SLICE("across"), rec);

	check_eq(record_open(&r, e, (struct slice){ (char *)rec, n }, out, &type), 6);
	check_mem(out, "across", 6);
	record_tx_fini(&t);
	record_rx_fini(&r);
	aead_engine_free(e);
}

static void good(const char *cert, const char *host, size_t step, bool h2)
{
	struct tls_server *ts = server_of(cert, "second", h2);
	struct tls_client *tc = client_of(NULL);

	require(ts && tc);
	struct side *c = side_new(handshake_new_client(tc, host));
	struct side *s = side_new(handshake_new_server(ts, host));

	shake(c, s, step);
	check_eq(c->r, 1);
	check_eq(s->r, 1);
	if (c->r == 1 && s->r == 1) {
		check_eq(s->end.tx.minor, 4);
		check(!s->end.h2);
		check_records(c, s);
		check_records(s, c);
	} else {
		printf("# client: %s; server: %s\n", handshake_why(c->hs), handshake_why(s->hs));
	}
	side_free(c);
	side_free(s);
	tls_server_unref(ts);
	tls_client_unref(tc);
}

TEST(tls_handshake_over_memory)
{
	check_eq(tls_global_init(), 0);
	good("main", "main.test", 65536, false);
	good("main", "127.0.0.1", 65536, false);
	good("main", "::1", 65536, true);
	good("main", "localhost", 65536, false);
	good("main", "a.wild.test", 65536, false);
	good("main", "second.test", 65536, false);
	good("rsa", "rsa.test", 65536, false);
	good("cn", "cn.test", 65536, false);
}

TEST(tls_handshake_a_byte_at_a_time)
{
	good("main", "main.test", 1, false);
	good("rsa", "rsa.test", 3, false);
}

static void refused(const char *cert, const char *host, const char *why)
{
	struct tls_server *ts = server_of(cert, NULL, false);
	struct tls_client *tc = client_of(NULL);

	require(ts && tc);
	struct side *c = side_new(handshake_new_client(tc, host));
	struct side *s = side_new(handshake_new_server(ts, host));

	shake(c, s, 65536);
	check_eq(c->r, ERR_TLS_CERT);
	check_str(handshake_why(c->hs), why);
	/* The alert that wolfSSL sent says so to the server. */
	check_eq(s->r, ERR_TLS_ALERT);
	side_free(c);
	side_free(s);
	tls_server_unref(ts);
	tls_client_unref(tc);
}

TEST(tls_bad_certificates_are_refused)
{
	certs_make();
	refused("main", "other.test", "certificate is for another name");
	refused("main", "127.0.0.2", "certificate is for another name");
	refused("main", "wild.test", "certificate is for another name");
	refused("main", "a.b.wild.test", "certificate is for another name");
	refused("main", "unused.test", "certificate is for another name");
	refused("expired", "127.0.0.1", "certificate expired");
	refused("future", "127.0.0.1", "certificate not yet valid");
	setenv("SSL_CERT_FILE", certs_path("other-ca.pem"), 1);
	refused("main", "127.0.0.1", "certificate of an unknown authority");
	setenv("SSL_CERT_FILE", certs_path("ca.pem"), 1);
}

TEST(tls_extra_roots)
{
	struct tls_server *ts = server_of("main", NULL, false);

	setenv("SSL_CERT_FILE", certs_path("other-ca.pem"), 1);
	struct tls_client *tc = client_of(certs_path("ca.pem"));
	setenv("SSL_CERT_FILE", certs_path("ca.pem"), 1);
	require(ts && tc);
	struct side *c = side_new(handshake_new_client(tc, "main.test"));
	struct side *s = side_new(handshake_new_server(ts, "main.test"));

	shake(c, s, 65536);
	check_eq(c->r, 1);
	check_eq(s->r, 1);
	side_free(c);
	side_free(s);
	tls_server_unref(ts);
	tls_client_unref(tc);
}

static void bad_files(const char *chain, const char *key, const char *in_text)
{
	struct tls_cert_opts o = { "main", certs_path(chain), certs_path(key) };
	char err[512] = "";

	check(tls_server_new(&o, 1, false, err, sizeof(err)) == NULL);
	printf("# %s\n", err);
	check(strstr(err, in_text) != NULL);
	check(strstr(err, certs_path("")) != NULL);
}

TEST(tls_bad_files_are_explained)
{
	char err[512] = "";

	certs_make();
	certs_run("openssl ec -in main.key -aes128 -passout pass:x -out locked.key");
	certs_run("sed 's/^M/Z/;s/^[A-L]/_/' main.pem >broken.pem");
	bad_files("main.pem", "second.key", "does not belong");
	bad_files("main.pem", "rsa.key", "does not belong");
	bad_files("absent.pem", "main.key", "No such file");
	bad_files("main.pem", "absent.key", "No such file");
	bad_files("main.key", "main.key", "does not begin with a certificate");
	bad_files("broken.pem", "main.key", "certificate");
	bad_files("main.pem", "main.pem", "not a usable private key");
	bad_files("main.pem", "locked.key", "pass phrase");
	check(tls_client_new(certs_path("absent.pem"), err, sizeof(err)) == NULL);
	check(strstr(err, "No such file") != NULL);
	check(tls_client_new(certs_path("main.key"), err, sizeof(err)) == NULL);
	check(strstr(err, "no certificate") != NULL);
}

TEST(tls_system_roots_load)
{
	unsetenv("SSL_CERT_FILE");
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	struct tls_client *c = client_of(NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("# %ld us\n", (b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000);
	check(c != NULL);
	tls_client_unref(c);
	setenv("SSL_CERT_FILE", certs_path("ca.pem"), 1);
}

struct crowd {
	struct tls_server *ts;
	struct tls_client *tc;
	unsigned done;
};

static void *crowd_run(void *arg)
{
	struct crowd *w = arg;

	for (unsigned i = 0; i < 40; i++) {
		struct side *c = side_new(handshake_new_client(w->tc, "main.test"));
		struct side *s = side_new(handshake_new_server(w->ts, "main.test"));

		shake(c, s, 65536);
		w->done += c->r == 1 && s->r == 1;
		side_free(c);
		side_free(s);
	}
	return NULL;
}

TEST(tls_contexts_are_shared_by_threads)
{
	struct crowd crowd[4];
	pthread_t threads[4];
	struct tls_server *ts = server_of("main", NULL, false);
	struct tls_client *tc = client_of(NULL);

	require(ts && tc);
	for (unsigned i = 0; i < 4; i++) {
		crowd[i] = (struct crowd){ ts, tc, 0 };
		check_eq(pthread_create(&threads[i], NULL, crowd_run, &crowd[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		check_eq(crowd[i].done, 40);
	}
	tls_server_unref(ts);
	tls_client_unref(tc);
}

TEST(tls_handshake_cost)
{
	struct tls_server *ts = server_of("main", NULL, false);
	struct tls_client *tc = client_of(NULL);
	struct timespec a, b;
	long ns = 0;
	unsigned n = 200;

	require(ts && tc);
	for (unsigned i = 0; i < n; i++) {
		struct side *c = side_new(handshake_new_client(tc, "main.test"));

		run(c, 65536);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
		struct side *s = side_new(handshake_new_server(ts, "main.test"));
		carry(c, s);
		run(s, 65536);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
		ns += (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec;
		carry(s, c);
		run(c, 65536);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
		carry(c, s);
		run(s, 65536);
		check_eq(s->r, 1);
		side_free(s);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
		ns += (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec;
		side_free(c);
	}
	printf("# %ld us of CPU for a server's handshake, TLS 1.3, X25519, ECDSA P-256\n",
	       ns / 1000 / n);
	tls_server_unref(ts);
	tls_client_unref(tc);
}
