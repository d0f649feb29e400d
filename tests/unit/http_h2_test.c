/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The codec against nghttp2's own client, and against frames written by hand where a client would
 * not write them.
 */
#include "http/h2.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/assert.h"
#include "test.h"

enum { SLOTS = 256, OUT_MAX = 256 * 1024, TEXT_MAX = 400 };

/* A request as the codec tells of it, and what is left of its answer's body. */
struct slot {
	int32_t id;
	char text[TEXT_MAX]; /* "GET path authority fields", or "status why" */
	size_t fields;
	enum body_kind body;
	size_t left;
	uint64_t given;
	size_t most; /* at once; 0: as much as there is room for */
	bool waits;
	bool broken;
	unsigned ended;
};

struct peer {
	struct h2 *h;
	nghttp2_session *client;
	struct slot slots[SLOTS];
	unsigned count;
	unsigned refuse_from; /* slots from this one on are refused */
	uint64_t now_ms;
	char out[OUT_MAX];
	size_t out_len;
	/* What the client saw. */
	int status[SLOTS];
	char names[TEXT_MAX];
	uint64_t bytes[SLOTS]; /* of stream 2 * n + 1 */
	bool complete[SLOTS];
	int reset[SLOTS]; /* code + 1 */
	int goaway;       /* code + 1 */
	int32_t goaway_last;
	int32_t turns[64]; /* streams of DATA frames, in order */
	unsigned turns_count;
};

static struct slot *slot_new(struct peer *p, int32_t id)
{
	struct slot *s = &p->slots[p->count];

	if (p->refuse_from && p->count >= p->refuse_from)
		return NULL;
	assert(p->count < SLOTS);
	p->count++;
	s->id = id;
	return s;
}

static void *take_request(void *owner, int32_t id, const struct msg *m)
{
	struct slot *s = slot_new(owner, id);

	if (!s)
		return NULL;
	assert(m->major == 2);
	s->fields = m->fields_count;
	s->body = m->body;
	snprintf(s->text, sizeof(s->text), "%.*s %.*s %.*s", SLICE_FMT(m->method_text),
		 SLICE_FMT(m->target), SLICE_FMT(m->authority));
	return s;
}

static void *take_refusal(void *owner, int32_t id, const struct h1_error *e)
{
	struct slot *s = slot_new(owner, id);

	if (s)
		snprintf(s->text, sizeof(s->text), "%d %s", e->status, e->why);
	return s;
}

static char byte_at(uint64_t at)
{
	return (char)('a' + at % 23);
}

static int give_body(void *stream, const struct iovec *to, unsigned count, bool *end)
{
	struct slot *s = stream;
	int total = 0;

	assert(!s->ended && count > 0 && count <= H2_RUN_FRAMES);
	if (s->broken)
		return H2_BROKEN;
	if (s->waits)
		return H2_WAIT;
	for (unsigned i = 0; i < count; i++) {
		size_t n = s->left < to[i].iov_len ? s->left : to[i].iov_len;

		if (s->most && total + n > s->most)
			n = s->most - (size_t)total;
		for (size_t j = 0; j < n; j++)
			((char *)to[i].iov_base)[j] = byte_at(s->given++);
		s->left -= n;
		total += (int)n;
	}
	*end = s->left == 0;
	return total;
}

static void take_end(void *stream)
{
	((struct slot *)stream)->ended++;
}

static const struct h2_ops ops = {
	.request = take_request,
	.refuse = take_refusal,
	.body = give_body,
	.ended = take_end,
};

/* ---- nghttp2's client ---- */

static int saw_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t n,
		      const uint8_t *value, size_t len, uint8_t flags, void *user)
{
	struct peer *p = user;
	size_t at = strlen(p->names);

	(void)s, (void)flags;
	if (n == 7 && memcmp(name, ":status", 7) == 0)
		p->status[f->hd.stream_id / 2] = (int)strtol((const char *)value, NULL, 10);
	else
		snprintf(p->names + at, sizeof(p->names) - at, "%.*s=%.*s ", (int)n,
			 (const char *)name, (int)len, (const char *)value);
	return 0;
}

static int saw_frame(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
	struct peer *p = user;
	int32_t at = f->hd.stream_id / 2;

	(void)s;
	if (f->hd.type == NGHTTP2_GOAWAY) {
		p->goaway = (int)f->goaway.error_code + 1;
		p->goaway_last = f->goaway.last_stream_id;
	}
	if (f->hd.type == NGHTTP2_RST_STREAM)
		p->reset[at] = (int)f->rst_stream.error_code + 1;
	if (f->hd.type == NGHTTP2_DATA && p->turns_count < countof(p->turns))
		p->turns[p->turns_count++] = f->hd.stream_id;
	if (f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS)
		p->complete[at] |= f->hd.flags & NGHTTP2_FLAG_END_STREAM;
	return 0;
}

static int saw_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
		    void *user)
{
	uint64_t *seen = &((struct peer *)user)->bytes[id / 2];

	(void)s, (void)flags;
	for (size_t i = 0; i < len; i++)
		assert((char)data[i] == byte_at((*seen)++));
	return 0;
}

static void peer_start(struct peer *p)
{
	nghttp2_session_callbacks *cb;

	memset(p, 0, sizeof(*p));
	p->now_ms = 1000000;
	p->h = h2_new(&ops, p);
	assert(p->h);
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, saw_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, saw_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, saw_data);
	nghttp2_session_client_new(&p->client, cb, p);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(p->client, 0, NULL, 0);
}

static void peer_end(struct peer *p)
{
	nghttp2_session_del(p->client);
	h2_free(p->h);
}

/* What the client has to say goes to the codec in pieces of <step> bytes. */
static int say(struct peer *p, size_t step)
{
	const uint8_t *mem;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(p->client, &mem)) > 0)
		for (size_t at = 0; at < (size_t)n; at += step) {
			size_t len = (size_t)n - at < step ? (size_t)n - at : step;

			if (h2_feed(p->h, (struct slice){ (const char *)mem + at, len },
				    p->now_ms) < 0)
				return -1;
		}
	return 0;
}

/* What the codec has to say is kept, and goes to the client. */
static int hear(struct peer *p, size_t room)
{
	int n = h2_make(p->h, p->out, room);

	if (n > 0)
		assert(nghttp2_session_mem_recv(p->client, (uint8_t *)p->out, (size_t)n) == n);
	p->out_len = n > 0 ? (size_t)n : 0;
	return n;
}

static void talk(struct peer *p)
{
	for (unsigned i = 0; i < 1000; i++) {
		assert(say(p, SIZE_MAX) == 0);
		if (hear(p, 64 * 1024) == 0 && !nghttp2_session_want_write(p->client))
			return;
	}
	assert(!"they never end");
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
			     .value = (uint8_t *)(uintptr_t)value,
			     .namelen = strlen(name),
			     .valuelen = strlen(value) };
}

static ssize_t give_upload(nghttp2_session *s, int32_t id, uint8_t *buf, size_t cap,
			   uint32_t *flags, nghttp2_data_source *src, void *user)
{
	(void)s, (void)id, (void)flags, (void)src, (void)user;
	memset(buf, 'u', cap);
	return (ssize_t)cap; /* without end */
}

static int32_t ask(struct peer *p, const char *method, const char *path, const char *name,
		   const char *value)
{
	nghttp2_nv f[5] = { nv(":method", method), nv(":scheme", "https"),
			    nv(":authority", "mirror.test"), nv(":path", path) };
	nghttp2_data_provider upload = { .read_callback = give_upload };
	bool body = strcmp(method, "POST") == 0;

	if (name)
		f[4] = nv(name, value);
	return nghttp2_submit_request(p->client, NULL, f, name ? 5 : 4, body ? &upload : NULL,
				      NULL);
}

static void answer(struct peer *p, unsigned at, int status, size_t bytes)
{
	const struct field fields[] = { { SLICE("Content-Type"), SLICE("text/plain") },
					{ SLICE("ETag"), SLICE("\"x\"") } };

	p->slots[at].left = bytes;
	check_eq(h2_answer(p->h, p->slots[at].id, status, fields, 2, bytes > 0), 0);
}

/* A connection with so many requests that nothing was answered to. */
static void peer_asks(struct peer *p, unsigned count)
{
	peer_start(p);
	for (unsigned i = 0; i < count; i++)
		ask(p, "GET", "/", NULL, NULL);
	check_eq(say(p, SIZE_MAX), 0);
	check_eq(p->count, count);
}

TEST(a_request_and_its_answer)
{
	static struct peer p;

	peer_start(&p);
	ask(&p, "GET", "/v2/?n=1", "accept", "a, b");
	check_eq(say(&p, SIZE_MAX), 0);
	check_eq(p.count, 1);
	check_str(p.slots[0].text, "GET /v2/?n=1 mirror.test");
	check_eq(p.slots[0].fields, 2); /* Host is one */
	check_eq(p.slots[0].body, BODY_NONE);
	check(!h2_in_head(p.h));
	answer(&p, 0, 200, 100000);
	talk(&p);
	check_eq(p.status[0], 200);
	check_eq(p.bytes[0], 100000);
	check(p.complete[0]);
	check_str(p.names, "content-type=text/plain etag=\"x\" ");
	check_eq(p.slots[0].ended, 1);
	check(!h2_is_over(p.h));
	peer_end(&p);
}

TEST(bytes_may_come_one_by_one)
{
	static struct peer p;

	peer_start(&p);
	for (unsigned i = 0; i < 5; i++)
		ask(&p, "HEAD", "/v2/a/manifests/b", "x-long", "value");
	check_eq(say(&p, 1), 0);
	check_eq(p.count, 5);
	for (unsigned i = 0; i < 5; i++)
		answer(&p, i, 404, 0);
	talk(&p);
	check_eq(p.status[4], 404);
	check(p.complete[4]);
	peer_end(&p);
}

TEST(heads_follow_the_rules_of_http_1)
{
	static struct peer p;
	static char big[9000];
	static const char *const bad[][4] = {
		{ "OPTIONS", "*", NULL, NULL },
		{ "GET", "/a#b", NULL, NULL },
		{ "GET", "/x", "host", "other.test" },
	};

	peer_start(&p);
	ask(&p, "GET", "/x", "host", "mirror.test"); /* the same twice is legal */
	check_eq(say(&p, SIZE_MAX), 0);
	check_str(p.slots[0].text, "GET /x mirror.test");
	for (unsigned i = 0; i < countof(bad); i++)
		ask(&p, bad[i][0], bad[i][1], bad[i][2], bad[i][3]);
	check_eq(say(&p, SIZE_MAX), 0);
	for (unsigned i = 1; i < p.count; i++)
		check_eq(strtol(p.slots[i].text, NULL, 10), 400);
	memset(big, 'x', sizeof(big) - 1);
	for (unsigned i = 0; i < 2; i++) {
		nghttp2_nv f[10] = { nv(":method", "GET"), nv(":scheme", "https"),
				     nv(":authority", "m"), nv(":path", "/") };

		for (unsigned j = 4; j < countof(f); j++)
			f[j] = nv("x-big", big);
		nghttp2_submit_request(p.client, NULL, f, 8 + 2 * i, NULL, NULL);
	}
	check_eq(say(&p, SIZE_MAX), 0);
	check_str(p.slots[p.count - 2].text, "GET / m");
	check_eq(strtol(p.slots[p.count - 1].text, NULL, 10), 431);
	peer_end(&p);
}

/* The client gives windows of <bytes>, for the connection and for each stream. */
static void widen(struct peer *p, int32_t bytes)
{
	const nghttp2_settings_entry e = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)bytes };

	nghttp2_submit_settings(p->client, 0, &e, 1);
	nghttp2_session_set_local_window_size(p->client, 0, 0, bytes);
	check_eq(say(p, SIZE_MAX), 0);
}

/* The longest row of frames of one stream. */
static unsigned longest_turn(const struct peer *p)
{
	unsigned row = 1, most = 1;

	for (unsigned i = 1; i < p->turns_count; i++) {
		row = p->turns[i] == p->turns[i - 1] ? row + 1 : 1;
		most = row > most ? row : most;
	}
	return most;
}

TEST(streams_take_turns_by_runs)
{
	static struct peer p;

	peer_asks(&p, 3);
	widen(&p, 1 << 20);
	for (unsigned i = 0; i < 3; i++)
		answer(&p, i, 200, 200000);
	talk(&p);
	for (unsigned i = 0; i < 3; i++) {
		check_eq(p.bytes[i], 200000);
		check(p.complete[i]);
	}
	check_eq(longest_turn(&p), H2_RUN_FRAMES);
	check(p.turns[0] != p.turns[4] && p.turns[4] != p.turns[8] && p.turns[0] != p.turns[8]);
	peer_end(&p);
}

TEST(turns_outlive_the_window_of_the_connection)
{
	static struct peer p;

	peer_asks(&p, 3); /* 64 KiB for all */
	for (unsigned i = 0; i < 3; i++)
		answer(&p, i, 200, 300000);
	while (!p.complete[0] && !p.complete[1] && !p.complete[2]) {
		check_eq(say(&p, SIZE_MAX), 0);
		check(hear(&p, 64 * 1024) >= 0);
	}
	for (unsigned i = 0; i < 3; i++)
		check(p.bytes[i] > 300000 - 2 * 65536);
	peer_end(&p);
}

TEST(a_small_answer_waits_for_a_run_of_each_at_most)
{
	static struct peer p;

	peer_asks(&p, 4);
	widen(&p, 1 << 20);
	for (unsigned i = 0; i < 4; i++)
		answer(&p, i, 200, i < 3 ? 700000 : 100);
	talk(&p);
	for (unsigned i = 0; i < p.turns_count && i < 3 * H2_RUN_FRAMES + 1; i++)
		if (p.turns[i] == p.slots[3].id)
			p.slots[3].most = 1;
	check_eq(p.slots[3].most, 1);
	peer_end(&p);
}

TEST(many_streams_take_turns_by_frames)
{
	static struct peer p;

	peer_asks(&p, H2_RUN_STREAMS_MAX + 1);
	widen(&p, 1 << 20);
	for (unsigned i = 0; i < p.count; i++)
		answer(&p, i, 200, 40000);
	talk(&p);
	for (unsigned i = 0; i < p.count; i++)
		check_eq(p.bytes[i], 40000);
	for (unsigned i = 1; i < p.count; i++)
		check(p.turns[i] != p.turns[i - 1]);
	peer_end(&p);
}

TEST(a_run_is_as_long_as_window_and_body_allow)
{
	static const size_t mosts[] = { 1, 1000, 16384, 16385, 40000, 65536 };
	static const int32_t windows[] = { 20000, 40000, 65535, 1 << 20 };

	for (unsigned i = 0; i < countof(mosts); i++)
		for (unsigned j = 0; j < countof(windows); j++) {
			static struct peer p;

			peer_asks(&p, 3);
			widen(&p, windows[j]);
			for (unsigned k = 0; k < 3; k++) {
				p.slots[k].most = mosts[i];
				answer(&p, k, 200,
				       mosts[i] * 300 < 300000 ? mosts[i] * 300 : 300000);
			}
			for (unsigned k = 0;
			     k < 3000 && !(p.complete[0] && p.complete[1] && p.complete[2]); k++) {
				check_eq(say(&p, SIZE_MAX), 0);
				check(hear(&p, H2_ROOM_MIN + k * 37 % 70000) >= 0);
			}
			for (unsigned k = 0; k < 3; k++)
				check(p.complete[k]);
			peer_end(&p);
		}
}

TEST(a_client_may_order_its_own)
{
	static struct peer p;

	peer_start(&p);
	ask(&p, "GET", "/", "priority", "u=5");
	ask(&p, "GET", "/", "priority", "u=1");
	check_eq(say(&p, SIZE_MAX), 0);
	answer(&p, 0, 200, 20000);
	answer(&p, 1, 200, 20000);
	talk(&p);
	check_eq(p.turns[0], 3);
	check_eq(p.turns[1], 3);
	check_eq(p.turns[p.turns_count - 1], 1);
	peer_end(&p);
}

TEST(a_body_that_waits_goes_on)
{
	static struct peer p;

	peer_asks(&p, 1);
	p.slots[0].waits = true;
	answer(&p, 0, 200, 10);
	talk(&p);
	check_eq(p.status[0], 200);
	check_eq(p.bytes[0], 0);
	p.slots[0].waits = false;
	talk(&p);
	check_eq(p.bytes[0], 0); /* not asked again until it says so */
	h2_resume(p.h, 1);
	h2_resume(p.h, 1);
	talk(&p);
	check_eq(p.bytes[0], 10);
	check(p.complete[0]);
	h2_resume(p.h, 1); /* of a stream that is over */
	peer_end(&p);
}

TEST(a_broken_body_is_never_complete)
{
	static struct peer p;

	peer_asks(&p, 1);
	answer(&p, 0, 200, 10);
	p.slots[0].broken = true;
	check(hear(&p, 64 * 1024) > 0);
	check_eq(hear(&p, 64 * 1024), 0);
	check_eq(p.status[0], 200);
	check(!p.complete[0]);
	peer_end(&p);
}

TEST(the_window_of_the_peer_is_obeyed)
{
	static struct peer p;

	peer_start(&p);
	nghttp2_session_set_local_window_size(p.client, 0, 0, 1000000);
	ask(&p, "GET", "/", NULL, NULL);
	check_eq(say(&p, SIZE_MAX), 0);
	answer(&p, 0, 200, 200000);
	for (unsigned i = 0; i < 20; i++) /* the client's updates are not said */
		(void)hear(&p, 64 * 1024);
	check_eq(p.bytes[0], 65535);
	check(h2_is_blocked(p.h, 1));
	talk(&p);
	check_eq(p.bytes[0], 200000);
	peer_end(&p);
}

TEST(little_room_is_enough)
{
	static struct peer p;

	peer_asks(&p, 1);
	answer(&p, 0, 200, 5000);
	for (unsigned i = 0; i < 100 && !p.complete[0]; i++)
		check(hear(&p, H2_ROOM_MIN) <= H2_ROOM_MIN);
	check_eq(p.bytes[0], 5000);
	peer_end(&p);
}

TEST(a_head_longer_than_the_room_is_kept)
{
	static struct peer p;
	static char long_value[3000];
	const struct field fields[] = { { SLICE("X-Long"), { long_value, sizeof(long_value) } } };

	memset(long_value, 'v', sizeof(long_value));
	peer_asks(&p, 1);
	p.slots[0].left = 100;
	check_eq(h2_answer(p.h, 1, 200, fields, 1, true), 0);
	for (unsigned i = 0; i < 100 && !p.complete[0]; i++)
		check(hear(&p, H2_ROOM_MIN) >= 0);
	check(p.complete[0]);
	check_eq(p.bytes[0], 100);
	check(strstr(p.names, "x-long=vvvvvvvv") != NULL);
	peer_end(&p);
}

TEST(a_body_of_a_request_is_dropped_and_not_wanted)
{
	static struct peer p;

	peer_start(&p);
	ask(&p, "POST", "/", NULL, NULL);
	check_eq(say(&p, SIZE_MAX), 0);
	check(p.slots[0].body != BODY_NONE);
	answer(&p, 0, 405, 10);
	talk(&p);
	check_eq(p.status[0], 405);
	check(p.complete[0]);
	check_eq(p.reset[0], NGHTTP2_NO_ERROR + 1);
	check_eq(p.slots[0].ended, 1);
	/* The connection has its window back: ten more such bodies are no trouble. */
	for (unsigned i = 1; i < 10; i++) {
		ask(&p, "POST", "/", NULL, NULL);
		talk(&p);
		answer(&p, i, 405, 10);
		talk(&p);
		check(p.complete[i]);
	}
	peer_end(&p);
}

TEST(one_too_many_is_refused_and_the_rest_goes_on)
{
	static struct peer p;

	peer_start(&p);
	p.refuse_from = 2;
	for (unsigned i = 0; i < 3; i++)
		ask(&p, "GET", "/", NULL, NULL);
	talk(&p);
	check_eq(p.reset[2], NGHTTP2_REFUSED_STREAM + 1);
	answer(&p, 0, 200, 5);
	answer(&p, 1, 200, 5);
	talk(&p);
	check(p.complete[0] && p.complete[1]);
	peer_end(&p);
}

TEST(a_reset_ends_a_stream_once)
{
	static struct peer p;

	peer_start(&p);
	ask(&p, "GET", "/", NULL, NULL);
	ask(&p, "GET", "/", NULL, NULL);
	talk(&p);
	nghttp2_submit_rst_stream(p.client, 0, 1, NGHTTP2_CANCEL);
	talk(&p);
	check_eq(p.slots[0].ended, 1);
	check_eq(p.slots[1].ended, 0);
	answer(&p, 1, 200, 100000);
	h2_reset(p.h, 3);
	talk(&p);
	check_eq(p.slots[1].ended, 1);
	check(!p.complete[1]);
	check_eq(p.reset[1], NGHTTP2_CANCEL + 1);
	peer_end(&p);
}

TEST(going_away_lets_streams_finish)
{
	static struct peer p;

	peer_start(&p);
	ask(&p, "GET", "/", NULL, NULL);
	talk(&p);
	h2_goaway(p.h, false);
	talk(&p);
	check_eq(p.goaway, NGHTTP2_NO_ERROR + 1);
	check_eq(p.goaway_last, 1);
	check(!h2_is_over(p.h));
	answer(&p, 0, 200, 100000);
	talk(&p);
	check_eq(p.bytes[0], 100000);
	check(p.complete[0]);
	check(h2_is_over(p.h));
	peer_end(&p);
}

TEST(cancelling_without_end_is_calmed)
{
	static struct peer p;
	unsigned n = 0;

	peer_start(&p);
	for (; n < SLOTS - 1 && !h2_calmed(p.h); n++) {
		ask(&p, "GET", "/", NULL, NULL);
		talk(&p);
		nghttp2_submit_rst_stream(p.client, 0, (int32_t)(2 * n + 1), NGHTTP2_CANCEL);
		talk(&p);
	}
	check_eq(n, 2 * H2_STREAMS_MAX + 1);
	check_eq(p.goaway, NGHTTP2_ENHANCE_YOUR_CALM + 1);
	check(h2_is_over(p.h));
	peer_end(&p);

	/* At a rate that a person may have, never. */
	peer_start(&p);
	for (n = 0; n < SLOTS - 1; n++) {
		ask(&p, "GET", "/", NULL, NULL);
		talk(&p);
		nghttp2_submit_rst_stream(p.client, 0, (int32_t)(2 * n + 1), NGHTTP2_CANCEL);
		p.now_ms += 100;
		talk(&p);
	}
	check(!h2_calmed(p.h));
	peer_end(&p);
}

/* ---- by hand ---- */

static size_t frame(char *at, size_t len, uint8_t type, uint8_t flags, uint32_t id,
		    const char *payload)
{
	const uint8_t head[9] = {
		(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
		(uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id
	};

	memcpy(at, head, 9);
	if (payload)
		memcpy(at + 9, payload, len);
	else
		memset(at + 9, 0, len);
	return 9 + len;
}

/* The preface, SETTINGS, and then the same frame <times>; true: the codec asked for calm. */
static bool flood(unsigned times, uint64_t every_ms, size_t len, uint8_t type, uint8_t flags,
		  uint32_t id, const char *payload, const char *before, size_t before_len)
{
	static struct peer p;
	static char text[20000];
	size_t n;
	bool calmed;

	peer_start(&p);
	memcpy(text, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
	n = NGHTTP2_CLIENT_MAGIC_LEN;
	n += frame(text + n, 0, NGHTTP2_SETTINGS, 0, 0, NULL);
	memcpy(text + n, before, before_len);
	check_eq(h2_feed(p.h, (struct slice){ text, n + before_len }, p.now_ms), 0);
	for (unsigned i = 0; i < times; i++) {
		n = frame(text, len, type, flags, id, payload);
		if (h2_feed(p.h, (struct slice){ text, n }, p.now_ms) < 0)
			break;
		while (h2_make(p.h, p.out, 4096) > 0)
			;
		p.now_ms += every_ms;
	}
	calmed = h2_calmed(p.h) != NULL;
	if (calmed)
		check(h2_is_over(p.h));
	peer_end(&p);
	return calmed;
}

TEST(floods_are_calmed)
{
	/* :method GET, :path /, :scheme https, :authority "m", by HPACK's static table. */
	static const char fields[] = "\x82\x84\x87\x41\x01m";
	char head[64];
	size_t open = frame(head, 6, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, fields);

	check(flood(600, 0, 8, NGHTTP2_PING, 0, 0, NULL, "", 0));
	check(!flood(600, 100, 8, NGHTTP2_PING, 0, 0, NULL, "", 0));
	check(flood(600, 0, 0, NGHTTP2_SETTINGS, 0, 0, NULL, "", 0));
	check(flood(600, 0, 5, NGHTTP2_PRIORITY, 0, 5, NULL, "", 0));
	check(flood(600, 0, 0, NGHTTP2_DATA, 0, 1, NULL, head, open));
	check(flood(2000, 0, 4, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", "", 0));
	check(!flood(900, 0, 4, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", "", 0));
}

TEST(heads_without_end_are_calmed)
{
	char head[64];
	/* A field of 4,000 bytes, by hand: literal, to be kept, "a". */
	char block[4100] = "\x82\x84\x87\x41\x01m\x40\x01"
			   "a\x7f\xa1\x1e"; /* length 127 + 3873 */
	char repeat[200];
	char *both = malloc(sizeof(block) + sizeof(repeat) + 64);
	size_t open = frame(head, 3, NGHTTP2_HEADERS, 0, 1, "\x82\x84\x87"), n;

	memset(block + 12, 'x', 4000);
	memset(repeat, '\xbe', sizeof(repeat)); /* the newest entry of the table, again and again */
	check(flood(7, 0, 0, NGHTTP2_CONTINUATION, 0, 1, NULL, head, open));
	check(!flood(6, 0, 0, NGHTTP2_CONTINUATION, 0, 1, NULL, head, open));
	n = frame(both, 4012, NGHTTP2_HEADERS, 0, 1, block);
	check(flood(1, 0, sizeof(repeat), NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, repeat,
		    both, n));
	check(!flood(1, 0, 8, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, repeat, both, n));
	free(both);
}

/* However the bytes of a head in several frames come, it is one request. */
TEST(frames_of_a_head_may_come_in_pieces)
{
	char text[128];
	size_t n = NGHTTP2_CLIENT_MAGIC_LEN;

	memcpy(text, NGHTTP2_CLIENT_MAGIC, n);
	n += frame(text + n, 0, NGHTTP2_SETTINGS, 0, 0, NULL);
	n += frame(text + n, 3, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, "\x82\x84\x87");
	n += frame(text + n, 3, NGHTTP2_CONTINUATION, 0, 1, "\x41\x01m");
	n += frame(text + n, 5, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1,
		   "\x40\x01"
		   "a\x01"
		   "b");
	n += frame(text + n, 8, NGHTTP2_PING, 0, 0, "12345678");
	for (size_t step = 1; step <= n; step++) {
		static struct peer p;

		memset(&p, 0, sizeof(p));
		p.h = h2_new(&ops, &p);
		require(p.h);
		for (size_t at = 0; at < n; at += step)
			check_eq(h2_feed(p.h,
					 (struct slice){ text + at, n - at < step ? n - at : step },
					 1),
				 0);
		check_eq(p.count, 1);
		h2_free(p.h);
	}
}

TEST(what_is_not_http_2_ends_the_connection)
{
	static struct peer p;

	peer_start(&p);
	check(h2_feed(p.h, SLICE("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 1) < 0);
	peer_end(&p);

	/* A frame that is too long: GOAWAY with FRAME_SIZE_ERROR. */
	peer_start(&p);
	check_eq(say(&p, SIZE_MAX), 0);
	check_eq(h2_feed(p.h, SLICE("\xff\xff\xff\0\0\0\0\0\1"), 1), 0);
	(void)hear(&p, 4096);
	check_eq(p.goaway, NGHTTP2_FRAME_SIZE_ERROR + 1);
	check(h2_is_over(p.h));
	peer_end(&p);
}

TEST(a_peer_that_reads_nothing_is_not_read)
{
	static struct peer p;
	char ping[32];
	size_t n = frame(ping, 8, NGHTTP2_PING, 0, 0, NULL);
	unsigned i = 0;

	peer_start(&p);
	check_eq(say(&p, SIZE_MAX), 0);
	for (; i < 1000 && !h2_is_full(p.h); i++)
		check_eq(h2_feed(p.h, (struct slice){ ping, n }, p.now_ms), 0);
	check(i > H2_QUEUE_MAX / 2 && i <= H2_QUEUE_MAX + 1);
	peer_end(&p);
}
