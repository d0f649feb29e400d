/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One worker's share of the mirror: what its connections, requests and fills have in common.  Owned
 * by the worker's thread; other threads only read `stats`.
 *
 * Who wakes whom: a client runs one xfer; an xfer waits on a tag check, a relay or a blob; a pull
 * fills a blob by a fetch; a fetch waits on a token (which is a fetch too) and on an upstream
 * connection.  Arrows go that way only; the way back is a task that is woken.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/pool.h"
#include "base/stat.h"
#include "cache/cache.h"
#include "cache/mill.h"
#include "config/config.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "net/ktls.h"
#include "net/listen.h"
#include "net/net.h"
#include "net/tls.h"
#include "proxy/access.h"
#include "proxy/board.h"
#include "proxy/generation.h"
#include "proxy/history.h"
#include "proxy/meter.h"

enum {
	/* Connections that one worker passes on (passthrough): two sockets and some 6 KB each. */
	PASSAGES_MAX = 1024,
	/* Requests of one worker for sites: an upstream connection and some 5 KB each. */
	VISITS_MAX = 1024,
};

enum {
	/*
	 * Upstream connections of one worker: at most one for each pull and lane, tag check, relay,
	 * token request, passage and visit, and the idle ones.  The bound answers 503.
	 */
	UPCONNS_MAX = 1024 + PASSAGES_MAX + VISITS_MAX,
	UPCONNS_IDLE_MAX = 64,
	ATTEMPTS_MAX = 3, /* members that one of them dials at once */
	/* Fills of one worker: 1,000 distinct cold blobs at once are a cluster starting up. */
	PULLS_MAX = 1024,
	/* Connections of one worker beside each pull's own (lane.h), 256 KiB of memory each. */
	LANES_MAX = 64,
	TOKENS_MAX = 4096,
	TAGCHECKS_MAX = 1024,
	/* One request's memory: head, answer, HTTP_RANGES_MAX ranges with their part headers. */
	XFER_ARENA = 1024 * 1024,
	FETCH_ARENA = 256 * 1024,
	/* The longest head but one byte, and room for the record that brings the rest. */
	HEAD_BUF_BYTES = HTTP_HEAD_MAX + TLS_PLAIN_MAX,
	UPCONN_IDLE_MS = 50 * 1000, /* below the 60 s at which most servers close */
};

enum listener_kind {
	LISTEN_HTTPS,
	LISTEN_HTTP,
	LISTEN_PLAIN,
	LISTEN_ADMIN,
	LISTEN_CONTROL, /* no listener: guest.h */
};

struct proxy_listener {
	struct listener ls;
	struct proxy *proxy;
	struct list node; /* in proxy.listeners */
	bool stays;       /* a reload keeps it */
};

/* What main.c makes once for all workers. */
struct shared {
	struct setup *setup; /* main's: the last; workers begin with it, then proxies_reload() */
	struct cache *cache;
	struct offload *helpers;
	struct smalls *smalls;
	struct tenants *tenants;
	struct crowd *crowd;
	struct offload *passwords; /* a helper for these alone: they take long */
	struct stats **stats;      /* of all workers */
	unsigned workers;
	int access_fd;           /* -1: off */
	struct tallies *tallies; /* pulls, for the access log; NULL: it is off */
	struct tuning tuning; /* of [server], as far as the kernel takes it; for upstreams, too */
	struct ktls ktls;     /* what the kernel's TLS is used for */
	bool draining;        /* atomic: healthz says so */
	bool handed_over;     /* atomic; before draining: another process has our sockets */
	int64_t started_s;    /* unix time */
	struct history history;
	struct pins *pins;
};

struct proxy {
	struct shared *shared;
	struct generation *generation;
	/* Of it: what a new request uses. */
	const struct config *config;
	struct mirror *mirrors;
	struct loop *loop;
	struct stats stats;
	struct net net;
	struct resolver *resolver;
	struct cache *cache;
	struct hot *hot; /* small bodies of it */
	struct mill mill;
	struct access_log access;
	struct timer tell_timer; /* lines of pulls: tell.h */
	struct meters meters;
	struct board board;
	pthread_mutex_t uppools_lock; /* of generation->uppools: see uppool.h */
	struct list generations_old;
	struct timer generations_timer;
	struct generation *generation_next; /* by reload_mail */
	struct mail reload_mail;
	bool reloading; /* atomic: the mail is on its way */

	struct list listeners; /* struct proxy_listener; those that have stopped go at the end */
	struct list listeners_next; /* by reload_mail: those that there are then */

	struct list clients; /* struct client.node */
	unsigned clients_count;
	unsigned clients_max;
	struct list xfers;        /* struct xfer.node */
	struct list upconns_idle; /* most recently used first */
	unsigned upconns_idle_count;
	struct list upconns_closing;
	struct list checks; /* struct poolcheck */
	unsigned upconns_count;
	struct list pulls;
	unsigned pulls_count;
	unsigned lanes_count;
	struct list tagchecks;
	unsigned tagchecks_count;
	unsigned passages_count;
	unsigned visits_count;
	unsigned diskreads_count;
	unsigned passwords_count;
	struct list arrivals;
	unsigned arrivals_count;
	struct gate *gate;  /* NULL until a mirror with auth = client needs it */
	struct list tokens; /* most recently used first */
	unsigned tokens_count;

	struct pool client_pool;
	struct pool xfer_pool;
	struct pool call_pool;
	struct pool upconn_pool;
	struct pool head_pool; /* request and response heads being read: HEAD_BUF_BYTES */
	struct pool cold_pool; /* reads that had to wait for the disk: IO_CHUNK */

	struct mail drain_mail;
	struct task end_task;
	struct timer drain_timer;
	struct timer linger_timer; /* handed over: idle clients may still ask once */
	struct timer end_timer;
	/* The Date field of answers, made once a second. */
	int64_t date_s;
	char date[32];
	bool resolver_gone;
	bool draining;
	bool lingering; /* and idle clients stay, to be told "Connection: close" by an answer */
	bool killed;    /* the drain's time is over */
};

/* Listening sockets are taken over; fd -1: none.  0 or -errno. */
struct proxy_listen {
	int fd;
	enum listener_kind kind;
};
int proxy_init(struct proxy *p, struct shared *shared, const struct proxy_listen *listen,
	       unsigned listen_count, const char **why) must_check;
void proxy_fini(struct proxy *p);
/* On the worker's thread, before its loop runs. */
void proxy_start(struct proxy *p);
/*
 * By the main thread: all workers go over to <s>, each on its own thread, or none and
 * false: no memory, or the last reload has not been taken up by all.  Takes a reference.
 * <listens>: of worker 0, of worker 1, ...: the sockets that it has from now on; it takes those
 * that are new to it, and closes by and by those that are missing.
 */
bool proxies_reload(struct proxy *proxies, unsigned count, struct setup *s,
		    const struct proxy_listen *listens, unsigned listens_each) must_check;
/* From any thread: no new work, finish what runs, then stop the loop. */
void proxy_drain(struct proxy *p);
/* Something ended; when draining, is it all over? */
void proxy_ended(struct proxy *p);

/* RFC 9110 6.6.1; good until the next call. */
const char *proxy_date(struct proxy *p);

static inline uint64_t proxy_now(const struct proxy *p)
{
	return loop_now_ms(p->loop);
}
