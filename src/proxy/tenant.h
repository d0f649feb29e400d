/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is counted of each tenant, by its name: all workers' together, and over reloads.  Who a
 * request's tenant is, is door.h's to find; what tenants may do stands in the configuration.
 *
 * Invariants
 *  1. A struct tenant lives until tenants_free(): one that is not configured any more keeps its
 *     counts, and is found again when it comes back.
 *  2. The bytes of this month are in a file (of the cache's folder) at most TENANTS_SAVE_MS old,
 *     written whole, synced and renamed by a helper: so much of a quota a crash may give away.
 *  3. Months are those of UTC.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "config/config.h"
#include "io/offload.h"
#include "proxy/share.h"

enum { TENANTS_SAVE_MS = 5000, TENANT_NAME_MAX = 64 };

struct tenant {
	struct tenant *next;
	char name[TENANT_NAME_MAX];
	/* Atomic. */
	uint64_t connections; /* now */
	uint64_t requests;
	uint64_t refused; /* of these: for its limits, or what it may not have */
	uint64_t bytes;
	uint64_t month_bytes;
	pthread_mutex_t lock; /* of <share> */
	struct share share;
};

struct tenants;

/* <path>: where usage is kept; NULL: nowhere.  NULL: no memory. */
struct tenants *tenants_new(const char *path, int64_t now_s) must_check;
/* Once a second, by the main thread: the month may end, and the file is written. */
void tenants_tick(struct tenants *ts, struct offload *helpers, int64_t now_s);
/* When neither workers nor helpers run: what was not written yet is. */
void tenants_free(struct tenants *ts);

/* The one of this name, made if need be; NULL: no memory.  Any thread. */
struct tenant *tenants_get(struct tenants *ts, const char *name) must_check;
/* It was sent so many bytes. */
void tenant_sent(struct tenant *t, uint64_t bytes);
/* Has it had its quota? */
bool tenant_is_spent(const struct tenant *t, const struct conf_tenant *conf);

struct tenant_view {
	const char *name;
	uint64_t connections;
	uint64_t connections_max; /* these, 0: none */
	uint64_t requests;
	uint64_t refused;
	uint64_t bytes;
	uint64_t month_bytes;
	uint64_t quota_bytes;
	uint64_t rate_bytes;
	uint64_t client_bytes;
};
/* Each of the configuration's, in its order.  Any thread. */
void tenants_each(struct tenants *ts, const struct config *c,
		  void (*each)(void *ctx, const struct tenant_view *v), void *ctx);

/* ---- the file; pure ---- */

/* Months since year 0. */
unsigned tenant_month(int64_t now_s);
/* Seconds until the month is over. */
int64_t tenant_month_left_s(int64_t now_s);
/*
 * Cuts one line "NAME YYYY-MM BYTES" off *text.  False: none is left, or *bad: the text is not
 * what we write.
 */
bool tenant_parse(struct slice *text, struct slice *name, unsigned *month, uint64_t *bytes,
		  bool *bad) must_check;
