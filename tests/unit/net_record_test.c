/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Records against published vectors, against each other, and against what must be refused. */
#include "net/record.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "test.h"

static struct aead_engine *engine;
static uint8_t rec[TLS_RECORD_MAX + 64], out[TLS_RECORD_MAX], text[TLS_PLAIN_MAX];

static void from_hex(const char *hex, uint8_t *to)
{
	for (; hex[0] && hex[1]; hex += 2) {
		char pair[3] = { hex[0], hex[1], '\0' };

		*to++ = (uint8_t)strtoul(pair, NULL, 16);
	}
}

static struct record_keys make_keys(uint8_t minor, enum aead_cipher c)
{
	struct record_keys k = { .minor = minor, .cipher = c, .seq = 5 };

	if (!engine)
		engine = aead_engine_new();
	for (size_t i = 0; i < sizeof(k.secret); i++)
		k.secret[i] = (uint8_t)(i * 7 + c);
	memset(k.key, 0x42, sizeof(k.key));
	memset(k.iv, 0x24, sizeof(k.iv));
	if (minor == 4) {
		k.secret_len = c == AEAD_AES_256_GCM ? 48 : 32;
		record_keys_derive(&k);
	}
	return k;
}

/*
 * RFC 8448 section 3: the client's application traffic secret, its key and IV, and the first
 * record that the client sends under them.
 */
TEST(record_rfc8448_simple_1rtt)
{
	struct record_keys k = { .minor = 4, .cipher = AEAD_AES_128_GCM, .secret_len = 32 };
	uint8_t want[256], payload[50];
	struct record_tx tx;
	struct record_rx rx;
	enum record_type type;

	(void)make_keys(4, AEAD_AES_128_GCM);
	from_hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5", k.secret);
	record_keys_derive(&k);
	from_hex("17422dda596ed5d9acd890e3c63f5051", want);
	check_mem(k.key, want, 16);
	from_hex("5b78923dee08579033e523d9", want);
	check_mem(k.iv, want, 12);
	for (unsigned i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)i;
	from_hex("1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f"
		 "2b9819a8a5b46b395bd5"
		 "4a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4",
		 want);
	record_tx_init(&tx, engine, &k);
	record_rx_init(&rx, engine, &k);
	check_eq(record_sealed_bytes(&tx, 50), 72);
	check_eq(record_seal(&tx, engine, RECORD_DATA, (struct slice){ (char *)payload, 50 }, rec),
		 72);
	check_mem(rec, want, 72);
	check_eq(record_open(&rx, engine, (struct slice){ (char *)rec, 72 }, out, &type), 50);
	check_eq(type, RECORD_DATA);
	check_mem(out, payload, 50);
	record_tx_fini(&tx);
	record_rx_fini(&rx);
}

static void round_trip(uint8_t minor, enum aead_cipher c)
{
	static const size_t lens[] = { 0, 1, 2, 15, 16, 17, 100, 1399, 4096, 16383, 16384 };
	const struct record_keys k = make_keys(minor, c);
	struct record_tx tx;
	struct record_rx rx;

	record_tx_init(&tx, engine, &k);
	record_rx_init(&rx, engine, &k);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 31 + i / 256);
	for (unsigned i = 0; i < countof(lens) * 2; i++) {
		size_t len = lens[i / 2];
		size_t n = record_seal(&tx, engine, RECORD_DATA,
				       (struct slice){ (char *)text, len }, rec);
		struct slice raw = { (char *)rec, n };
		uint8_t *to = i % 2 ? rec + TLS_HEADER : out;
		enum record_type type;

		check_eq(n, record_sealed_bytes(&tx, len));
		check_eq(record_size(raw), n);
		check_eq(record_size(slice_first(raw, 5)), n);
		check_eq(record_size(slice_first(raw, 4)), 0);
		check_eq(record_open(&rx, engine, raw, to, &type), len);
		check_eq(type, RECORD_DATA);
		check_mem(to, text, len);
	}
	record_tx_update(&tx, engine);
	record_rx_fini(&rx);
	check(!aead_key_is_set(&rx.key));
	record_tx_fini(&tx);
}

TEST(record_round_trip_13)
{
	round_trip(4, AEAD_AES_128_GCM);
	round_trip(4, AEAD_AES_256_GCM);
	round_trip(4, AEAD_CHACHA20_POLY1305);
}

TEST(record_round_trip_12)
{
	const enum aead_cipher all[] = { AEAD_AES_128_GCM, AEAD_AES_256_GCM,
					 AEAD_CHACHA20_POLY1305 };

	for (unsigned i = 0; i < countof(all); i++) {
		const struct record_keys k = make_keys(3, all[i]);
		struct record_tx tx;
		struct record_rx rx;

		record_tx_init(&tx, engine, &k);
		record_rx_init(&rx, engine, &k);
		for (size_t len = 0; len < 300; len++) {
			size_t n = record_seal(&tx, engine, RECORD_DATA,
					       (struct slice){ (char *)text, len }, rec);
			uint8_t *to = len % 2 ? rec + TLS_HEADER : out;
			enum record_type type;

			check_eq(record_open(&rx, engine, (struct slice){ (char *)rec, n }, to,
					     &type),
				 len);
			check_mem(to, text, len);
		}
		record_tx_fini(&tx);
		record_rx_fini(&rx);
	}
}

TEST(record_12_never_repeats_a_nonce)
{
	const struct record_keys k = make_keys(3, AEAD_AES_128_GCM);
	struct record_tx tx;
	uint8_t first[8];

	record_tx_init(&tx, engine, &k);
	tx.explicit_nonce = UINT64_MAX; /* wolfSSL begins anywhere */
	(void)record_seal(&tx, engine, RECORD_DATA, SLICE("a"), rec);
	memcpy(first, rec + TLS_HEADER, 8);
	check_mem(first, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	(void)record_seal(&tx, engine, RECORD_DATA, SLICE("a"), rec);
	check_mem(rec + TLS_HEADER, "\0\0\0\0\0\0\0\0", 8);
	record_tx_fini(&tx);
}

TEST(record_key_update_in_step)
{
	const enum aead_cipher all[] = { AEAD_AES_128_GCM, AEAD_AES_256_GCM,
					 AEAD_CHACHA20_POLY1305 };

	for (unsigned i = 0; i < countof(all); i++) {
		const struct record_keys k = make_keys(4, all[i]);
		struct record_tx tx;
		struct record_rx rx;
		enum record_type type;
		size_t n;

		record_tx_init(&tx, engine, &k);
		record_rx_init(&rx, engine, &k);
		record_tx_update(&tx, engine);
		check_eq(tx.k.seq, 0);
		n = record_seal(&tx, engine, RECORD_HANDSHAKE, SLICE("hello"), rec);
		check_eq(record_open(&rx, engine, (struct slice){ (char *)rec, n }, out, &type),
			 ERR_TLS_RECORD);
		record_rx_update(&rx, engine);
		check_eq(record_open(&rx, engine, (struct slice){ (char *)rec, n }, out, &type), 5);
		check_eq(type, RECORD_HANDSHAKE);
		record_tx_fini(&tx);
		record_rx_fini(&rx);
	}
}

TEST(record_limits_of_a_key)
{
	struct record_keys k = make_keys(4, AEAD_AES_128_GCM);
	struct record_tx tx;

	k.seq = ((uint64_t)1 << 24) - 1;
	record_tx_init(&tx, engine, &k);
	check(!record_tx_spent(&tx));
	(void)record_seal(&tx, engine, RECORD_DATA, SLICE("x"), rec);
	check(record_tx_spent(&tx));
	record_tx_update(&tx, engine);
	check(!record_tx_spent(&tx));
	record_tx_fini(&tx);
}

/* Seals <inner> as it is, so that padding and bad types can be made. */
static size_t seal_inner(const struct record_keys *k, const uint8_t *inner, size_t len)
{
	struct aead_key key;
	uint8_t nonce[AEAD_NONCE];

	rec[0] = RECORD_DATA;
	rec[1] = rec[2] = 3;
	rec[3] = (uint8_t)((len + AEAD_TAG) >> 8);
	rec[4] = (uint8_t)(len + AEAD_TAG);
	memcpy(nonce, k->iv, sizeof(nonce));
	nonce[AEAD_NONCE - 1] ^= (uint8_t)k->seq;
	aead_key_init(&key, engine, k->cipher, k->key);
	aead_seal(engine, &key, nonce, rec, TLS_HEADER, inner, len, -1, rec + TLS_HEADER);
	aead_key_fini(&key);
	return TLS_HEADER + len + AEAD_TAG;
}

static int open_inner(const uint8_t *inner, size_t len, enum record_type *type)
{
	const struct record_keys k = make_keys(4, AEAD_AES_128_GCM);
	size_t n = seal_inner(&k, inner, len);
	struct record_rx rx;
	int got;

	record_rx_init(&rx, engine, &k);
	got = record_open(&rx, engine, (struct slice){ (char *)rec, n }, out, type);
	record_rx_fini(&rx);
	return got;
}

TEST(record_padding_and_inner_types)
{
	static uint8_t big[TLS_PLAIN_MAX + 2];
	enum record_type type;

	check_eq(open_inner((const uint8_t *)"abc\x17\0\0\0\0", 8, &type), 3);
	check_eq(type, RECORD_DATA);
	check_eq(open_inner((const uint8_t *)"\x17\0\0", 3, &type), 0);
	check_eq(open_inner((const uint8_t *)"\0\0\0", 3, &type), ERR_TLS_RECORD);
	check_eq(open_inner((const uint8_t *)"", 0, &type), ERR_TLS_RECORD);
	check_eq(open_inner((const uint8_t *)"\1\x14", 2, &type), ERR_TLS_RECORD);
	check_eq(open_inner((const uint8_t *)"\1\x63", 2, &type), ERR_TLS_RECORD);
	check_eq(open_inner((const uint8_t *)"\x15", 1, &type), ERR_TLS_RECORD);
	check_eq(open_inner((const uint8_t *)"\x16\0", 2, &type), ERR_TLS_RECORD);
	check_eq(open_inner((const uint8_t *)"\1\0\x15", 3, &type), 2);
	check_eq(type, RECORD_ALERT);
	big[TLS_PLAIN_MAX] = RECORD_DATA;
	check_eq(open_inner(big, TLS_PLAIN_MAX + 1, &type), TLS_PLAIN_MAX);
	big[0] = RECORD_DATA;
	big[TLS_PLAIN_MAX] = 0;
	check_eq(open_inner(big, TLS_PLAIN_MAX + 1, &type), 0);
	check_eq(open_inner(big, TLS_PLAIN_MAX + 2, &type), ERR_TLS_RECORD);
}

TEST(record_outer_type_must_be_data_in_13)
{
	const struct record_keys k = make_keys(4, AEAD_AES_128_GCM);
	struct record_rx rx;
	enum record_type type;

	record_rx_init(&rx, engine, &k);
	check_eq(record_open(&rx, engine, SLICE("\x14\3\3\0\1\1"), out, &type), ERR_TLS_RECORD);
	check_eq(record_open(&rx, engine, SLICE("\x15\3\3\0\2\2\x28"), out, &type), ERR_TLS_RECORD);
	check_eq(record_open(&rx, engine, SLICE("\x17\3\3\0\1\1"), out, &type), ERR_TLS_RECORD);
	record_rx_fini(&rx);
}

TEST(record_size_refuses_what_is_not_tls)
{
	check_eq(record_size(SLICE("GET / HTTP/1.1")), ERR_TLS_RECORD);
	check_eq(record_size(SLICE("\x18\3\3\0\5")), ERR_TLS_RECORD);
	check_eq(record_size(SLICE("\x13\3\3\0\5")), ERR_TLS_RECORD);
	check_eq(record_size(SLICE("\x17\3\1\0\5")), ERR_TLS_RECORD);
	check_eq(record_size(SLICE("\x17\2\3\0\5")), ERR_TLS_RECORD);
	check_eq(record_size(SLICE("\x17\3\3\0\0")), ERR_TLS_RECORD);
	check_eq(record_size(SLICE("\x17\3\3\x41\1")), ERR_TLS_RECORD);
	check_eq(record_size(SLICE("\x17\3\3\x41\0")), TLS_RECORD_MAX);
	check_eq(record_size(SLICE("")), 0);
}
