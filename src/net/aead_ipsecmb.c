/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * net/aead.h on intel-ipsec-mb, the engine of x86-64.  Version 1.3 seals 4.1 GB/s of AES-128-GCM a
 * core on an EPYC without AVX512, as wolfCrypt and OpenSSL do there, and 16 with it.
 *
 * Its header and wolfSSL's define the same names, so this file includes nothing of wolfSSL.
 */
#include "net/aead.h"

#if defined(__x86_64__) && !defined(AEAD_WOLFCRYPT)

#include <intel-ipsec-mb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(IMB_VERSION_NUM >= 0x10300, "intel-ipsec-mb 1.3 or newer");

/* The key that was used last, expanded. */
struct slot {
	_Alignas(64) struct gcm_key_data sched; /* 16 it must have, 64 are quicker */
	uint64_t id;                            /* 0: none */
};

struct aead_engine {
	struct slot seal;
	struct slot open;
	IMB_MGR *mgr;
	uint64_t ids;
	char name[48];
};

/* 2.0 knows two less, and makes aliases of what it no longer knows. */
#if IMB_VERSION_NUM < 0x20000
#define ARCHES_OF_1X                                                                               \
	case IMB_ARCH_NOAESNI: return "noaesni";                                                   \
	case IMB_ARCH_AVX:                                                                         \
		return "avx";
#else
#define ARCHES_OF_1X
#endif

static const char *arch_name(unsigned arch)
{
	switch (arch) {
		ARCHES_OF_1X
	case IMB_ARCH_SSE: return "sse";
	case IMB_ARCH_AVX2: return "avx2";
	case IMB_ARCH_AVX512: return "avx512";
	}
	return "unknown";
}

struct aead_engine *aead_engine_new(void)
{
	struct aead_engine *e = aligned_alloc(_Alignof(struct aead_engine), sizeof(*e));
	IMB_ARCH arch = IMB_ARCH_NONE;

	if (!e)
		return NULL;
	memset(e, 0, sizeof(*e));
	e->mgr = alloc_mb_mgr(0);
	if (!e->mgr) {
		free(e);
		return NULL;
	}
	init_mb_mgr_auto(e->mgr, &arch);
	snprintf(e->name, sizeof(e->name), "ipsec-mb %s %s", imb_get_version_str(),
		 arch_name(arch));
	return e;
}

void aead_engine_free(struct aead_engine *e)
{
	if (!e)
		return;
	free_mb_mgr(e->mgr);
	free(e);
}

const char *aead_engine_name(const struct aead_engine *e)
{
	return e->name;
}

void aead_key_init(struct aead_key *k, struct aead_engine *e, enum aead_cipher c,
		   const uint8_t *key)
{
	*k = (struct aead_key){ .engine = e, .cipher = c, .id = ++e->ids };
	memcpy(k->raw, key, aead_key_bytes(c));
}

static void slot_forget(struct slot *s, uint64_t id)
{
	if (s->id == id)
		explicit_bzero(s, sizeof(*s));
}

void aead_key_fini(struct aead_key *k)
{
	if (!k->engine)
		return;
	slot_forget(&k->engine->seal, k->id);
	slot_forget(&k->engine->open, k->id);
	explicit_bzero(k, sizeof(*k));
}

/* 180 ns when it was another's.  ChaCha20 has no more than its key. */
static const void *key_of(struct aead_engine *e, const struct aead_key *k, struct slot *s)
{
	assert(k->engine == e);
	if (k->cipher == AEAD_CHACHA20_POLY1305)
		return k->raw;
	if (s->id == k->id)
		return &s->sched;
	if (k->cipher == AEAD_AES_128_GCM)
		IMB_AES128_GCM_PRE(e->mgr, k->raw, &s->sched);
	else
		IMB_AES256_GCM_PRE(e->mgr, k->raw, &s->sched);
	s->id = k->id;
	return &s->sched;
}

/* One message in hand, and what it is done with. */
struct pass {
	IMB_MGR *m;
	const void *key;
	const uint8_t *nonce;
	const uint8_t *aad;
	size_t aad_len;
	const uint8_t *in;
	size_t len;
	uint8_t *out;
};

static void seal_128(const struct pass *p, const uint8_t *tail)
{
	struct gcm_context_data ctx;

	if (!tail) {
		IMB_AES128_GCM_ENC(p->m, p->key, &ctx, p->out, p->in, p->len, p->nonce, p->aad,
				   p->aad_len, p->out + p->len, AEAD_TAG);
		return;
	}
	IMB_AES128_GCM_INIT(p->m, p->key, &ctx, p->nonce, p->aad, p->aad_len);
	IMB_AES128_GCM_ENC_UPDATE(p->m, p->key, &ctx, p->out, p->in, p->len);
	IMB_AES128_GCM_ENC_UPDATE(p->m, p->key, &ctx, p->out + p->len, tail, 1);
	IMB_AES128_GCM_ENC_FINALIZE(p->m, p->key, &ctx, p->out + p->len + 1, AEAD_TAG);
}

static void seal_256(const struct pass *p, const uint8_t *tail)
{
	struct gcm_context_data ctx;

	if (!tail) {
		IMB_AES256_GCM_ENC(p->m, p->key, &ctx, p->out, p->in, p->len, p->nonce, p->aad,
				   p->aad_len, p->out + p->len, AEAD_TAG);
		return;
	}
	IMB_AES256_GCM_INIT(p->m, p->key, &ctx, p->nonce, p->aad, p->aad_len);
	IMB_AES256_GCM_ENC_UPDATE(p->m, p->key, &ctx, p->out, p->in, p->len);
	IMB_AES256_GCM_ENC_UPDATE(p->m, p->key, &ctx, p->out + p->len, tail, 1);
	IMB_AES256_GCM_ENC_FINALIZE(p->m, p->key, &ctx, p->out + p->len + 1, AEAD_TAG);
}

static void seal_chacha(const struct pass *p, const uint8_t *tail)
{
	struct chacha20_poly1305_context_data ctx;
	size_t n = p->len;

	IMB_CHACHA20_POLY1305_INIT(p->m, p->key, &ctx, p->nonce, p->aad, p->aad_len);
	IMB_CHACHA20_POLY1305_ENC_UPDATE(p->m, p->key, &ctx, p->out, p->in, n);
	if (tail)
		IMB_CHACHA20_POLY1305_ENC_UPDATE(p->m, p->key, &ctx, p->out + n++, tail, 1);
	IMB_CHACHA20_POLY1305_ENC_FINALIZE(p->m, &ctx, p->out + n, AEAD_TAG);
	explicit_bzero(&ctx, sizeof(ctx));
}

void aead_seal(struct aead_engine *e, const struct aead_key *k, const uint8_t nonce[AEAD_NONCE],
	       const uint8_t *aad, size_t aad_len, const uint8_t *in, size_t len, int tail,
	       uint8_t *out)
{
	const uint8_t type = (uint8_t)tail;
	const struct pass p = {
		.m = e->mgr,
		.key = key_of(e, k, &e->seal),
		.nonce = nonce,
		.aad = aad,
		.aad_len = aad_len,
		.in = in,
		.len = len,
		.out = out,
	};

	switch (k->cipher) {
	case AEAD_AES_128_GCM: seal_128(&p, tail < 0 ? NULL : &type); break;
	case AEAD_AES_256_GCM: seal_256(&p, tail < 0 ? NULL : &type); break;
	case AEAD_CHACHA20_POLY1305: seal_chacha(&p, tail < 0 ? NULL : &type); break;
	}
}

static void open_chacha(const struct pass *p, uint8_t tag[AEAD_TAG])
{
	struct chacha20_poly1305_context_data ctx;

	IMB_CHACHA20_POLY1305_INIT(p->m, p->key, &ctx, p->nonce, p->aad, p->aad_len);
	IMB_CHACHA20_POLY1305_DEC_UPDATE(p->m, p->key, &ctx, p->out, p->in, p->len);
	IMB_CHACHA20_POLY1305_DEC_FINALIZE(p->m, &ctx, tag, AEAD_TAG);
	explicit_bzero(&ctx, sizeof(ctx));
}

/* In constant time. */
static bool tags_equal(const uint8_t *a, const uint8_t *b)
{
	uint8_t differ = 0;

	for (unsigned i = 0; i < AEAD_TAG; i++)
		differ |= a[i] ^ b[i];
	return differ == 0;
}

bool aead_open(struct aead_engine *e, const struct aead_key *k, const uint8_t nonce[AEAD_NONCE],
	       const uint8_t *aad, size_t aad_len, const uint8_t *in, size_t len, uint8_t *out)
{
	const struct pass p = {
		.m = e->mgr,
		.key = key_of(e, k, &e->open),
		.nonce = nonce,
		.aad = aad,
		.aad_len = aad_len,
		.in = in,
		.len = len,
		.out = out,
	};
	struct gcm_context_data ctx;
	uint8_t tag[AEAD_TAG];

	switch (k->cipher) {
	case AEAD_AES_128_GCM:
		IMB_AES128_GCM_DEC(p.m, p.key, &ctx, out, in, len, nonce, aad, aad_len, tag,
				   AEAD_TAG);
		break;
	case AEAD_AES_256_GCM:
		IMB_AES256_GCM_DEC(p.m, p.key, &ctx, out, in, len, nonce, aad, aad_len, tag,
				   AEAD_TAG);
		break;
	case AEAD_CHACHA20_POLY1305: open_chacha(&p, tag); break;
	}
	if (tags_equal(tag, in + len))
		return true;
	explicit_bzero(out, len);
	return false;
}

#endif
