/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/gate.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/list.h"
#include "cache/digest.h"
#include "http/base64.h"

enum {
	BUCKETS = 1024,
	SALT_BYTES = 32,
	CLAIMS_MAX = 12 * 1024, /* of a JWT, decoded; real ones have some hundred bytes */
	NONE = 0xffff,
};
_Static_assert((int)GATE_GRANTS < (int)NONE, "indexes are 16 bits");

struct grant {
	struct list node;
	struct gate_key key;
	uint64_t ends_ms;
	uint64_t bytes;
	uint16_t next; /* in its bucket */
};

struct gate {
	uint8_t salt[SALT_BYTES];
	struct list lru; /* latest used first */
	unsigned count;
	uint16_t buckets[BUCKETS];
	struct grant grants[GATE_GRANTS];
};

struct gate *gate_new(void)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g || getrandom(g->salt, sizeof(g->salt), 0) != sizeof(g->salt)) {
		free(g);
		return NULL;
	}
	list_init(&g->lru);
	memset(g->buckets, 0xff, sizeof(g->buckets));
	return g;
}

void gate_free(struct gate *g)
{
	if (g)
		explicit_bzero(g, sizeof(*g));
	free(g);
}

void gate_key_of(const struct gate *g, const struct slice *parts, unsigned count,
		 struct gate_key *out)
{
	struct digest_ctx ctx;
	struct digest d;

	digest_begin(&ctx, DIGEST_SHA256);
	digest_update(&ctx, g->salt, sizeof(g->salt));
	for (unsigned i = 0; i < count; i++) {
		uint64_t len = parts[i].ptr ? parts[i].len : UINT64_MAX;

		digest_update(&ctx, &len, sizeof(len));
		if (parts[i].len)
			digest_update(&ctx, parts[i].ptr, parts[i].len);
	}
	digest_end(&ctx, &d);
	memcpy(out->bytes, d.bytes, sizeof(out->bytes));
}

static uint16_t *gate_bucket(struct gate *g, const struct gate_key *k)
{
	return &g->buckets[(k->bytes[0] | k->bytes[1] << 8) % BUCKETS];
}

static bool key_eq(const struct gate_key *a, const struct gate_key *b)
{
	unsigned different = 0;

	for (unsigned i = 0; i < sizeof(a->bytes); i++)
		different |= a->bytes[i] ^ b->bytes[i];
	return different == 0;
}

/* Where its index stands; *at is NONE when there is no such grant. */
static uint16_t *gate_find(struct gate *g, const struct gate_key *k)
{
	uint16_t *at = gate_bucket(g, k);

	while (*at != NONE && !key_eq(&g->grants[*at].key, k))
		at = &g->grants[*at].next;
	return at;
}

bool gate_has(struct gate *g, const struct gate_key *k, uint64_t now_ms, uint64_t *bytes)
{
	uint16_t at = *gate_find(g, k);
	struct grant *r;

	if (at == NONE)
		return false;
	r = &g->grants[at];
	if (now_ms >= r->ends_ms)
		return false;
	list_remove(&r->node);
	list_push_front(&g->lru, &r->node);
	*bytes = r->bytes;
	return true;
}

/* A slot that is in no bucket and not on the list. */
static uint16_t gate_take(struct gate *g)
{
	struct grant *r;
	uint16_t *at;
	uint16_t slot;

	if (g->count < GATE_GRANTS)
		return (uint16_t)g->count++;
	r = container_of(g->lru.prev, struct grant, node);
	at = gate_find(g, &r->key);
	slot = *at;
	assert(&g->grants[slot] == r);
	*at = r->next;
	list_remove(&r->node);
	return slot;
}

void gate_add(struct gate *g, const struct gate_key *k, uint64_t now_ms, uint64_t life_ms,
	      uint64_t bytes)
{
	uint16_t at = *gate_find(g, k);
	struct grant *r;

	if (life_ms > GATE_LIFE_MAX_MS)
		life_ms = GATE_LIFE_MAX_MS;
	if (at == NONE) {
		uint16_t *bucket = gate_bucket(g, k);

		at = gate_take(g);
		r = &g->grants[at];
		list_init(&r->node);
		r->key = *k;
		r->next = *bucket;
		*bucket = at;
	}
	r = &g->grants[at];
	r->ends_ms = now_ms + life_ms;
	r->bytes = bytes;
	list_remove(&r->node);
	list_push_front(&g->lru, &r->node);
}

/* ---- how long ---- */

/* The `exp` of a JWT's claims; false: there is none to be found. */
static bool jwt_end(struct slice token, double *end_s)
{
	char claims[CLAIMS_MAX];
	const cJSON *end;
	cJSON *json;
	size_t n;
	bool ok;

	slice_cut(&token, '.');
	n = base64_decode(slice_cut(&token, '.'), BASE64_URL, claims, sizeof(claims));
	json = n != SIZE_MAX ? cJSON_ParseWithLength(claims, n) : NULL;
	end = cJSON_GetObjectItemCaseSensitive(json, "exp");
	ok = cJSON_IsNumber(end);
	*end_s = ok ? end->valuedouble : 0;
	cJSON_Delete(json);
	explicit_bzero(claims, sizeof(claims));
	return ok;
}

uint64_t gate_life_ms(struct slice authorization, int64_t now_s)
{
	struct slice value = authorization;
	struct slice scheme = slice_cut(&value, ' ');
	double left_s, end_s;

	if (!slice_ieq(scheme, SLICE("Bearer")) || !jwt_end(slice_trim(value), &end_s))
		return GATE_LIFE_MS;
	left_s = end_s - (double)now_s;
	if (!(left_s > 0))
		return 0;
	return left_s * 1000 < GATE_LIFE_MAX_MS ? (uint64_t)(left_s * 1000) : GATE_LIFE_MAX_MS;
}
