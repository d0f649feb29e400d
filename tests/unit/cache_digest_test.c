/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/digest.h"

#include <stdlib.h>
#include <time.h>

#include "test.h"

#define EMPTY_256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC_256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_512                                                                                    \
	"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                         \
	"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

static void hash_in_steps(enum digest_alg alg, const char *text, size_t step, char *out)
{
	struct digest_ctx c;
	struct digest d;
	size_t len = strlen(text);

	digest_begin(&c, alg);
	for (size_t at = 0; at < len; at += step)
		digest_update(&c, text + at, len - at < step ? len - at : step);
	digest_end(&c, &d);
	digest_format(&d, out);
}

TEST(digest_known_answers)
{
	char text[DIGEST_TEXT_MAX];

	hash_in_steps(DIGEST_SHA256, "", 1, text);
	check_str(text, "sha256:" EMPTY_256);
	hash_in_steps(DIGEST_SHA256, "abc", 3, text);
	check_str(text, "sha256:" ABC_256);
	hash_in_steps(DIGEST_SHA256, "abc", 1, text);
	check_str(text, "sha256:" ABC_256);
	hash_in_steps(DIGEST_SHA512, "abc", 2, text);
	check_str(text, "sha512:" ABC_512);
}

TEST(digest_text_there_and_back)
{
	struct digest d, other;
	char text[DIGEST_TEXT_MAX];

	require(digest_parse(SLICE("sha256:" ABC_256), &d));
	check_eq(d.alg, DIGEST_SHA256);
	check_eq(d.bytes[0], 0xba);
	check_eq(d.bytes[31], 0xad);
	check_eq(d.bytes[32], 0);
	digest_format(&d, text);
	check_str(text, "sha256:" ABC_256);
	digest_format_hex(&d, text);
	check_str(text, ABC_256);
	require(digest_parse(SLICE("sha512:" ABC_512), &other));
	digest_format(&other, text);
	check_str(text, "sha512:" ABC_512);
	check(!digest_eq(&d, &other));
	check(digest_eq(&d, &d));
}

TEST(digest_refuses_what_is_not_one)
{
	static const char *const bad[] = {
		"",
		":",
		"sha256",
		"sha256:",
		"sha256:" ABC_512,
		"sha512:" ABC_256,
		"sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"SHA256:" ABC_256,
		"sha256:" ABC_256 " ",
		"sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha256:../../../../../../../../../../../../../../../../../../../../../x",
		"sha256:ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	};
	struct digest d;

	for (size_t i = 0; i < countof(bad); i++)
		check(!digest_parse(slice_of(bad[i]), &d));
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Not a check: prints what this machine does, for the note in digest.c. */
TEST(digest_speed)
{
	enum { CHUNK = 256 * 1024, ROUNDS = 256 };
	char *mem = calloc(1, CHUNK);

	require(mem);
	for (unsigned alg = 0; alg <= DIGEST_SHA512; alg++) {
		struct digest_ctx c;
		struct digest d;
		double start = seconds();

		digest_begin(&c, (enum digest_alg)alg);
		for (unsigned i = 0; i < ROUNDS; i++)
			digest_update(&c, mem, CHUNK);
		digest_end(&c, &d);
		printf("# %s: %.0f MB/s\n", digest_alg_name((enum digest_alg)alg),
		       (double)CHUNK * ROUNDS / 1e6 / (seconds() - start));
	}
	free(mem);
}

/* Several at once are the same as one after the other, whatever their lengths and odd bytes. */
TEST(digest_of_several_at_once)
{
	enum { LEN = 5000, ROUNDS = 400 };
	char *mem = malloc(LEN);

	require(mem);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct digest_ctx ctx[DIGEST_LANES];
		struct digest_part part[DIGEST_LANES];
		struct slice body[DIGEST_LANES];
		unsigned count = round % DIGEST_LANES + 1, left = 0;

		for (unsigned i = 0; i < LEN; i++)
			mem[i] = (char)(i * 7 + round * 13 + (i >> 8));
		for (unsigned i = 0; i < count; i++) {
			size_t from = (round * 37 + i * 501) % 1000, odd = round * i % 131;
			size_t len = (round * 91 + i * 777) % (LEN - 1000 - 131);
			/* One in eight is of the other kind, which has no lanes. */
			enum digest_alg alg = (round + i) % 8 ? DIGEST_SHA256 : DIGEST_SHA512;

			body[i] = (struct slice){ mem + from, odd + len };
			digest_begin(&ctx[i], alg);
			digest_update(&ctx[i], body[i].ptr, odd);
			part[i] = (struct digest_part){ &ctx[i], body[i].ptr + odd, len };
		}
		for (; left < count; left++) /* each is the first once */
			digest_update_many(part + left, count - left);
		for (unsigned i = 0; i < count; i++) {
			struct digest got, want;

			check_eq(part[i].len, 0);
			digest_end(&ctx[i], &got);
			digest_of((enum digest_alg)got.alg, body[i], &want);
			check(digest_eq(&got, &want));
		}
	}
	free(mem);
}
