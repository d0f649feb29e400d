/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * wolfCrypt's SHA-2.  With SHA-NI SHA-256 does about 1.5 GB/s per core, so a fill hashes on its
 * loop: 256 KiB take less time than the write that follows them.  Several at once do 2.8 GB/s
 * (sha256x.h): wolfCrypt has the state, the odd bytes and the padding, whole blocks are ours.
 */
#include "cache/digest.h"

#include <stdio.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/sha512.h>

#include "cache/sha256x.h"

_Static_assert(sizeof(wc_Sha256) <= sizeof(((struct digest_ctx *)0)->state), "state too small");
_Static_assert(sizeof(wc_Sha512) <= sizeof(((struct digest_ctx *)0)->state), "state too small");
_Static_assert(_Alignof(wc_Sha256) <= 16, "state not aligned");
_Static_assert(_Alignof(wc_Sha512) <= 16, "state not aligned");
_Static_assert((int)DIGEST_LANES == (int)SHA256X_LANES, "as many as it takes");
_Static_assert((int)WC_SHA512_DIGEST_SIZE <= (int)DIGEST_BYTES_MAX, "digest too small");

enum { ALG_NAME_LEN = 6 };

static const struct {
	const char name[ALG_NAME_LEN + 1];
	size_t bytes;
} algs[] = {
	[DIGEST_SHA256] = { "sha256", WC_SHA256_DIGEST_SIZE },
	[DIGEST_SHA512] = { "sha512", WC_SHA512_DIGEST_SIZE },
};

size_t digest_bytes(enum digest_alg alg)
{
	assert(alg < countof(algs));
	return algs[alg].bytes;
}

const char *digest_alg_name(enum digest_alg alg)
{
	assert(alg < countof(algs));
	return algs[alg].name;
}

/* Lower case only: OCI allows no other, and one digest shall have one name. */
static unsigned hex_value(char c)
{
	/* 1 more than it stands for; 0: it is none. */
	static const uint8_t values[256] = {
		['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,
		['6'] = 7,  ['7'] = 8,  ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
		['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	};

	return values[(unsigned char)c] - 1U;
}

static bool digest_parse_hex(struct slice hex, enum digest_alg alg, struct digest *out)
{
	unsigned wrong = 0;

	if (hex.len != 2 * algs[alg].bytes)
		return false;
	*out = (struct digest){ .alg = (uint8_t)alg };
	for (size_t i = 0; i < algs[alg].bytes; i++) {
		unsigned high = hex_value(hex.ptr[2 * i]);
		unsigned low = hex_value(hex.ptr[2 * i + 1]);

		wrong |= high | low;
		out->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return wrong < 16;
}

bool digest_parse(struct slice text, struct digest *out)
{
	struct slice hex = text;
	struct slice name = slice_cut(&hex, ':');

	for (unsigned alg = 0; alg < countof(algs); alg++)
		if (name.len == ALG_NAME_LEN && memcmp(name.ptr, algs[alg].name, name.len) == 0)
			return digest_parse_hex(hex, (enum digest_alg)alg, out);
	return false;
}

void digest_format_hex(const struct digest *d, char out[DIGEST_HEX_MAX])
{
	static const char hex[] = "0123456789abcdef";
	size_t bytes = digest_bytes((enum digest_alg)d->alg);

	for (size_t i = 0; i < bytes; i++) {
		out[2 * i] = hex[d->bytes[i] >> 4];
		out[2 * i + 1] = hex[d->bytes[i] & 15];
	}
	out[2 * bytes] = '\0';
}

void digest_format(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
	size_t name = strlen(algs[d->alg].name);

	memcpy(out, algs[d->alg].name, name);
	out[name] = ':';
	digest_format_hex(d, out + name + 1);
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
	return a->alg == b->alg && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static wc_Sha256 *sha256_of(struct digest_ctx *c)
{
	assert(c->alg == DIGEST_SHA256);
	return (wc_Sha256 *)(void *)c->state;
}

static wc_Sha512 *sha512_of(struct digest_ctx *c)
{
	assert(c->alg == DIGEST_SHA512);
	return (wc_Sha512 *)(void *)c->state;
}

/* wolfCrypt's software hashes fail only for arguments that we never give. */
void digest_begin(struct digest_ctx *c, enum digest_alg alg)
{
	int err;

	c->alg = (uint8_t)alg;
	err = alg == DIGEST_SHA256 ? wc_InitSha256(sha256_of(c)) : wc_InitSha512(sha512_of(c));
	assert(err == 0);
}

void digest_update(struct digest_ctx *c, const void *p, size_t len)
{
	int err;

	assert(len <= UINT32_MAX);
	if (c->alg == DIGEST_SHA256)
		err = wc_Sha256Update(sha256_of(c), p, (word32)len);
	else
		err = wc_Sha512Update(sha512_of(c), p, (word32)len);
	assert(err == 0);
}

static void digest_part_took(struct digest_part *p, size_t n)
{
	p->p = (const uint8_t *)p->p + n;
	p->len -= n;
}

/* One of a hash's parts, alone. */
static void digest_part_alone(struct digest_part *p, size_t n)
{
	digest_update(p->ctx, p->p, n);
	digest_part_took(p, n);
}

/* Blocks of <p> that sha256x_blocks() could take now. */
static size_t digest_blocks(const struct digest_part *p)
{
	if (p->ctx->alg != DIGEST_SHA256 || sha256_of(p->ctx)->buffLen > 0)
		return 0;
	return p->len / SHA256X_BLOCK;
}

/* What wolfCrypt's own update does for whole blocks, for several; false: there are none. */
static bool digest_update_lanes(struct digest_part *parts, unsigned count)
{
	struct sha256x_lane lanes[DIGEST_LANES];
	struct digest_part *taken[DIGEST_LANES];
	size_t blocks = digest_blocks(&parts[0]);
	unsigned n = 0;

	if (blocks == 0)
		return false;
	for (unsigned i = 0; i < count; i++) {
		size_t has = digest_blocks(&parts[i]);

		if (has == 0)
			continue;
		blocks = has < blocks ? has : blocks;
		lanes[n] = (struct sha256x_lane){ sha256_of(parts[i].ctx)->digest, parts[i].p };
		taken[n++] = &parts[i];
	}
	sha256x_blocks(lanes, n, blocks);
	for (unsigned i = 0; i < n; i++) {
		wc_Sha256 *s = sha256_of(taken[i]->ctx);
		size_t bytes = blocks * SHA256X_BLOCK;
		word32 was = s->loLen;

		s->loLen += (word32)bytes;
		s->hiLen += (word32)(bytes >> 32) + (s->loLen < was);
		digest_part_took(taken[i], bytes);
	}
	return true;
}

void digest_update_many(struct digest_part *parts, unsigned count)
{
	assert(count >= 1 && count <= DIGEST_LANES);
	for (unsigned i = 0; i < count && sha256x_lanes() > 0; i++) {
		struct digest_part *p = &parts[i];
		size_t odd = p->ctx->alg == DIGEST_SHA256 ? sha256_of(p->ctx)->buffLen : 0;

		/* Up to a whole block. */
		if (odd > 0 && p->len >= SHA256X_BLOCK - odd)
			digest_part_alone(p, SHA256X_BLOCK - odd);
	}
	while (sha256x_lanes() > 0 && digest_update_lanes(parts, count))
		;
	digest_part_alone(&parts[0], parts[0].len);
}

void digest_end(struct digest_ctx *c, struct digest *out)
{
	int err;

	*out = (struct digest){ .alg = c->alg };
	if (c->alg == DIGEST_SHA256) {
		err = wc_Sha256Final(sha256_of(c), out->bytes);
		wc_Sha256Free(sha256_of(c));
	} else {
		err = wc_Sha512Final(sha512_of(c), out->bytes);
		wc_Sha512Free(sha512_of(c));
	}
	assert(err == 0);
	memset(c->state, 0, sizeof(c->state));
}

void digest_of(enum digest_alg alg, struct slice bytes, struct digest *out)
{
	struct digest_ctx ctx;

	digest_begin(&ctx, alg);
	digest_update(&ctx, bytes.ptr, bytes.len);
	digest_end(&ctx, out);
}
