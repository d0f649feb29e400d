/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The first byte picks what is parsed (request, response, response to HEAD, chunked body) and
 * where it is cut; the rest is the input.  A cut may change no verdict, and a head that was
 * accepted means the same when it is written again from its pieces.
 */
#include <stdio.h>
#include <stdlib.h>

#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WRITTEN_MAX = HTTP_HEAD_MAX + 512 };

static enum h1_result parse(unsigned kind, struct slice in, struct msg *m, size_t *used,
			    struct h1_error *e)
{
	return kind == 0 ? h1_parse_request(in, m, used, e)
			 : h1_parse_response(in, kind == 2, m, used, e);
}

static void check_cut(unsigned kind, struct slice in, size_t cut, enum h1_result whole,
		      size_t whole_used, const struct h1_error *whole_e)
{
	static struct msg m;
	struct h1_error e = { 0 };
	char *part = malloc(cut + 1); /* ASan sees a read past the cut */
	size_t used = 0;
	enum h1_result r;

	if (!part)
		abort();
	memcpy(part, in.ptr, cut);
	r = parse(kind, (struct slice){ part, cut }, &m, &used, &e);
	if (r != H1_MORE)
		assert(r == whole);
	if (r == H1_DONE)
		assert(used == whole_used);
	if (r == H1_BAD)
		assert(e.why == whole_e->why);
	free(part);
}

/* One space between the words, one behind the colon, the target in origin-form. */
static size_t write_again(unsigned kind, const struct msg *m, char *out)
{
	int n = kind == 0 ? snprintf(out, WRITTEN_MAX, "%.*s %.*s HTTP/1.%u\r\n",
				     SLICE_FMT(m->method_text), SLICE_FMT(m->target), m->minor)
			  : snprintf(out, WRITTEN_MAX, "HTTP/1.%u %d \r\n", m->minor, m->status);

	for (unsigned i = 0; i < m->fields_count; i++)
		n += snprintf(out + n, WRITTEN_MAX - (size_t)n, "%.*s: %.*s\r\n",
			      SLICE_FMT(m->fields[i].name), SLICE_FMT(m->fields[i].value));
	n += snprintf(out + n, WRITTEN_MAX - (size_t)n, "\r\n");
	return (size_t)n;
}

static void check_again(unsigned kind, const struct msg *m)
{
	static struct msg again;
	static char text[WRITTEN_MAX];
	struct h1_error e;
	size_t used, len = write_again(kind, m, text);

	if (len > HTTP_HEAD_MAX) /* spaces were added */
		return;
	assert(parse(kind, (struct slice){ text, len }, &again, &used, &e) == H1_DONE);
	assert(used == len);
	assert(again.body == m->body);
	assert(again.body_bytes == m->body_bytes);
	assert(again.keep_alive == m->keep_alive);
	assert(again.fields_count == m->fields_count);
	for (unsigned i = 0; i < m->fields_count; i++)
		assert(slice_eq(again.fields[i].value, m->fields[i].value));
}

static void fuzz_head(unsigned kind, struct slice in, size_t cut)
{
	static struct msg m;
	struct h1_error e = { 0 };
	size_t used = 0;
	enum h1_result r = parse(kind, in, &m, &used, &e);

	check_cut(kind, in, cut, r, used, &e);
	if (r == H1_MORE)
		assert(in.len < HTTP_HEAD_MAX);
	if (r == H1_BAD)
		assert(e.why && e.status >= 400);
	if (r != H1_DONE)
		return;
	assert(used <= in.len && used <= HTTP_HEAD_MAX);
	assert(memcmp(in.ptr + used - 4, "\r\n\r\n", 4) == 0);
	check_again(kind, &m);
}

/* Feeds the body in pieces of <step> bytes; a hash of the payload and the end go to <sum>. */
static enum h1_result feed(struct slice in, size_t step, uint64_t *sum)
{
	const struct msg head = { .body = BODY_CHUNKED };
	struct h1_body b;
	enum h1_result r = H1_MORE;
	size_t at = 0, used;

	h1_body_init(&b, &head);
	*sum = 14695981039346656037u;
	while (r == H1_MORE && at < in.len) {
		struct slice out;

		r = h1_body_next(&b, slice_first(slice_skip(in, at), step), &used, &out);
		assert(used > 0);
		assert(out.len <= used);
		for (size_t i = 0; i < out.len; i++)
			*sum = (*sum ^ (unsigned char)out.ptr[i]) * 1099511628211u;
		at += used;
	}
	*sum ^= at;
	return r;
}

static void fuzz_body(struct slice in, size_t step)
{
	uint64_t whole_sum, sum;
	enum h1_result whole = feed(in, SIZE_MAX, &whole_sum);

	assert(feed(in, step, &sum) == whole);
	assert(sum == whole_sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data + 1, size - 1 };

	if (size < 2)
		return 0;
	if ((data[0] & 3) == 3)
		fuzz_body(in, 1 + (data[0] >> 2));
	else
		fuzz_head(data[0] & 3, in, in.len * (data[0] >> 2) / 64);
	return 0;
}
