/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whose a client's connection is: the tenant of its last request.  It counts for his `connections`,
 * what is sent on it for his quota, and it waits for its share of his `rate`.
 */
#pragma once

#include "net/addr.h"
#include "proxy/tenant.h"

struct seat {
	struct tenant *tenant; /* NULL: of none yet */
	uint8_t ip[16];        /* whom it shares with */
	bool paced;
	int fd; /* the connection's, while it is open */
};

/* False: he has all his connections already; the seat stays as it was. */
bool seat_take(struct seat *s, struct tenant *t, const struct conf_tenant *conf,
	       const struct addr *client, uint64_t pacing_max) must_check;
void seat_leave(struct seat *s);

unsigned seat_wait(const struct seat *s, uint64_t now_ms) must_check;
void seat_note(const struct seat *s, uint64_t now_ms, uint64_t bytes);

/* Milliseconds to wait before something is sent; 0: none. */
static inline unsigned seat_wait_ms(const struct seat *s, uint64_t now_ms)
{
	return s->paced ? seat_wait(s, now_ms) : 0;
}

static inline void seat_sent(const struct seat *s, uint64_t now_ms, uint64_t bytes)
{
	if (s->tenant)
		seat_note(s, now_ms, bytes);
}
