/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One blob by several ranges at once, for when one stream is slow, as over a long line with loss:
 * each lane has a connection of its own, and fetches one stretch of the file after another
 * (cache/fill_wide.h).  The first goes on with the stream that there was.
 *
 * Invariants
 *  1. Every range comes from the start of the chain: our token, a redirect that is fresh.  It
 *     counts only as a 206 with just that range of just that size.
 *  2. One lane is opened first, the rest when upstream has given it what it asked for: who knows no
 *     ranges is asked once in vain.
 *  3. A lane that is refused (429, 503, no connection to spare) or given something else ends for
 *     this blob.  The first lane's own stream then goes on through what nobody has, as if there had
 *     been no lanes.
 *  4. A lane that breaks asks for the rest of its stretch again, by the rules of retry.h.
 *  5. Other lanes than the first leave half of max_conns to others, and a worker has LANES_MAX.
 */
#pragma once

#include "cache/fill_wide.h"
#include "proxy/fetch.h"

struct lanes;

enum lanes_end {
	LANES_GO,    /* the owner will be woken */
	LANES_WHOLE, /* everything is written; or the fill is LOST */
	LANES_NONE,  /* none is left: lanes_close(), fill_narrow() */
};

/*
 * For a <fill> that is settled; <first> is the open stream whose next byte the fill wants, <o> how
 * others are asked for.  All three stay the owner's.  NULL: no memory, or no lane to spare.
 */
struct lanes *lanes_new(struct proxy *p, struct fill *fill, struct fetch *first,
			const struct fetch_opts *o, unsigned count) must_check;
/* After fill_widen(), whenever the owner is woken. */
enum lanes_end lanes_run(struct lanes *ls) must_check;
/* Every stream and every stretch is given up.  In any state. */
void lanes_close(struct lanes *ls);
/* Closed, and nothing of the fill's is in flight: fill_narrow() or fill_close() gave true. */
void lanes_free(struct lanes *ls);
