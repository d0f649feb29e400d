/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/retry.h"

#include "base/assert.h"
#include "test.h"

TEST(pauses_double_and_end)
{
	static const uint64_t want[] = { 250, 500, 1000, 2000, 4000, 4000, 4000 };
	struct retry r = { 0 };
	uint64_t pause_ms = 0;

	for (unsigned i = 0; i < countof(want); i++) {
		check(retry_again(&r, countof(want), 100, &pause_ms));
		check_eq(pause_ms, want[i]);
	}
	check(!retry_again(&r, countof(want), 100 + RETRY_PROGRESS - 1, &pause_ms));
}

TEST(what_comes_on_may_break_again)
{
	struct retry r = { 0 };
	uint64_t pause_ms = 0;

	for (uint64_t at = 0; at < 10 * (uint64_t)RETRY_PROGRESS; at += RETRY_PROGRESS) {
		check(retry_again(&r, 1, at, &pause_ms));
		check_eq(pause_ms, RETRY_PAUSE_MS);
	}
	check(!retry_again(&r, 1, 9 * (uint64_t)RETRY_PROGRESS, &pause_ms));
}

TEST(none_is_legal)
{
	struct retry r = { 0 };
	uint64_t pause_ms = 0;

	check(!retry_again(&r, 0, 0, &pause_ms));
}
