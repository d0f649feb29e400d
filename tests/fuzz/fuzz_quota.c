/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ratelimit-* and Retry-After: what an upstream says of how much and when. */
#include "proxy/quota.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice value = { (const char *)data, size };
	struct quotas *q = quotas_new(1);
	struct ratelimit r;
	unsigned s;

	if (!q)
		return 0;
	if (retry_after_parse(value, 1700000000, &s))
		assert(s <= 86400);
	else
		s = 0;
	if (!ratelimit_parse(value, &r))
		assert(r.window_s == 0);
	quotas_answered(q, 0, true, value, value, 1000);
	quotas_limited(q, 0, QUOTA_MANIFEST, s, 3600 * 1000, 1000);
	assert(quotas_pick(q, QUOTA_MANIFEST, true, 0, 1000 + 3600 * 1000, &s) == 0);
	quotas_free(q);
	return 0;
}
