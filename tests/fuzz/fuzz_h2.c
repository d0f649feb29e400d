/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a client sends behind the preface.  The first byte says in what pieces it comes, and whether
 * answers are given at once.  Pieces may change nothing of what is understood; each stream ends
 * once at most; what comes out is frames, and never more than there is room for.
 */
#include <stdlib.h>

#include "http/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLOTS = 512, ROOM = 40 * 1024 };

struct slot {
	int32_t id;
	size_t left;
	bool ended;
	bool answered;
};

struct run {
	struct h2 *h;
	struct slot slots[SLOTS];
	unsigned count;
	unsigned answered;
	uint64_t sum;
	size_t frame_left; /* of the frame that is on its way out */
	char frame_head[9];
	size_t frame_head_len;
};

static void add(struct run *r, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		r->sum = (r->sum ^ (unsigned char)s.ptr[i]) * 1099511628211u;
}

static struct slot *slot_new(struct run *r, int32_t id)
{
	struct slot *s = &r->slots[r->count];

	if (r->count == SLOTS)
		return NULL;
	r->count++;
	*s = (struct slot){ .id = id, .left = (size_t)id * 3000 };
	return s;
}

static void *take_request(void *owner, int32_t id, const struct msg *m)
{
	struct run *r = owner;

	assert(m->target.len > 0 && m->target.ptr[0] == '/');
	assert(m->authority.len > 0);
	assert(m->fields_count <= HTTP_FIELDS_MAX);
	add(r, m->method_text);
	add(r, m->target);
	add(r, m->authority);
	for (unsigned i = 0; i < m->fields_count; i++) {
		assert(!memchr(m->fields[i].value.ptr, '\n', m->fields[i].value.len));
		add(r, m->fields[i].value);
	}
	return slot_new(r, id);
}

static void *take_refusal(void *owner, int32_t id, const struct h1_error *e)
{
	assert(e->why && e->status >= 400);
	add(owner, slice_of(e->why));
	return slot_new(owner, id);
}

static int give_body(void *stream, const struct iovec *to, unsigned count, bool *end)
{
	struct slot *s = stream;
	size_t total = 0;

	assert(s->answered && !s->ended && count > 0 && count <= H2_RUN_FRAMES);
	for (unsigned i = 0; i < count; i++) {
		size_t n = s->left < to[i].iov_len ? s->left : to[i].iov_len;

		assert(to[i].iov_len > 0);
		memset(to[i].iov_base, 'b', n);
		s->left -= n;
		total += n;
	}
	*end = s->left == 0;
	return (int)total;
}

static void take_end(void *stream)
{
	struct slot *s = stream;

	assert(!s->ended);
	s->ended = true;
}

static const struct h2_ops ops = {
	.request = take_request,
	.refuse = take_refusal,
	.body = give_body,
	.ended = take_end,
};

/* Frames, of lengths that everybody takes and of types that we have a use for. */
static void check_frames(struct run *r, const char *at, size_t len)
{
	while (len > 0) {
		size_t n;

		if (r->frame_left > 0) {
			n = len < r->frame_left ? len : r->frame_left;
			r->frame_left -= n;
		} else {
			const uint8_t *head = (const uint8_t *)r->frame_head;

			n = 9 - r->frame_head_len < len ? 9 - r->frame_head_len : len;
			memcpy(r->frame_head + r->frame_head_len, at, n);
			r->frame_head_len += n;
			if (r->frame_head_len == 9) {
				r->frame_left = (size_t)(head[0] << 16 | head[1] << 8 | head[2]);
				assert(head[3] <= 9 && head[3] != 5 && head[3] != 2);
				r->frame_head_len = 0;
			}
		}
		at += n;
		len -= n;
	}
}

static void give_answers(struct run *r)
{
	const struct field fields[] = { { SLICE("X-Cache"), SLICE("hit") } };

	for (; r->answered < r->count; r->answered++) {
		struct slot *s = &r->slots[r->answered];

		if (s->ended)
			continue;
		s->answered = true;
		assert(h2_answer(r->h, s->id, 200, fields, 1, s->id % 4 == 1) == 0);
	}
}

static void drain(struct run *r)
{
	char *out = malloc(ROOM); /* ASan sees a byte too many */
	int n;

	if (!out)
		abort();
	for (unsigned i = 0; i < 1000 && (n = h2_make(r->h, out, ROOM)) > 0; i++) {
		assert(n <= ROOM);
		check_frames(r, out, (size_t)n);
	}
	free(out);
}

static uint64_t run(struct slice in, size_t step, bool answers)
{
	static struct run r;
	int err;

	memset(&r, 0, sizeof(r));
	r.h = h2_new(&ops, &r);
	assert(r.h);
	err = h2_feed(r.h, SLICE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 1000);
	assert(err == 0);
	while (in.len > 0 && err == 0) {
		size_t n = in.len < step ? in.len : step;
		char *piece = malloc(n);

		if (!piece)
			abort();
		memcpy(piece, in.ptr, n);
		err = h2_feed(r.h, (struct slice){ piece, n }, 1000);
		free(piece);
		in = slice_skip(in, n);
		if (answers && err == 0) {
			give_answers(&r);
			drain(&r);
		}
	}
	if (err == 0) {
		give_answers(&r);
		drain(&r);
		h2_goaway(r.h, true);
		drain(&r);
	}
	h2_free(r.h);
	return r.sum + r.count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data + 1, size - 1 };
	size_t step;

	if (size < 2)
		return 0;
	step = 1 + (data[0] >> 1);
	if (data[0] & 1) {
		(void)run(in, step, true);
		return 0;
	}
	assert(run(in, SIZE_MAX, false) == run(in, step, false));
	return 0;
}
