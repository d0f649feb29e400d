/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/tenant.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test.h"

enum { NOW_S = 784111777, MONTH_S = 31 * 24 * 3600 }; /* 1994-11-06 08:49:37 UTC */

static char path[64];

static void write_text(const char *text)
{
	FILE *f = fopen(path, "we");

	require(f);
	fputs(text, f);
	fclose(f);
}

static uint64_t month_of(const char *name, int64_t now_s)
{
	struct tenants *ts = tenants_new(path, now_s);
	uint64_t n;

	if (!check(ts != NULL))
		return 0;
	n = tenants_get(ts, name)->month_bytes;
	tenants_free(ts);
	return n;
}

TEST(months)
{
	check_eq(tenant_month(NOW_S), 1994 * 12 + 10);
	check_eq(tenant_month_left_s(NOW_S), 24 * 24 * 3600 + 15 * 3600 + 10 * 60 + 23);
	check_eq(tenant_month(NOW_S + tenant_month_left_s(NOW_S) - 1), 1994 * 12 + 10);
	check_eq(tenant_month(NOW_S + tenant_month_left_s(NOW_S)), 1994 * 12 + 11);
}

TEST(usage_is_kept_for_the_month)
{
	struct tenants *ts;

	snprintf(path, sizeof(path), "/tmp/tenant_test.%d", (int)getpid());
	ts = tenants_new(path, NOW_S);
	require(ts);
	tenant_sent(tenants_get(ts, "alice"), 1000);
	tenant_sent(tenants_get(ts, "alice"), 234);
	tenant_sent(tenants_get(ts, "bob.b"), 5);
	check(tenants_get(ts, "alice") == tenants_get(ts, "alice"));
	tenants_free(ts);
	check_eq(month_of("alice", NOW_S + 60), 1234);
	check_eq(month_of("bob.b", NOW_S + 60), 5);
	check_eq(month_of("carol", NOW_S + 60), 0);
	check_eq(month_of("alice", NOW_S + MONTH_S), 0);
	unlink(path);
}

TEST(a_new_month_begins_at_nothing_and_no_month_comes_twice)
{
	struct conf_tenant conf = { .name = "a", .quota_bytes = 100 };
	struct tenants *ts = tenants_new(NULL, NOW_S);
	struct tenant *t;

	require(ts);
	t = tenants_get(ts, "a");
	tenant_sent(t, 99);
	check(!tenant_is_spent(t, &conf));
	tenant_sent(t, 1);
	check(tenant_is_spent(t, &conf));
	tenants_tick(ts, NULL, NOW_S + 1);
	check(tenant_is_spent(t, &conf));
	tenants_tick(ts, NULL, NOW_S + MONTH_S);
	check(!tenant_is_spent(t, &conf));
	check_eq(t->bytes, 100);
	tenant_sent(t, 100);
	tenants_tick(ts, NULL, NOW_S);
	tenants_tick(ts, NULL, NOW_S + MONTH_S);
	check(tenant_is_spent(t, &conf));
	conf.quota_bytes = 0;
	check(!tenant_is_spent(t, &conf));
	tenants_free(ts);
}

TEST(a_file_that_is_not_ours_loses_what_cannot_be_read)
{
	static const char *const bad[] = { "",
					   "x",
					   "sluice-tenants 2\na 1994-11 5\n",
					   "sluice-tenants 1\na 1994-13 5\n",
					   "sluice-tenants 1\na 1994-11 -5\n",
					   "sluice-tenants 1\n\na 1994-11 5\n" };

	snprintf(path, sizeof(path), "/tmp/tenant_test.%d", (int)getpid());
	for (unsigned i = 0; i < countof(bad); i++) {
		write_text(bad[i]);
		check_eq(month_of("a", NOW_S), 0);
	}
	write_text("sluice-tenants 1\na 1994-11 5\nb 1994-11 x\n");
	check_eq(month_of("a", NOW_S), 5);
	unlink(path);
}
