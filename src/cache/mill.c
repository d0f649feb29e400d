/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/mill.h"

#include "cache/fill.h"

/* Of others less is not worth taking along. */
enum { MILL_PIECE_MIN = 16 * 1024 };

void mill_enter(struct fill *f)
{
	f->hashed = f->received;
	if (f->mill)
		list_push(&f->mill->fills, &f->milling);
}

void mill_leave(struct fill *f)
{
	list_remove(&f->milling);
}

/* Bytes that are not hashed: of the chunk that is being written first. */
static struct digest_part mill_piece(struct fill *f)
{
	const struct buf *b = &f->chunk[f->filling];
	const struct buf *written = &f->chunk[!f->filling];
	uint64_t begins = f->received - buf_len(b); /* the chunk that is being filled */
	uint64_t end = f->hashed < begins ? begins : f->received;
	size_t n = (size_t)(end - f->hashed);

	if (n > 0 && end == begins)
		b = written;
	assert(n <= b->tail);
	return (struct digest_part){ &f->hash, n > 0 ? b->mem + b->tail - n : NULL, n };
}

static void mill_turn(struct fill *f)
{
	struct digest_part parts[DIGEST_LANES] = { mill_piece(f) };
	struct fill *who[DIGEST_LANES] = { f };
	size_t was[DIGEST_LANES] = { parts[0].len };
	unsigned n = 1;

	if (f->mill) {
		list_for_each(it, &f->mill->fills) {
			struct fill *other = container_of(it, struct fill, milling);

			if (n == DIGEST_LANES)
				break;
			parts[n] = mill_piece(other);
			was[n] = parts[n].len;
			who[n] = other;
			n += other != f && parts[n].len >= MILL_PIECE_MIN;
		}
	}
	digest_update_many(parts, n);
	for (unsigned i = 0; i < n; i++)
		who[i]->hashed += was[i] - parts[i].len;
	/* Whoever was taken along this time comes last the next. */
	for (unsigned i = 1; i < n; i++) {
		list_remove(&who[i]->milling);
		list_push(&f->mill->fills, &who[i]->milling);
	}
}

void mill_run(struct fill *f, uint64_t upto)
{
	assert(upto <= f->received);
	while (f->hashed < upto)
		mill_turn(f);
}
