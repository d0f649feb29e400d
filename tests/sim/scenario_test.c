/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Each scenario once as it should go, with several seeds; then again and again with the Nth
 * operation failing, N = 1, 2, ... until a run ends before its Nth operation.  After every run no
 * client got a wrong byte, nothing hangs, and every object is back in its pool.  With a disk that
 * is stuck from the Nth operation on, every client gets what it should all the same, meanwhile.
 *
 * What failed says SIM_SEED, SIM_FAIL, SIM_MORE: in the environment they run just that, SIM_LOG=1
 * with the log.  SIM_ONLY=TEXT runs the scenarios with that in their names.
 */
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"
#include "net/listen.h"
#include "proxy/oci.h"
#include "proxy/proxy.h"
#include "proxy/small.h"
#include "sim.h"
#include "sim_peer.h"
#include "../unit/test.h"

struct scenario {
	const char *name;
	struct peer_world w;
	unsigned count;
	struct peer_request requests[PEER_CLIENTS_MAX];
};

#define BLOB "/v2/lib/app/blobs/%B"
#define TAG "/v2/lib/app/manifests/latest"
#define MANIFEST "/v2/lib/app/manifests/%M"

static const struct scenario scenarios[] = {
	{ "blob",
	  { 0 },
	  4,
	  { { .target = BLOB, .status = 200 },
	    { .target = BLOB, .status = 200 },
	    { .target = BLOB, .status = 206, .from = 300000 },
	    { .target = BLOB, .status = 200, .head = true } } },
	{ "image",
	  { .token = true, .redirect = true },
	  5,
	  { { .target = TAG, .status = 200, .head = true },
	    { .target = TAG, .status = 200 },
	    { .target = MANIFEST, .status = 200 },
	    { .target = BLOB, .status = 200 },
	    { .target = "/v2/", .status = 200 } } },
	{ "joined",
	  { .token = true },
	  4,
	  { { .target = BLOB, .status = 200, .with_next = true },
	    { .target = BLOB, .status = 200, .with_next = true },
	    { .target = BLOB, .status = 206, .with_next = true, .from = 650000 },
	    { .target = BLOB, .leave_after = 1000 } } },
	{ "left",
	  { 0 },
	  2,
	  { { .target = BLOB, .leave_after = 1 }, { .target = BLOB, .status = 200 } } },
	{ "cut",
	  { .fault = PEER_CUT, .redirect = true },
	  2,
	  { { .target = BLOB, .status = 200 }, { .target = BLOB, .status = 200 } } },
	{ "cut, no ranges",
	  { .fault = PEER_CUT_RANGELESS },
	  1,
	  { { .target = BLOB, .status = 200 } } },
	{ "stalled",
	  { .fault = PEER_STALL },
	  2,
	  { { .target = BLOB, .status = 200, .with_next = true },
	    { .target = BLOB, .status = 206, .from = 600000 } } },
	{ "lanes that fail",
	  { .fault = PEER_LANES_BAD },
	  2,
	  { { .target = BLOB, .status = 200, .with_next = true },
	    { .target = BLOB, .status = 206, .from = 600000 } } },
	{ "lanes, corrupt", { .fault = PEER_LANES_CORRUPT }, 1, { { .target = BLOB } } },
	{ "lanes, no ranges",
	  { .fault = PEER_LANES_RANGELESS },
	  1,
	  { { .target = BLOB, .status = 200 } } },
	{ "link expired",
	  { .fault = PEER_EXPIRED, .redirect = true },
	  2,
	  { { .target = BLOB }, { .target = BLOB, .status = 200 } } },
	{ "corrupt", { .fault = PEER_CORRUPT }, 1, { { .target = BLOB } } },
	{ "truncated", { .fault = PEER_TRUNCATED }, 1, { { .target = BLOB } } },
	{ "wrong at the end, then right",
	  { .fault = PEER_CORRUPT_LAST },
	  3,
	  { { .target = BLOB, .status = 200, .with_next = true },
	    { .target = BLOB, .status = 206, .from = 1299000 },
	    { .target = BLOB, .status = 200 } } },
	{ "checked by itself, and stalled",
	  { .fault = PEER_STALL, .token = true, .checked = true },
	  1,
	  { { .target = BLOB, .status = 200 } } },
	{ "truncated, then right",
	  { .fault = PEER_SHORT_ONCE },
	  2,
	  { { .target = BLOB }, { .target = BLOB, .status = 200 } } },
	{ "busy",
	  { .fault = PEER_BUSY, .token = true },
	  2,
	  { { .target = TAG, .status = 429 }, { .target = MANIFEST, .status = 429 } } },
	{ "missing",
	  { .fault = PEER_MISSING },
	  3,
	  { { .target = TAG, .status = 404 },
	    { .target = BLOB, .status = 404 },
	    { .target = "/v2/lib/app/tags/list", .status = 404 } } },
	{ "streams",
	  { .token = true, .redirect = true, .h2 = true },
	  6,
	  { { .target = TAG, .status = 200, .with_next = true },
	    { .target = BLOB, .status = 200, .with_next = true },
	    { .target = BLOB, .status = 206, .with_next = true, .from = 650000 },
	    { .target = BLOB, .leave_after = 1000, .with_next = true },
	    { .target = BLOB, .status = 200, .head = true },
	    { .target = "/v2/", .status = 200 } } },
	{ "streams, cut",
	  { .fault = PEER_CUT, .h2 = true },
	  2,
	  { { .target = BLOB, .status = 200, .with_next = true },
	    { .target = BLOB, .status = 200 } } },
	{ "streams, corrupt",
	  { .fault = PEER_CORRUPT, .h2 = true },
	  2,
	  { { .target = BLOB }, { .target = "/v2/", .status = 200 } } },
	{ "site",
	  { .site = true },
	  5,
	  { { .target = BLOB, .status = 200, .with_next = true },
	    { .target = BLOB, .status = 206, .from = 300000 },
	    { .target = TAG, .status = 200, .head = true },
	    { .target = BLOB, .leave_after = 1000 },
	    { .target = MANIFEST, .status = 200 } } },
	{ "site, cut",
	  { .site = true, .fault = PEER_CUT },
	  2,
	  { { .target = BLOB }, { .target = BLOB, .status = 200 } } },
	{ "site, stalled", { .site = true, .fault = PEER_STALL }, 1, { { .target = BLOB } } },
	{ "site, gone",
	  { .site = true, .fault = PEER_GONE },
	  1,
	  { { .target = BLOB, .status = 502 } } },
	{ "site, streams",
	  { .site = true, .h2 = true },
	  4,
	  { { .target = BLOB, .status = 200, .with_next = true },
	    { .target = BLOB, .status = 206, .with_next = true, .from = 650000 },
	    { .target = BLOB, .leave_after = 1000, .with_next = true },
	    { .target = MANIFEST, .status = 200 } } },
	{ "gone",
	  { .fault = PEER_GONE },
	  2,
	  { { .target = TAG, .status = 502 }, { .target = BLOB, .status = 502 } } },
};

/* ---- one world ---- */

struct world {
	char dir[64];
	struct shared shared;
	struct stats *stats[1];
	struct proxy proxy;
	bool draining;
	uint64_t served_ms; /* when the last client had its answer */
	const char *suffixes[OCI_TYPES];
};

static struct config *make_config(const char *dir, uint16_t upstream, bool checked)
{
	struct config_errors errs;
	struct config *c;
	char text[1024];

	snprintf(text, sizeof(text),
		 "[server]\nplain = 127.0.0.1:1\nworkers = 1\n"
		 "[cache]\npath = %s\nsize = 1G\nfree = 0\n"
		 "[mirror docker.io]\nhost = docker.test\nupstream = http://127.0.0.1:%u\n"
		 "private = yes\nparallel_from = 1M\n"
		 "[site wiki]\nhost = wiki.test\nupstream = http://127.0.0.1:%u\n"
		 "timeout = 5s\n%s",
		 dir, upstream, upstream, checked ? "[pool 127.0.0.1]\ncheck = 1s\n" : "");
	if (config_parse("sim", slice_of(text), &c, &errs) != 0)
		printf("# %s\n", errs.errors.text[0]);
	config_errors_fini(&errs);
	return c;
}

static uint16_t listen_somewhere(int *fd)
{
	struct addr a = { .len = sizeof(a.in) };

	a.in = (struct sockaddr_in){ .sin_family = AF_INET };
	a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*fd = listen_open(&a, &(struct tuning){ 0 });
	if (*fd < 0 || getsockname(*fd, &a.sa, &a.len) < 0)
		return 0;
	return ntohs(a.in.sin_port);
}

static bool proxy_is_quiet(const struct proxy *p)
{
	return p->clients_count == 0 && p->pulls_count == 0 && p->tagchecks_count == 0 &&
	       p->upconns_count == p->upconns_idle_count;
}

static bool world_step(void *arg)
{
	struct world *w = arg;
	bool armed = sim.armed;
	bool moved;

	sim.armed = false; /* what the peers do is not the worker's */
	moved = peer_step();
	sim.armed = armed;
	if (w->served_ms == 0 && peer_all_done())
		w->served_ms = sim.clock_ms;
	if (!w->draining && (sim.wedged || (peer_all_done() && proxy_is_quiet(&w->proxy)))) {
		w->draining = true;
		proxy_drain(&w->proxy);
		return true;
	}
	return moved;
}

static void nothing(struct timer *t)
{
	(void)t;
}

/* The timers' heap is the one memory that may not be refused (base/timer.h): it is there before. */
static void reserve_timers(struct loop *l)
{
	struct timer t;

	timer_init(&t, nothing);
	loop_timer_set(l, &t, UINT64_MAX);
	loop_timer_clear(l, &t);
}

static bool world_open(struct world *w, const struct scenario *sc)
{
	struct cache_opts co = { .suffixes = w->suffixes,
				 .suffixes_count = OCI_TYPES,
				 .fds_max = 64,
				 .size_bytes = 1 << 30 };
	struct proxy_listen at = { .kind = LISTEN_PLAIN };
	uint16_t port = listen_somewhere(&at.fd);
	const char *reason = NULL;
	struct config *c;
	char why[512];

	*w = (struct world){ 0 };
	/* In memory where that is: thousands of worlds are made and removed. */
	snprintf(w->dir, sizeof(w->dir), "%s/sluice-sim-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!check(mkdtemp(w->dir)) || !check(port > 0))
		return false;
	for (unsigned i = 0; i < OCI_TYPES; i++)
		w->suffixes[i] = oci_types[i].suffix;
	port = peer_open(&sc->w, sc->requests, sc->count, port);
	c = make_config(w->dir, port, sc->w.checked);
	if (!check(c))
		return false;
	w->shared = (struct shared){ .setup = setup_new(c, NULL, why, sizeof(why)),
				     .stats = w->stats,
				     .smalls = smalls_new(),
				     .workers = 1,
				     .access_fd = -1 };
	if (!check(w->shared.setup && w->shared.smalls) ||
	    !check_eq(offload_new(&w->shared.helpers, 1), 0))
		return false;
	w->stats[0] = &w->proxy.stats;
	co.path = w->dir;
	co.helpers = w->shared.helpers;
	if (!check_eq(cache_open(&w->shared.cache, &co, why, sizeof(why)), 0))
		return false;
	if (!check_eq(proxy_init(&w->proxy, &w->shared, &at, 1, &reason), 0))
		return false;
	reserve_timers(w->proxy.loop);
	sim.step = world_step;
	sim.arg = w;
	return true;
}

static void pool_is_whole(const struct pool *p)
{
	if (!check_eq(p->out, 0))
		printf("# of pool %s\n", p->name);
}

static void world_close(struct world *w)
{
	sim.armed = false;
	check_eq(w->proxy.visits_count, 0);
	pool_is_whole(&w->proxy.client_pool);
	pool_is_whole(&w->proxy.xfer_pool);
	pool_is_whole(&w->proxy.call_pool);
	pool_is_whole(&w->proxy.upconn_pool);
	pool_is_whole(&w->proxy.head_pool);
	pool_is_whole(&w->proxy.cold_pool);
	sim_jobs_direct(true);
	proxy_fini(&w->proxy);
	cache_close(w->shared.cache);
	sim_jobs_direct(false);
	offload_free(w->shared.helpers);
	smalls_free(w->shared.smalls);
	setup_unref(w->shared.setup);
	peer_close();
	test_remove(w->dir);
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* With that and a disk that is stuck, one may be cut, or wait until the bytes can be compared. */
static bool is_wrong_body(const struct scenario *sc)
{
	return sc->w.fault == PEER_CORRUPT || sc->w.fault == PEER_TRUNCATED ||
	       sc->w.fault == PEER_CORRUPT_LAST || sc->w.fault == PEER_SHORT_ONCE ||
	       sc->w.fault == PEER_LANES_CORRUPT;
}

static void look_at_results(const struct scenario *sc)
{
	for (unsigned i = 0; i < sc->count; i++) {
		const struct peer_request *r = &sc->requests[i];
		const struct peer_result *got = peer_result(i);
		bool good = got->status == 200 || got->status == 206;

		check(got->done);
		if (getenv("SIM_LOG"))
			printf("# request %u: status %d whole %d wrong %d\n", i, got->status,
			       got->whole, got->wrong);
		/* Of a running fill bytes go out before the digest is known, but the last one. */
		check(!got->wrong || is_wrong_body(sc));
		/* What is wrong upstream may never come out whole. */
		check(!(good && got->whole && got->wrong));
		if ((sim.failed > 0 && (sim.fault != SIM_STUCK || is_wrong_body(sc))) ||
		    r->leave_after || !r->status)
			continue;
		/* Of a cached manifest whose read hangs the head is out; the next one passes by. */
		if (sim.failed > 0 && got->status == 200 && !got->whole &&
		    strstr(r->target, "/manifests/"))
			continue;
		if (!check_eq(got->status, r->status) || !check(got->whole))
			printf("# request %u\n", i);
	}
}

/* The number of operations that there were. */
static unsigned run(const struct scenario *sc, uint64_t seed, enum sim_fault fault,
		    unsigned fail_at, unsigned more)
{
	static struct world w;
	const char *only = getenv("SIM_ONLY");
	unsigned fds = open_fds();
	int bad = test_bad;

	if (only && !strstr(sc->name, only))
		return 0;
	sim_begin(seed, fault, fail_at, more);
	sim.name = sc->name;
	if (!world_open(&w, sc))
		return 0;
	sim.armed = true;
	proxy_start(&w.proxy);
	loop_run(w.proxy.loop);
	check(!sim.wedged);
	check(sim.stuck_ms == 0 || w.served_ms < sim.stuck_ms || is_wrong_body(sc));
	look_at_results(sc);
	if (sim.failed == 0 && sc->w.fault >= PEER_LANES_BAD)
		check_eq(stat_get(&w.proxy.stats, STAT_FILLS_PARALLEL), 1);
	world_close(&w);
	check_eq(open_fds(), fds);
	if (test_bad > bad)
		printf("# scenario \"%s\" SIM_SEED=%llu SIM_FAIL=%u SIM_MORE=%u (%s)\n", sc->name,
		       (unsigned long long)seed, fail_at, more,
		       sim.failed_what ? sim.failed_what : "nothing failed");
	return sim.count;
}

static unsigned from_env(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

enum { FAIL_MAX = 5000, BAD_MAX = 5 };

/* Each number once by itself, and once with some more after it, as a disk that is full. */
static void fail_each(const struct scenario *sc, enum sim_fault fault)
{
	unsigned seed = from_env("SIM_SEED", 0), only = from_env("SIM_FAIL", 0), runs = 0;

	/* A disk that is stuck stays so: what comes third is much like what comes first. */
	unsigned step = fault == SIM_STUCK ? 3 : 1;

	for (unsigned n = only ? only : 1; n < FAIL_MAX && test_bad < BAD_MAX; n += step) {
		unsigned more = n % 3 == 0 ? 4 : n % 3 == 1 ? 0 : 1;

		more = from_env("SIM_MORE", more);
		(void)run(sc, seed ? seed : 1 + n * 7, fault, n, more);
		runs++;
		if (sim.failed == 0 || only)
			break;
	}
	printf("# %s: %u runs\n", sc->name, runs);
}

static void setup(void)
{
	static bool done;

	if (!done)
		peer_init();
	done = true;
	log_set_level(getenv("SIM_LOG") ? LOG_DEBUG : LOG_ERR);
}

TEST(sim_scenarios_go_well_with_any_order_of_completions)
{
	setup();
	for (unsigned i = 0; i < countof(scenarios); i++)
		for (unsigned seed = 1; seed <= 5 && test_bad < BAD_MAX; seed++)
			(void)run(&scenarios[i], seed, SIM_NONE, 0, 0);
}

TEST(sim_any_failed_operation_leaves_nothing_behind)
{
	setup();
	for (unsigned i = 0; i < countof(scenarios) && test_bad < BAD_MAX; i++)
		fail_each(&scenarios[i], SIM_IO);
}

TEST(sim_a_disk_that_is_stuck_costs_no_client_its_answer)
{
	setup();
	for (unsigned i = 0; i < countof(scenarios) && test_bad < BAD_MAX; i++)
		fail_each(&scenarios[i], SIM_STUCK);
}

TEST(sim_any_failed_allocation_leaves_nothing_behind)
{
	setup();
	for (unsigned i = 0; i < countof(scenarios) && test_bad < BAD_MAX; i++)
		fail_each(&scenarios[i], SIM_MEMORY);
}
