/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Handshake messages that come after the handshake (RFC 8446 4.6): KeyUpdate, and for clients
 * NewSessionTicket, which is stepped over.  A message may span records; nothing is kept of it.
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

/* Zeroed is ready. */
struct post {
	uint8_t head[5];
	uint8_t have;  /* bytes of <head> */
	uint32_t skip; /* bytes of a ticket still to come */
};

enum post_event {
	POST_NONE,
	POST_KEY_UPDATE,       /* the peer's records are under its next key from here on */
	POST_KEY_UPDATE_ASKED, /* and ours must be too */
	POST_BAD,
};

/* Feeds the whole payload of one handshake record. */
enum post_event post_feed(struct post *p, struct slice payload, bool client) must_check;
