/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/diskread.h"

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"

static void diskread_free(struct diskread *r)
{
	struct proxy *p = r->proxy;

	loop_timer_clear(p->loop, &r->limit);
	pool_put(&p->cold_pool, r->mem);
	blob_unref(r->blob);
	free(r);
	p->diskreads_count--;
	proxy_ended(p);
}

static void diskread_tell(struct diskread *r, int got)
{
	loop_timer_clear(r->proxy->loop, &r->limit);
	r->got = got;
	loop_wake(r->proxy->loop, r->owner);
}

static void diskread_done(struct op *op, int res)
{
	struct diskread *r = container_of(op, struct diskread, op);

	if (!r->owner)
		diskread_free(r);
	else if (r->got == 0)
		diskread_tell(r, res ? res : -EIO); /* 0: the file is shorter than it was */
}

static cold void diskread_late(struct timer *t)
{
	struct diskread *r = container_of(t, struct diskread, limit);

	assert(op_busy(&r->op));
	diskread_tell(r, ERR_STUCK);
}

struct diskread *diskread_start(struct proxy *p, struct task *owner, struct blob *blob,
				uint64_t off, uint64_t len)
{
	struct diskread *r = calloc(1, sizeof(*r));
	struct blob_view v;

	if (r)
		r->mem = pool_get(&p->cold_pool);
	if (!r || !r->mem) {
		free(r);
		return NULL;
	}
	blob_look(blob, &v);
	assert(v.fd >= 0);
	r->proxy = p;
	r->owner = owner;
	r->blob = blob_ref(blob);
	p->diskreads_count++;
	op_init(&r->op, &r->inflight, diskread_done);
	timer_init(&r->limit, diskread_late);
	loop_timer_set(p->loop, &r->limit,
		       proxy_now(p) + (cache_is_stuck(p->cache) ? DISKREAD_STUCK_MS : DISKREAD_MS));
	loop_read(p->loop, &r->op, v.fd, r->mem, len < IO_CHUNK ? (size_t)len : IO_CHUNK, off);
	return r;
}

void diskread_end(struct diskread *r)
{
	loop_timer_clear(r->proxy->loop, &r->limit);
	r->owner = NULL;
	if (!op_busy(&r->op))
		diskread_free(r);
}
