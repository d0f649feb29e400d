/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * intel-ipsec-mb.  Version 1.3 seals 4.1 GB/s of AES-128-GCM a core on an EPYC without AVX512, as
 * wolfCrypt and OpenSSL do there, and 16 with it.
 */
#include "net/aead_backend.h"

#ifdef __x86_64__

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

struct ipsecmb {
	struct slot seal;
	struct slot open;
	IMB_MGR *mgr;
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

static void *ipsecmb_open(void)
{
	struct ipsecmb *e = aligned_alloc(_Alignof(struct ipsecmb), sizeof(*e));
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

static void ipsecmb_close(void *state)
{
	struct ipsecmb *e = state;

	if (!e)
		return;
	free_mb_mgr(e->mgr);
	free(e);
}

static const char *ipsecmb_name(const void *state)
{
	return ((const struct ipsecmb *)state)->name;
}

static void slot_forget(struct slot *s, uint64_t id)
{
	if (s->id == id)
		explicit_bzero(s, sizeof(*s));
}

static void ipsecmb_forget(void *state, uint64_t id)
{
	struct ipsecmb *e = state;

	slot_forget(&e->seal, id);
	slot_forget(&e->open, id);
}

/* 180 ns when it was another's.  ChaCha20 has no more than its key. */
static const void *key_of(struct ipsecmb *e, const struct aead_key *k, struct slot *s)
{
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

static void seal_128(IMB_MGR *m, const void *key, const struct aead_pass *p, const uint8_t *tail)
{
	struct gcm_context_data ctx;

	if (!tail) {
		IMB_AES128_GCM_ENC(m, key, &ctx, p->out, p->in, p->len, p->nonce, p->aad,
				   p->aad_len, p->out + p->len, AEAD_TAG);
		return;
	}
	IMB_AES128_GCM_INIT(m, key, &ctx, p->nonce, p->aad, p->aad_len);
	IMB_AES128_GCM_ENC_UPDATE(m, key, &ctx, p->out, p->in, p->len);
	IMB_AES128_GCM_ENC_UPDATE(m, key, &ctx, p->out + p->len, tail, 1);
	IMB_AES128_GCM_ENC_FINALIZE(m, key, &ctx, p->out + p->len + 1, AEAD_TAG);
}

static void seal_256(IMB_MGR *m, const void *key, const struct aead_pass *p, const uint8_t *tail)
{
	struct gcm_context_data ctx;

	if (!tail) {
		IMB_AES256_GCM_ENC(m, key, &ctx, p->out, p->in, p->len, p->nonce, p->aad,
				   p->aad_len, p->out + p->len, AEAD_TAG);
		return;
	}
	IMB_AES256_GCM_INIT(m, key, &ctx, p->nonce, p->aad, p->aad_len);
	IMB_AES256_GCM_ENC_UPDATE(m, key, &ctx, p->out, p->in, p->len);
	IMB_AES256_GCM_ENC_UPDATE(m, key, &ctx, p->out + p->len, tail, 1);
	IMB_AES256_GCM_ENC_FINALIZE(m, key, &ctx, p->out + p->len + 1, AEAD_TAG);
}

static void seal_chacha(IMB_MGR *m, const struct aead_pass *p, const uint8_t *tail)
{
	struct chacha20_poly1305_context_data ctx;
	size_t n = p->len;

	IMB_CHACHA20_POLY1305_INIT(m, p->key->raw, &ctx, p->nonce, p->aad, p->aad_len);
	IMB_CHACHA20_POLY1305_ENC_UPDATE(m, p->key->raw, &ctx, p->out, p->in, n);
	if (tail)
		IMB_CHACHA20_POLY1305_ENC_UPDATE(m, p->key->raw, &ctx, p->out + n++, tail, 1);
	IMB_CHACHA20_POLY1305_ENC_FINALIZE(m, &ctx, p->out + n, AEAD_TAG);
	explicit_bzero(&ctx, sizeof(ctx));
}

static void ipsecmb_seal(void *state, const struct aead_pass *p)
{
	struct ipsecmb *e = state;
	const void *key = key_of(e, p->key, &e->seal);
	const uint8_t type = (uint8_t)p->tail, *tail = p->tail < 0 ? NULL : &type;

	switch (p->key->cipher) {
	case AEAD_AES_128_GCM: seal_128(e->mgr, key, p, tail); break;
	case AEAD_AES_256_GCM: seal_256(e->mgr, key, p, tail); break;
	case AEAD_CHACHA20_POLY1305: seal_chacha(e->mgr, p, tail); break;
	}
}

static void open_chacha(IMB_MGR *m, const struct aead_pass *p, uint8_t tag[AEAD_TAG])
{
	struct chacha20_poly1305_context_data ctx;

	IMB_CHACHA20_POLY1305_INIT(m, p->key->raw, &ctx, p->nonce, p->aad, p->aad_len);
	IMB_CHACHA20_POLY1305_DEC_UPDATE(m, p->key->raw, &ctx, p->out, p->in, p->len);
	IMB_CHACHA20_POLY1305_DEC_FINALIZE(m, &ctx, tag, AEAD_TAG);
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

static bool ipsecmb_unseal(void *state, const struct aead_pass *p)
{
	struct ipsecmb *e = state;
	const void *key = key_of(e, p->key, &e->open);
	struct gcm_context_data ctx;
	uint8_t tag[AEAD_TAG];

	switch (p->key->cipher) {
	case AEAD_AES_128_GCM:
		IMB_AES128_GCM_DEC(e->mgr, key, &ctx, p->out, p->in, p->len, p->nonce, p->aad,
				   p->aad_len, tag, AEAD_TAG);
		break;
	case AEAD_AES_256_GCM:
		IMB_AES256_GCM_DEC(e->mgr, key, &ctx, p->out, p->in, p->len, p->nonce, p->aad,
				   p->aad_len, tag, AEAD_TAG);
		break;
	case AEAD_CHACHA20_POLY1305: open_chacha(e->mgr, p, tag); break;
	}
	return tags_equal(tag, p->in + p->len);
}

const struct aead_backend aead_ipsecmb = {
	.open = ipsecmb_open,
	.close = ipsecmb_close,
	.name = ipsecmb_name,
	.forget = ipsecmb_forget,
	.seal = ipsecmb_seal,
	.unseal = ipsecmb_unseal,
};

#endif
