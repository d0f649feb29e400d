/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Streams that send by the kernel's TLS, to clients of ours.  Skipped where the kernel has none:
 * tests/kernel/run boots one that has.
 */
#include "net_rig.h"

#include <sys/mman.h>

#include "net/stream_private.h"
#include "net_suite.h"

enum { FILE_BYTES = 2 * 1024 * 1024 };

static struct ktls kernel; /* what this one can do */
static int file;

/* False: nothing of it. */
static bool have(void)
{
	static char mem[FILE_BYTES];

	if (file > 0)
		return kernel.seals[1][AEAD_AES_128_GCM];
	ktls_choose(&kernel, KTLS_ON);
	file = memfd_create("pattern", MFD_CLOEXEC);
	for (size_t i = 0; i < sizeof(mem); i++)
		mem[i] = pattern(i);
	check_eq(write(file, mem, sizeof(mem)), sizeof(mem));
	return kernel.seals[1][AEAD_AES_128_GCM];
}

static const char none[] = "this kernel has no TLS, or not AES-GCM for it";

static void setup_file(struct end *e)
{
	e->file = file;
	e->tx_left = FILE_BYTES;
	e->close_when_done = true;
}

/* <suite>: NULL: as they agree. */
static struct rig *rig_ktls(struct end **c, const char *suite)
{
	struct rig *r = rig_new("main");

	r->net.ktls = &kernel;
	r->setup = setup_file;
	if (suite)
		only(r, suite);
	*c = watched = dial(r, r->port, "main.test");
	return r;
}

/* All of the file came, by the kernel but for its begin, then close_notify. */
static void check_whole(struct rig *r, struct end *c)
{
	require(r->accepted_count == 1);
	check_eq(c->rx_at, FILE_BYTES);
	check(!c->bad_pattern);
	check_eq(c->end_err, ERR_EOF);
	check_eq(r->accepted[0]->end_err, 0);
	check_eq(stat_get(&r->stats, STAT_TLS_KERNEL_CONNECTIONS), 1);
	check(stat_get(&r->stats, STAT_TLS_USER) <= 128 * 1024);
	check_eq(stat_get(&r->stats, STAT_TLS_USER) + stat_get(&r->stats, STAT_TLS_KERNEL),
		 FILE_BYTES);
}

TEST(ktls_sends_whole_files)
{
	static const char *const choices[2][AEAD_CIPHERS] = {
		{ "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
		  "ECDHE-ECDSA-CHACHA20-POLY1305" },
		{ "TLS13-AES128-GCM-SHA256", "TLS13-AES256-GCM-SHA384",
		  "TLS13-CHACHA20-POLY1305-SHA256" },
	};

	if (!have())
		skip(none);
	for (unsigned i = 0; i < 2 * AEAD_CIPHERS; i++) {
		struct end *c;
		struct rig *r = rig_ktls(&c, choices[i / AEAD_CIPHERS][i % AEAD_CIPHERS]);

		(void)rig_run(r, both_closed);
		check(kernel.seals[i / AEAD_CIPHERS][i % AEAD_CIPHERS]);
		printf("# %s\n", c->s.tls_text);
		check_whole(r, c);
		rig_free(r, c);
	}
}

/* The socket is full most of the time, at the end too. */
static struct rig *rig_slow(struct end **c)
{
	const int sndbuf = 20 * 1000;
	struct rig *r = rig_ktls(c, NULL);

	check_eq(setsockopt(r->ls.fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)), 0);
	(*c)->pull_max = 50 * 1000;
	return r;
}

static bool drip(struct rig *r)
{
	watched->pull_left = watched->pull_max;
	loop_wake(r->loop, &watched->task);
	return both_closed(r);
}

TEST(ktls_slow_reader_gets_all)
{
	struct rig *r;
	struct end *c;

	if (!have())
		skip(none);
	r = rig_slow(&c);
	(void)rig_run(r, drip);
	check_whole(r, c);
	rig_free(r, c);
}

/* ---- ends before the end ---- */

static void setup_cut(struct end *e)
{
	setup_file(e);
	e->close_when_done = false;
	e->abort_when_sent = true;
}

TEST(ktls_a_cut_is_no_end)
{
	struct rig *r;
	struct end *c;

	if (!have())
		skip(none);
	r = rig_ktls(&c, NULL);
	r->setup = setup_cut;
	(void)rig_run(r, both_closed);
	check_eq(c->end_err, ERR_TLS_TRUNCATED);
	check(!c->bad_pattern);
	rig_free(r, c);
}

/* The client sends a record of its own making. */
static void send_record(struct end *c, enum record_type type, struct slice payload)
{
	static uint8_t mem[1024];
	size_t n = record_seal(&c->s.tx, c->r->net.aead, type, payload, mem);

	stream_tx_offer(&c->s, (struct slice){ (char *)mem, n }, false);
}

static bool nonsense_half_way(struct rig *r)
{
	if (watched->rx_at > FILE_BYTES / 4) {
		send_record(watched, RECORD_CCS, SLICE("\1"));
		r->until = drip;
	}
	return drip(r);
}

TEST(ktls_a_fault_is_told)
{
	struct rig *r;
	struct end *c;

	if (!have())
		skip(none);
	r = rig_slow(&c);
	(void)rig_run(r, nonsense_half_way);
	check_eq(r->accepted[0]->end_err, ERR_TLS_RECORD);
	check(c->end_err == ERR_TLS_ALERT || c->end_err == ERR_TLS_TRUNCATED);
	rig_free(r, c);
}

/* ---- keys ---- */

static bool key_update_half_way(struct rig *r)
{
	if (watched->rx_at > FILE_BYTES / 4) {
		send_record(watched, RECORD_HANDSHAKE, SLICE("\x18\0\0\1\1"));
		record_tx_update(&watched->s.tx, r->net.aead);
		r->until = drip;
	}
	return drip(r);
}

TEST(ktls_client_asks_for_a_key)
{
	struct rig *r;
	struct end *c;

	if (!have())
		skip(none);
	r = rig_slow(&c);
	(void)rig_run(r, key_update_half_way);
	printf("# keys can%s be changed\n", kernel.rekeys ? "" : "not");
	if (kernel.rekeys) {
		check_whole(r, c);
		check_eq(c->s.key_updates, 1);
	} else {
		check(c->rx_at < FILE_BYTES);
		check(!c->bad_pattern);
		check_eq(c->end_err, ERR_EOF); /* close_notify, not a cut */
		check_eq(r->accepted[0]->end_err, ERR_EOF);
	}
	check_eq(r->accepted[0]->s.key_updates, 1);
	rig_free(r, c);
}

static bool client_open(struct rig *r)
{
	return stream_is_open(&watched->s) && r->accepted_count == 1 &&
	       stream_is_open(&r->accepted[0]->s) &&
	       watched->s.rx.k.seq == r->accepted[0]->s.tx.k.seq; /* tickets have come */
}

static void setup_quiet(struct end *e)
{
	e->tx_left = 0;
}

TEST(ktls_keys_are_not_used_up)
{
	struct rig *r;
	struct end *c, *s;

	if (!have())
		skip(none);
	r = rig_ktls(&c, NULL);
	r->setup = setup_quiet;
	require(rig_run(r, client_open));
	s = r->accepted[0];
	c->s.rx.k.seq = s->s.tx.k.seq = (1 << 24) - 64 - 66 - 80;
	setup_file(s);
	loop_wake(r->loop, &s->task);
	(void)rig_run(r, both_closed);
	check(!c->bad_pattern);
	if (kernel.rekeys) {
		check_whole(r, c);
		check_eq(c->s.key_updates, 1);
	} else {
		check_eq(s->end_err, ERR_TLS_LIMIT);
		check_eq(c->end_err, ERR_TLS_TRUNCATED);
	}
	rig_free(r, c);
}

/* What the kernel does not take goes by ours. */
TEST(ktls_refused_is_no_fault)
{
	struct ktls wrong = { .seals = { { true, true, true }, { true, true, true } } };
	struct rig *r;
	struct end *c;

	if (have())
		skip("this kernel has TLS");
	r = rig_ktls(&c, NULL);
	r->net.ktls = &wrong;
	(void)rig_run(r, both_closed);
	check_eq(c->rx_at, FILE_BYTES);
	check(!c->bad_pattern);
	check_eq(c->end_err, ERR_EOF);
	check_eq(stat_get(&r->stats, STAT_TLS_USER), FILE_BYTES);
	check(r->accepted[0]->s.ktls_refused);
	rig_free(r, c);
}
