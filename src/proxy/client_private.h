/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the parts of a client call of each other: client.c (its connection), client_h1.c and
 * client_h2.c (HTTP on it).
 */
#pragma once

#include "proxy/client.h"

enum client_step { STEP_MORE, STEP_WAIT };

enum {
	/* Bytes sent in one go before other connections get their turn. */
	CLIENT_TURN_BYTES = 1024 * 1024,
};

/* client.c. */
void client_arm(struct client *c, uint64_t ms);
/* May it be sent to now?  False: it will be woken. */
bool client_may_send(struct client *c);
void client_sent(struct client *c, size_t n);
/* A request of it, for xfer_start(). */
struct xfer_request client_asks(struct client *c, const struct msg *m);
/* The only way out: first the requests give back what they have, then the stream closes. */
enum client_step client_kill(struct client *c, bool graceful, const char *why);

/* client_h1.c: the steps of its states. */
enum client_step client_h1_read(struct client *c);   /* IDLE, HEAD */
enum client_step client_h1_xfer(struct client *c);   /* XFER */
enum client_step client_h1_send(struct client *c);   /* SEND */
enum client_step client_h1_tunnel(struct client *c); /* TUNNEL */
enum client_step client_h1_finish(struct client *c); /* FINISH */
/* Before its buffer goes: a form may have come through it. */
void client_h1_wipe(struct client *c);

/* client_h2.c.  What such a connection begins with. */
extern const struct slice client_h2_preface;
enum client_step client_h2_begin(struct client *c);
/* Bytes that were received already; 0, or negative: of no use any more. */
int client_h2_take(struct client *c, struct slice in) must_check;
enum client_step client_h2_run(struct client *c);    /* H2 */
enum client_step client_h2_finish(struct client *c); /* FINISH */
/* The codec goes, and the calls by themselves. */
void client_h2_end(struct client *c, bool graceful, const char *why);
