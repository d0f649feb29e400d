/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/meter.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

const char *const meter_how_names[METER_HOWS] = {
	[METER_HIT] = "hit",           [METER_REVALIDATED] = "revalidated",
	[METER_STALE] = "stale",       [METER_JOIN] = "join",
	[METER_MISS] = "miss",         [METER_PASS] = "pass",
	[METER_NEGATIVE] = "negative", [METER_LOCAL] = "local",
};

/* For each request: the words differ in their first letter. */
enum meter_how meter_how_of(const char *cache)
{
	switch (cache ? cache[0] : '\0') {
	case 'h': return METER_HIT;
	case 'r': return METER_REVALIDATED;
	case 's': return METER_STALE;
	case 'j': return METER_JOIN;
	case 'm': return METER_MISS;
	case 'p': return METER_PASS;
	case 'n': return METER_NEGATIVE;
	default: return METER_LOCAL;
	}
}

static struct meter *meters_find(const struct meters *ms, struct slice name)
{
	struct meter *m = __atomic_load_n(&ms->first, __ATOMIC_ACQUIRE);

	while (m && !slice_eq(name, slice_of(m->name)))
		m = m->next;
	return m;
}

struct meter *meters_get(struct meters *ms, struct slice name)
{
	struct meter *m = meters_find(ms, name);

	if (m || ms->count == METERS_MAX)
		return m;
	m = calloc(1, sizeof(*m) + name.len + 1);
	if (!m)
		return NULL;
	memcpy(m->name, name.ptr, name.len);
	m->next = ms->first;
	__atomic_store_n(&ms->first, m, __ATOMIC_RELEASE);
	ms->count++;
	return m;
}

void meters_fini(struct meters *ms)
{
	while (ms->first) {
		struct meter *m = ms->first;

		ms->first = m->next;
		free(m);
	}
}

void meters_sum(const struct meters *ms, struct slice name, struct meter *to)
{
	const struct meter *m = meters_find(ms, name);

	if (!m)
		return;
	for (unsigned i = 0; i < METER_HOWS; i++) {
		to->requests[i] += counter_get(&m->requests[i]);
		to->bytes[i] += counter_get(&m->bytes[i]);
	}
	to->bytes_up += counter_get(&m->bytes_up);
	to->fills += counter_get(&m->fills);
	to->fills_failed += counter_get(&m->fills_failed);
}
