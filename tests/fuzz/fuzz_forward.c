/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A request that is accepted goes on as one that says the same of its target and its body, and has
 * nothing of one hop; whatever it was, the server behind sees one request.
 */
#include <stdlib.h>

#include "http/forward.h"
#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 2 * HTTP_HEAD_MAX };

static const char *const never[] = { "Keep-Alive", "TE", "Trailer", "Proxy-Authorization",
				     "HTTP2-Settings" };

static void check_one(const struct msg *m, const struct msg *on, const struct forward *f)
{
	unsigned at = 0, n = 0;
	struct slice v;

	assert(slice_eq(on->method_text, m->method_text));
	assert(slice_eq(on->target, m->target));
	assert(slice_eq(on->authority, f->host));
	assert(on->body == m->body || (m->body == BODY_NONE && on->body_bytes == 0));
	assert(on->body_bytes == m->body_bytes);
	assert(on->minor == 1);
	for (size_t i = 0; i < countof(never); i++)
		assert(!msg_field(on, never[i]).ptr);
	assert(slice_eq(msg_field(on, "X-Forwarded-Proto"), SLICE("https")));
	assert(slice_ends(msg_field(on, "X-Forwarded-For"), SLICE("1.2.3.4")));
	while (msg_field_next(on, "X-Forwarded-For", &at, &v))
		n++;
	assert(n == 1);
	assert(f->websocket || !msg_field(on, "Upgrade").ptr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct msg m, on;
	static char mem[OUT_MAX];
	struct forward f = { .host = SLICE("up.test"), .client = SLICE("1.2.3.4"), .https = true };
	struct h1_error e;
	struct buf out;
	size_t used;

	if (h1_parse_request((struct slice){ (const char *)data, size }, &m, &used, &e) != H1_DONE)
		return 0;
	f.body = m.body;
	f.body_bytes = m.body_bytes;
	f.websocket = forward_is_websocket(&m);
	buf_init(&out, mem, sizeof(mem));
	if (!forward_request(&m, &f, &out))
		abort();
	if (buf_len(&out) >= HTTP_HEAD_MAX || m.fields_count + 6 > HTTP_FIELDS_MAX)
		return 0;
	if (h1_parse_request(buf_data(&out), &on, &used, &e) != H1_DONE || used != buf_len(&out))
		abort();
	check_one(&m, &on, &f);
	return 0;
}
