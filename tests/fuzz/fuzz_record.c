/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two ways by the first byte: the input as it comes from a peer without our key, and the input as
 * the plaintext of a peer that has it (padding, inner types, messages after the handshake).
 */
#include "base/err.h"
#include "base/limits.h"
#include "net/post.h"
#include "net/record.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct aead_engine *engine;
static uint8_t rec[TLS_RECORD_MAX], out[TLS_RECORD_MAX];

static struct record_keys keys_of(uint8_t choice)
{
	struct record_keys k = { .minor = choice & 1 ? 4 : 3, .seq = 1 };

	k.cipher = (enum aead_cipher)((choice >> 1) % 3);
	k.secret_len = k.cipher == AEAD_AES_256_GCM ? 48 : 32;
	if (k.minor == 4)
		record_keys_derive(&k);
	return k;
}

static void open_all(struct record_rx *rx, struct slice raw)
{
	int size;

	while ((size = record_size(raw)) > 0 && (size_t)size <= raw.len) {
		enum record_type type;
		int n = record_open(rx, engine, slice_first(raw, (size_t)size), out, &type);

		assert(n <= TLS_PLAIN_MAX);
		if (n < 0)
			return;
		raw = slice_skip(raw, (size_t)size);
	}
}

/* Whoever has the key may seal any type, whole or in two. */
static void post_all(struct slice text, bool client)
{
	struct post whole = { 0 }, parts = { 0 };
	enum post_event a = post_feed(&whole, text, client), b = POST_NONE;

	for (size_t i = 0; i < text.len && b == POST_NONE; i++)
		b = post_feed(&parts, (struct slice){ text.ptr + i, 1 }, client);
	/* Only a KeyUpdate must stand at a record's end. */
	assert(a == b || a == POST_BAD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size };
	struct record_keys k;
	struct record_rx rx;
	struct record_tx tx;

	if (!engine)
		engine = aead_engine_new();
	if (size < 2 || size > TLS_PLAIN_MAX)
		return 0;
	k = keys_of(data[0]);
	record_rx_init(&rx, engine, &k);
	record_tx_init(&tx, engine, &k);
	in = slice_skip(in, 2);
	open_all(&rx, in);
	post_all(in, data[1] & 1);
	size_t n = record_seal(&tx, engine, (enum record_type)data[1], in, rec);
	open_all(&rx, (struct slice){ (char *)rec, n });
	record_rx_fini(&rx);
	record_tx_fini(&tx);
	return 0;
}
