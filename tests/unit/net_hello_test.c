/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/hello.h"

#include <stdlib.h>

#include "test.h"

static char scratch[TLS_HELLO_MAX];
static uint8_t msg[TLS_HELLO_MAX + 64], wire[TLS_HELLO_MAX * 8];

struct maker {
	size_t len;    /* of msg */
	size_t ext_at; /* where the length of the extensions stands */
};

static void put(struct maker *m, const void *bytes, size_t n)
{
	memcpy(msg + m->len, bytes, n);
	m->len += n;
}

static void put16(struct maker *m, size_t v)
{
	const uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	put(m, b, 2);
}

static void begin(struct maker *m)
{
	static const uint8_t random[32] = { 7 };

	m->len = 0;
	put(m, "\1\0\0\0\3\3", 6);
	put(m, random, 32);
	put(m, "\0", 1); /* no session id */
	put16(m, 4);
	put(m, "\x0a\x0a\x13\x01", 4); /* a GREASE suite first */
	put(m, "\1\0", 2);
	m->ext_at = m->len;
	put16(m, 0);
}

static void ext(struct maker *m, unsigned type, const void *body, size_t n)
{
	put16(m, type);
	put16(m, n);
	put(m, body, n);
}

static void ext_sni(struct maker *m, const char *name)
{
	size_t n = strlen(name);

	put16(m, 0);
	put16(m, n + 5);
	put16(m, n + 3);
	put(m, "\0", 1);
	put16(m, n);
	put(m, name, n);
}

static void finish(struct maker *m)
{
	size_t n = m->len - m->ext_at - 2, body = m->len - 4;

	msg[m->ext_at] = (uint8_t)(n >> 8);
	msg[m->ext_at + 1] = (uint8_t)n;
	msg[1] = (uint8_t)(body >> 16);
	msg[2] = (uint8_t)(body >> 8);
	msg[3] = (uint8_t)body;
}

/* In records of <size> bytes. */
static struct slice to_wire(const struct maker *m, size_t size)
{
	size_t at = 0;

	for (size_t off = 0; off < m->len; off += size) {
		size_t n = m->len - off < size ? m->len - off : size;

		wire[at++] = 22;
		wire[at++] = 3;
		wire[at++] = 1;
		wire[at++] = (uint8_t)(n >> 8);
		wire[at++] = (uint8_t)n;
		memcpy(wire + at, msg + off, n);
		at += n;
	}
	return (struct slice){ (char *)wire, at };
}

static struct slice usual(struct maker *m, size_t record)
{
	begin(m);
	ext(m, 0x1a1a, "", 0);
	ext_sni(m, "Docker.Example.COM");
	ext(m, 16, "\0\x0c\x02h2\x08http/1.1", 14);
	ext(m, 43, "\6\x2a\x2a\3\4\3\3", 7);
	ext(m, 0x2a2a, "\0", 1);
	finish(m);
	return to_wire(m, record);
}

static void check_usual(const struct hello *h)
{
	check_str(h->sni, "docker.example.com");
	check_eq(h->version_max, 0x0304);
	check(hello_offers(h, SLICE("h2")));
	check(hello_offers(h, SLICE("http/1.1")));
	check(!hello_offers(h, SLICE("http/1")));
	check(!hello_offers(h, SLICE("")));
}

TEST(hello_is_read_whole)
{
	struct maker m;
	struct slice raw = usual(&m, 16384);
	struct hello h;

	check_eq(hello_parse(raw, scratch, &h), HELLO_DONE);
	check_eq(h.raw_bytes, raw.len);
	check_usual(&h);
}

TEST(hello_in_pieces_and_in_many_records)
{
	static const size_t records[] = { 1, 3, 5, 50, 16384 };
	struct hello h;

	for (unsigned i = 0; i < countof(records); i++) {
		struct maker m;
		struct slice raw = usual(&m, records[i]);

		for (size_t n = 0; n < raw.len; n++)
			check_eq(hello_parse(slice_first(raw, n), scratch, &h), HELLO_MORE);
		check_eq(hello_parse(raw, scratch, &h), HELLO_DONE);
		check_usual(&h);
		/* What follows (in a record of its own) is not looked at. */
		wire[raw.len] = 23;
		raw.len++;
		check_eq(hello_parse(raw, scratch, &h), HELLO_DONE);
		check_eq(h.raw_bytes, raw.len - 1);
	}
}

TEST(hello_without_extensions_is_12)
{
	struct maker m;
	struct hello h;

	begin(&m);
	m.len = m.ext_at;
	m.ext_at = sizeof(msg) - 8;
	msg[1] = 0;
	msg[2] = 0;
	msg[3] = (uint8_t)(m.len - 4);
	check_eq(hello_parse(to_wire(&m, 16384), scratch, &h), HELLO_DONE);
	check_str(h.sni, "");
	check_eq(h.version_max, 0x0303);
	check(!hello_offers(&h, SLICE("h2")));
}

TEST(hello_bad_first_bytes_are_bad_at_once)
{
	struct hello h;

	check_eq(hello_parse(SLICE("G"), scratch, &h), HELLO_BAD);
	check_eq(hello_parse(SLICE("\x15\3\1"), scratch, &h), HELLO_BAD);
	check_eq(hello_parse(SLICE("\x16\2"), scratch, &h), HELLO_BAD);
	check_eq(hello_parse(SLICE("\x16\3\1\0\0"), scratch, &h), HELLO_BAD);
	check_eq(hello_parse(SLICE("\x16\3\1\x40\1"), scratch, &h), HELLO_BAD);
	check_eq(hello_parse(SLICE("\x16\3\1\0\4\2\0\0\0"), scratch, &h), HELLO_BAD);
	check_eq(hello_parse(SLICE("\x16\3\1\0\5\1\0\x40\0"), scratch, &h), HELLO_BAD);
	check_eq(hello_parse(SLICE("\x16\3\1\0\5\1\0\0\0x"), scratch, &h), HELLO_BAD);
	check_eq(hello_parse(SLICE(""), scratch, &h), HELLO_MORE);
}

static enum hello_result with_ext(unsigned type, const void *body, size_t n)
{
	struct maker m;
	struct hello h;

	begin(&m);
	ext(&m, type, body, n);
	finish(&m);
	return hello_parse(to_wire(&m, 16384), scratch, &h);
}

TEST(hello_bad_extensions)
{
	struct maker m;
	struct hello h;

	check_eq(with_ext(0, "\0\4\0\0\1a", 6), HELLO_DONE);
	check_eq(with_ext(0, "\0\3\0\0\0", 5), HELLO_BAD);   /* empty name */
	check_eq(with_ext(0, "\0\4\0\0\1\0", 6), HELLO_BAD); /* NUL in it */
	check_eq(with_ext(0, "\0\4\0\0\2a", 6), HELLO_BAD);
	check_eq(with_ext(0, "\0\x08\0\0\1a\0\0\1b", 10), HELLO_BAD); /* two names */
	check_eq(with_ext(0, "\0\4\1\0\1a", 6), HELLO_DONE);          /* of another kind */
	check_eq(with_ext(16, "\0\0", 2), HELLO_BAD);
	check_eq(with_ext(16, "\0\2\0\0", 4), HELLO_BAD);
	check_eq(with_ext(16, "\0\3\4h2", 5), HELLO_BAD);
	check_eq(with_ext(43, "\3\3\4\0", 4), HELLO_BAD);
	check_eq(with_ext(43, "\2\x1a\x1a", 3), HELLO_DONE);
	begin(&m);
	ext_sni(&m, "a");
	ext_sni(&m, "a");
	finish(&m);
	check_eq(hello_parse(to_wire(&m, 16384), scratch, &h), HELLO_BAD);
	begin(&m);
	ext_sni(&m, "a");
	finish(&m);
	msg[m.ext_at + 1]--;
	check_eq(hello_parse(to_wire(&m, 16384), scratch, &h), HELLO_BAD);
}

TEST(hello_of_the_largest_size)
{
	static uint8_t pad[TLS_HELLO_MAX];
	struct maker m;
	struct hello h;

	begin(&m);
	ext(&m, 21, pad, TLS_HELLO_MAX - m.len - 4);
	finish(&m);
	check_eq(m.len, TLS_HELLO_MAX);
	check_eq(hello_parse(to_wire(&m, 1000), scratch, &h), HELLO_DONE);
	begin(&m);
	ext(&m, 21, pad, TLS_HELLO_MAX - m.len - 3);
	finish(&m);
	check_eq(hello_parse(to_wire(&m, 1000), scratch, &h), HELLO_BAD);
}
