/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/seat.h"

#include <sys/socket.h>

#include "proxy/crowd.h"

/*
 * The buckets decide; the kernel, which sends evenly within a rate, only keeps bursts from being
 * lost on the way.  0: no rate.
 */
static void pace(int fd, uint64_t bytes)
{
	uint64_t rate = bytes ? bytes : UINT64_MAX;

	(void)setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate));
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a == 0 || (b && b < a) ? b : a;
}

bool seat_take(struct seat *s, struct tenant *t, const struct conf_tenant *conf,
	       const struct addr *client, uint64_t pacing_max)
{
	bool paced = conf->rate_bytes || conf->client_bytes;

	crowd_ip(client, s->ip);
	if (s->tenant != t) {
		uint64_t n = __atomic_add_fetch(&t->connections, 1, __ATOMIC_RELAXED);

		if (conf->conns_max && n > conf->conns_max) {
			__atomic_sub_fetch(&t->connections, 1, __ATOMIC_RELAXED);
			return false;
		}
		seat_leave(s);
		s->tenant = t;
		if (paced || s->paced)
			pace(s->fd,
			     lesser(lesser(conf->rate_bytes, conf->client_bytes), pacing_max));
	}
	s->paced = paced;
	return true;
}

void seat_leave(struct seat *s)
{
	if (s->tenant)
		__atomic_sub_fetch(&s->tenant->connections, 1, __ATOMIC_RELAXED);
	s->tenant = NULL;
}

unsigned seat_wait(const struct seat *s, uint64_t now_ms)
{
	struct tenant *t = s->tenant;
	unsigned ms;

	if (!t)
		return 0;
	pthread_mutex_lock(&t->lock);
	ms = share_wait_ms(&t->share, s->ip, now_ms);
	pthread_mutex_unlock(&t->lock);
	return ms;
}

void seat_note(const struct seat *s, uint64_t now_ms, uint64_t bytes)
{
	struct tenant *t = s->tenant;

	tenant_sent(t, bytes);
	if (!s->paced)
		return;
	pthread_mutex_lock(&t->lock);
	share_spent(&t->share, s->ip, now_ms, bytes);
	pthread_mutex_unlock(&t->lock);
}
