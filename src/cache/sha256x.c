/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/sha256x.h"

#include "base/assert.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>
#include <stdbool.h>

/* FIPS 180-4 4.2.2. */
static const _Alignas(64) uint32_t round_keys[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

/* Loops over lanes and over rounds have to be unrolled: the state is in registers. */
#define NI __attribute__((target("sha,sse4.1,avx")))
#define NI_INLINE static inline __attribute__((target("sha,sse4.1,avx"), always_inline))
#define UNROLLED _Pragma("GCC unroll 16")
#define EACH_LANE(j) UNROLLED for (unsigned j = 0; j < n; j++)

/* The order of sha256rnds2: a b e f and c d g h, from the top. */
struct half {
	__m128i abef, cdgh;
};

NI_INLINE struct half state_load(const uint32_t *s)
{
	__m128i abcd = _mm_loadu_si128((const __m128i_u *)s);
	__m128i efgh = _mm_loadu_si128((const __m128i_u *)(s + 4));
	__m128i badc = _mm_shuffle_epi32(abcd, 0xb1);
	__m128i hgfe = _mm_shuffle_epi32(efgh, 0x1b);

	return (struct half){ _mm_alignr_epi8(badc, hgfe, 8), _mm_blend_epi16(hgfe, badc, 0xf0) };
}

NI_INLINE void state_store(uint32_t *s, struct half h)
{
	__m128i feba = _mm_shuffle_epi32(h.abef, 0x1b);
	__m128i dchg = _mm_shuffle_epi32(h.cdgh, 0xb1);

	_mm_storeu_si128((__m128i_u *)s, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i_u *)(s + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Words 4 i to 4 i + 3 of the schedule; <m> has the sixteen before. */
NI_INLINE __m128i schedule(const __m128i m[4], unsigned i, const uint8_t *in)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
	__m128i w;

	if (i < 4)
		return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i_u *)(in + 16 * i)), swap);
	w = _mm_sha256msg1_epu32(m[i % 4], m[(i + 1) % 4]);
	w = _mm_add_epi32(w, _mm_alignr_epi8(m[(i + 3) % 4], m[(i + 2) % 4], 4));
	return _mm_sha256msg2_epu32(w, m[(i + 3) % 4]);
}

/* <n> is a constant wherever this is inlined. */
NI_INLINE void blocks_of(const struct sha256x_lane *lanes, unsigned n, size_t blocks)
{
	struct half s[SHA256X_LANES];
	const uint8_t *in[SHA256X_LANES];

	EACH_LANE(j)
	{
		s[j] = state_load(lanes[j].state);
		in[j] = lanes[j].in;
	}
	for (; blocks > 0; blocks--) {
		struct half was[SHA256X_LANES];
		__m128i m[SHA256X_LANES][4];

		EACH_LANE(j)
		was[j] = s[j];
		UNROLLED for (unsigned i = 0; i < 16; i++)
		{
			__m128i k = _mm_load_si128((const __m128i *)round_keys + i);

			EACH_LANE(j)
			{
				__m128i w = schedule(m[j], i, in[j]);
				__m128i wk = _mm_add_epi32(w, k);

				m[j][i % 4] = w;
				s[j].cdgh = _mm_sha256rnds2_epu32(s[j].cdgh, s[j].abef, wk);
				wk = _mm_shuffle_epi32(wk, 0x0e);
				s[j].abef = _mm_sha256rnds2_epu32(s[j].abef, s[j].cdgh, wk);
			}
		}
		EACH_LANE(j)
		{
			s[j].abef = _mm_add_epi32(s[j].abef, was[j].abef);
			s[j].cdgh = _mm_add_epi32(s[j].cdgh, was[j].cdgh);
			in[j] += SHA256X_BLOCK;
		}
	}
	EACH_LANE(j)
	state_store(lanes[j].state, s[j]);
}

NI static void blocks_1(const struct sha256x_lane *lanes, size_t blocks)
{
	blocks_of(lanes, 1, blocks);
}

NI static void blocks_2(const struct sha256x_lane *lanes, size_t blocks)
{
	blocks_of(lanes, 2, blocks);
}

NI static void blocks_3(const struct sha256x_lane *lanes, size_t blocks)
{
	blocks_of(lanes, 3, blocks);
}

NI static void blocks_4(const struct sha256x_lane *lanes, size_t blocks)
{
	blocks_of(lanes, 4, blocks);
}

void sha256x_blocks(const struct sha256x_lane *lanes, unsigned count, size_t blocks)
{
	switch (count) {
	case 1: blocks_1(lanes, blocks); return;
	case 2: blocks_2(lanes, blocks); return;
	case 3: blocks_3(lanes, blocks); return;
	case 4: blocks_4(lanes, blocks); return;
	default: unreachable("lanes");
	}
}

/* __builtin_cpu_supports() does not know of "sha" in every compiler that we take. */
static bool has_sha(void)
{
	unsigned a, b, c, d;

	return __builtin_cpu_supports("avx") && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
	       (b & bit_SHA) != 0;
}

unsigned sha256x_lanes(void)
{
	static int known; /* 1: no, 2: yes; a virtual machine leaves for each cpuid */
	int k = __atomic_load_n(&known, __ATOMIC_RELAXED);

	if (k == 0) {
		k = has_sha() ? 2 : 1;
		__atomic_store_n(&known, k, __ATOMIC_RELAXED);
	}
	return k == 2 ? SHA256X_LANES : 0;
}

#else

unsigned sha256x_lanes(void)
{
	return 0;
}

void sha256x_blocks(const struct sha256x_lane *lanes, unsigned count, size_t blocks)
{
	(void)lanes;
	(void)count;
	(void)blocks;
	unreachable("no lanes here");
}

#endif
