/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The worker's peers: one fake registry (with its token server and its CDN) and clients that check
 * every byte that they get.  Neither knows of io/.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PEER_BLOB_BYTES = 1300 * 1000 /* more than PARTIAL_MIN */, PEER_CLIENTS_MAX = 8 };

/* What the registry does wrong: to the first answer with the blob's bytes, unless said. */
enum peer_fault {
	PEER_GOOD,
	PEER_CUT,           /* the connection ends in the middle */
	PEER_STALL,         /* no more bytes come */
	PEER_CORRUPT,       /* a byte is wrong, always */
	PEER_TRUNCATED,     /* a clean, shorter answer, always */
	PEER_CORRUPT_LAST,  /* the last byte is wrong, once */
	PEER_SHORT_ONCE,    /* a clean, shorter answer, once */
	PEER_CUT_RANGELESS, /* PEER_CUT, and Range is not known there */
	PEER_BUSY,          /* 429 for the manifest, always */
	PEER_MISSING,       /* 404 for all */
	PEER_GONE,          /* nothing listens */
	PEER_EXPIRED,       /* the link that was redirected to: 403, once */
	/* PEER_STALL, so that lanes join; of their answers: */
	PEER_LANES_BAD,       /* one is cut, one another range, one 503; all later ones are right */
	PEER_LANES_CORRUPT,   /* the last byte of each is wrong */
	PEER_LANES_RANGELESS, /* Range is not known */
};

struct peer_world {
	enum peer_fault fault;
	bool token;    /* 401, then a token */
	bool redirect; /* blobs come from a link */
	bool checked;  /* its pool asks it by itself, each second */
	bool site;     /* they ask for a site, whose server the registry is */
	bool h2;       /* the clients are streams of one connection by HTTP/2 */
};

struct peer_request {
	const char *target; /* %B: the blob's digest, %M: the manifest's */
	bool head;
	bool with_next;     /* the next one does not wait for this one */
	size_t from;        /* > 0: Range: bytes=FROM- */
	size_t leave_after; /* > 0: closes once so many bytes have come */
	int status;         /* when nothing fails; 0: the connection may only break */
};

struct peer_result {
	bool done;
	bool whole; /* all that was announced came */
	int status; /* 0: none came */
	bool wrong; /* a byte of a 200 or 206 was not what it should be */
};

/* Makes the content, once. */
void peer_init(void);
/* Opens the registry's port; its number. */
uint16_t peer_open(const struct peer_world *w, const struct peer_request *r, unsigned count,
		   uint16_t mirror_port);
/* One turn of all; false: nothing moved. */
bool peer_step(void);
bool peer_all_done(void);
const struct peer_result *peer_result(unsigned i);
/* Closes everything. */
void peer_close(void);
