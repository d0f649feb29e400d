/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/crowd.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SHARDS = 64, BUCKETS = 256 };

/* Tokens in thousandths; full is a second's worth. */
struct bucket {
	uint64_t left;
	uint64_t at_ms; /* 0: full */
};

struct known {
	struct known *next;
	uint8_t ip[16];
	unsigned connections;
	unsigned wrong; /* passwords, less what time has forgiven */
	uint64_t wrong_ms;
	uint64_t seen_ms;
	struct bucket handshakes;
	struct bucket requests;
};

struct shard {
	pthread_mutex_t lock;
	unsigned count;
	struct known *buckets[BUCKETS];
};

struct crowd {
	uint64_t salt;
	pthread_mutex_t lock; /* of the two */
	struct bucket handshakes;
	struct bucket requests;
	struct shard shards[SHARDS];
};

struct crowd *crowd_new(void)
{
	struct crowd *c = calloc(1, sizeof(*c));

	if (!c || getrandom(&c->salt, sizeof(c->salt), 0) != sizeof(c->salt)) {
		free(c);
		return NULL;
	}
	pthread_mutex_init(&c->lock, NULL);
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_init(&c->shards[i].lock, NULL);
	return c;
}

void crowd_free(struct crowd *c)
{
	for (unsigned i = 0; c && i < SHARDS; i++) {
		for (unsigned j = 0; j < BUCKETS; j++)
			for (struct known *k = c->shards[i].buckets[j], *next; k; k = next) {
				next = k->next;
				free(k);
			}
		pthread_mutex_destroy(&c->shards[i].lock);
	}
	if (c)
		pthread_mutex_destroy(&c->lock);
	free(c);
}

void crowd_ip(const struct addr *a, uint8_t out[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	addr_ip(a, out);
	if (memcmp(out, mapped, sizeof(mapped)) != 0)
		memset(out + 8, 0, 8);
}

/* Takes one of <rate> a second. */
static bool take(struct bucket *b, uint64_t rate, uint64_t now_ms)
{
	uint64_t full = rate * 1000;

	if (b->at_ms == 0)
		b->left = full;
	else if (now_ms > b->at_ms)
		b->left += (now_ms - b->at_ms) * rate;
	if (now_ms > b->at_ms)
		b->at_ms = now_ms;
	if (b->left > full)
		b->left = full;
	if (b->left < 1000)
		return false;
	b->left -= 1000;
	return true;
}

static bool take_of_all(struct crowd *c, struct bucket *b, uint64_t rate, uint64_t now_ms)
{
	bool ok;

	if (rate == 0)
		return true;
	pthread_mutex_lock(&c->lock);
	ok = take(b, rate, now_ms);
	pthread_mutex_unlock(&c->lock);
	return ok;
}

static uint64_t hash_of(const struct crowd *c, const uint8_t ip[16])
{
	uint64_t h = c->salt, part;

	for (unsigned i = 0; i < 16; i += 8) {
		memcpy(&part, ip + i, 8);
		h = (h ^ part) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return h;
}

static bool is_idle(const struct known *k, uint64_t now_ms)
{
	return k->connections == 0 && now_ms > k->seen_ms + CROWD_KEPT_MS;
}

/* Its entry, made if need be; what is idle beside it goes.  NULL: it is not limited. */
static struct known *find(struct shard *s, struct known **at, const uint8_t ip[16], uint64_t now_ms)
{
	struct known *k, *found = NULL;

	for (struct known **link = at; (k = *link) != NULL;) {
		if (memcmp(k->ip, ip, 16) == 0) {
			found = k;
		} else if (is_idle(k, now_ms)) {
			*link = k->next;
			s->count--;
			free(k);
			continue;
		}
		link = &k->next;
	}
	if (!found && s->count < CROWD_MAX / SHARDS && (found = calloc(1, sizeof(*found)))) {
		memcpy(found->ip, ip, 16);
		found->next = *at;
		*at = found;
		s->count++;
	}
	if (found)
		found->seen_ms = now_ms;
	return found;
}

/* With the shard's lock held, whatever it is; unlock() then. */
static struct known *lock(struct crowd *c, const struct addr *a, uint64_t now_ms,
			  struct shard **shard)
{
	uint8_t ip[16];
	uint64_t h;

	crowd_ip(a, ip);
	h = hash_of(c, ip);
	*shard = &c->shards[h % SHARDS];
	pthread_mutex_lock(&(*shard)->lock);
	return find(*shard, &(*shard)->buckets[h / SHARDS % BUCKETS], ip, now_ms);
}

static void unlock(struct shard *s)
{
	pthread_mutex_unlock(&s->lock);
}

bool crowd_enter(struct crowd *c, const struct addr *a, const struct conf_limits *l, bool tls,
		 uint64_t now_ms)
{
	struct shard *s;
	struct known *k = lock(c, a, now_ms, &s);
	bool ok = true;

	if (k && l->client_connections && k->connections >= l->client_connections)
		ok = false;
	else if (k && tls && l->client_handshakes)
		ok = take(&k->handshakes, l->client_handshakes, now_ms);
	if (ok && k)
		k->connections++;
	unlock(s);
	if (ok && tls && !take_of_all(c, &c->handshakes, l->handshakes, now_ms)) {
		crowd_leave(c, a, now_ms);
		return false;
	}
	return ok;
}

void crowd_leave(struct crowd *c, const struct addr *a, uint64_t now_ms)
{
	struct shard *s;
	struct known *k = lock(c, a, now_ms, &s);

	/* (0: it came when there was no room for it to be known, and is known by now.) */
	if (k && k->connections > 0)
		k->connections--;
	unlock(s);
}

bool crowd_request(struct crowd *c, const struct addr *a, const struct conf_limits *l,
		   uint64_t now_ms)
{
	struct shard *s;
	struct known *k;
	bool ok;

	if (l->client_requests) {
		k = lock(c, a, now_ms, &s);
		ok = !k || take(&k->requests, l->client_requests, now_ms);
		unlock(s);
		if (!ok)
			return false;
	}
	return take_of_all(c, &c->requests, l->requests, now_ms);
}

static void forgive(struct known *k, uint64_t now_ms)
{
	uint64_t n = now_ms > k->wrong_ms ? (now_ms - k->wrong_ms) / CROWD_WRONG_MS : 0;

	k->wrong = n < k->wrong ? k->wrong - (unsigned)n : 0;
	k->wrong_ms += n * CROWD_WRONG_MS;
	if (k->wrong == 0)
		k->wrong_ms = now_ms;
}

bool crowd_may_guess(struct crowd *c, const struct addr *a, uint64_t now_ms)
{
	struct shard *s;
	struct known *k = lock(c, a, now_ms, &s);
	bool ok = true;

	if (k) {
		forgive(k, now_ms);
		ok = k->wrong < CROWD_WRONG_MAX;
	}
	unlock(s);
	return ok;
}

void crowd_guessed_wrong(struct crowd *c, const struct addr *a, uint64_t now_ms)
{
	struct shard *s;
	struct known *k = lock(c, a, now_ms, &s);

	if (k) {
		forgive(k, now_ms);
		k->wrong++;
	}
	unlock(s);
}
