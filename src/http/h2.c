/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * nghttp2 does frames, HPACK, flow control and the states of streams.  Here: heads, bodies without
 * a copy between, and what a peer may do for nothing.
 *
 * A DATA frame is made in two calls of nghttp2's that follow each other: data_read(), where the
 * body is read to where it will stand in the output, and data_send(), which puts the frame's header
 * before it.  A run is several frames of one stream, read by the first data_read(); until its last
 * frame is out, other streams are put off.
 */
#include "http/h2.h"

#include <errno.h>
#include <limits.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/units.h"
#include "http/indexed.h"

enum {
	FRAME_HEAD = 9,
	FRAME_BYTES = 16 * 1024, /* that every peer takes (RFC 9113 4.2), and nghttp2 makes */
	HEAD_AROUND = 64,        /* around the words of its first two lines */
	HEAD_FIRST = 512,        /* of memory for a head; more as it comes */
	/*
	 * What a head may make HPACK unpack (one byte may stand for 4 KB) before the connection
	 * ends; what is more than HTTP_HEAD_MAX is answered by 431.
	 */
	HEAD_UNPACKED_MAX = 4 * HTTP_HEAD_MAX,
	/* A head of 48 KB is three frames of 16 KB; nghttp2 itself gives up, wordless, at 9. */
	CONTINUATIONS_MAX = 6,
	/* Answers have the same five fields or so; a table for 4 KB would not help more. */
	DEFLATE_TABLE_BYTES = 1024,
	ANSWER_FIELDS_MAX = HTTP_FIELDS_MAX + 32,
	SHORT_BODY_BYTES = 16 * 1024,
	/*
	 * Window updates are not noise as long as bodies are sent: Go sends two for each 4 KB that
	 * its user reads.
	 */
	UPDATES_FIRST = 1000,
	UPDATES_PER_DATA = 16,
};

/* So many at once, and so many a second from then on. */
struct bucket {
	uint32_t burst;
	uint32_t per_s;
	uint32_t spent;
	uint64_t at_ms;
};

enum head_state { HEAD_NONE, HEAD_REQUEST, HEAD_TRAILERS };

struct h2 {
	nghttp2_session *session;
	const struct h2_ops *ops;
	void *owner;
	uint64_t now_ms;
	const char *calmed;
	struct list blocks; /* nghttp2's */
	bool starved;       /* it was refused one */

	/* What comes, frame by frame: see h2_feed(). */
	size_t frame_left;
	uint8_t frame_head[FRAME_HEAD];
	size_t frame_head_len;

	/* The head that is being received: its pseudo fields' values, then the fields' lines. */
	enum head_state head_state;
	char *head;
	size_t head_cap;
	size_t head_len;
	size_t lines_at;
	size_t unpacked;
	unsigned continuations;
	struct span {
		size_t at, len;
	} method, path, authority;
	bool head_long;
	bool head_bad;

	/* Floods. */
	struct bucket resets; /* streams that one side or the other ended early */
	struct bucket noise;  /* frames that move nothing */
	uint64_t updates;
	uint64_t datas;

	struct indexed indexed;

	/* A run: bytes whose frames are not made yet; the first ones stand behind the next head. */
	size_t run_left;
	int32_t run_id;
	bool run_end; /* the body's last ones are among them */
	bool broken;  /* a body is */
	struct turns turns;
	unsigned streams;

	/* The output of h2_make(). */
	char *out;
	size_t out_len;
	size_t out_room;
	struct slice rest; /* nghttp2's, until it is asked again */
};

/* ---- memory ---- */

/*
 * What nghttp2 has is a list of blocks, wiped when they go: HPACK's tables and heads hold
 * credentials.  The connection's end frees the list and does not ask nghttp2 to undo anything; and
 * once memory has run out it is not asked for anything at all: 1.52 would free an item twice, that
 * it could not queue.
 */
struct block {
	struct list node;
	size_t bytes;
	size_t pad; /* malloc's alignment */
};

static void block_free(struct block *b)
{
	list_remove(&b->node);
	explicit_bzero(b, sizeof(*b) + b->bytes);
	free(b);
}

static void mem_free(void *p, void *user)
{
	(void)user;
	if (p)
		block_free((struct block *)p - 1);
}

static void *mem_malloc(size_t n, void *user)
{
	struct h2 *h = user;
	struct block *b = n > SIZE_MAX / 2 ? NULL : malloc(sizeof(*b) + n);

	if (!b) {
		h->starved = true;
		return NULL;
	}
	list_init(&b->node);
	list_push(&h->blocks, &b->node);
	b->bytes = n;
	return b + 1;
}

static void *mem_calloc(size_t count, size_t n, void *user)
{
	size_t bytes = n && count > SIZE_MAX / n ? SIZE_MAX : count * n; /* too many to be had */
	void *p = mem_malloc(bytes, user);

	return p ? memset(p, 0, bytes) : NULL;
}

static void *mem_realloc(void *p, size_t n, void *user)
{
	struct block *b = p ? (struct block *)p - 1 : NULL;
	void *q = mem_malloc(n, user);

	if (q && b)
		memcpy(q, p, b->bytes < n ? b->bytes : n);
	if (q)
		mem_free(p, user);
	return q;
}

/* ---- floods ---- */

static bool bucket_spend(struct bucket *b, uint64_t now_ms)
{
	uint64_t back = (now_ms - b->at_ms) * b->per_s / 1000;

	if (back > 0) {
		b->spent = back < b->spent ? b->spent - (uint32_t)back : 0;
		b->at_ms = now_ms;
	}
	return b->spent++ < b->burst;
}

static cold void calm(struct h2 *h, const char *why)
{
	if (h->calmed)
		return;
	h->calmed = why;
	nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void note_reset(struct h2 *h)
{
	if (!bucket_spend(&h->resets, h->now_ms))
		calm(h, "too many streams were reset");
}

static void note_noise(struct h2 *h)
{
	if (!bucket_spend(&h->noise, h->now_ms))
		calm(h, "too many frames that move nothing");
}

/* ---- a request's head ---- */

static void head_drop(struct h2 *h)
{
	mem_free(h->head, NULL);
	h->head = NULL;
	h->head_cap = h->head_len = h->lines_at = 0;
	h->head_state = HEAD_NONE;
}

static void head_begin(struct h2 *h)
{
	head_drop(h);
	h->head_state = HEAD_REQUEST;
	h->unpacked = 0;
	h->continuations = 0;
	h->method = h->path = h->authority = (struct span){ 0, 0 };
	h->head_long = h->head_bad = false;
}

/* Room for <n> bytes more; false: no memory. */
static bool head_grow(struct h2 *h, size_t n)
{
	size_t cap = h->head_cap ? h->head_cap : HEAD_FIRST;
	char *mem;

	while (cap < h->head_len + n)
		cap *= 2;
	if (cap == h->head_cap)
		return true;
	mem = mem_realloc(h->head, cap, h);
	if (!mem)
		return false;
	h->head = mem;
	h->head_cap = cap;
	return true;
}

static void head_put(struct h2 *h, struct slice s)
{
	assert(h->head_cap - h->head_len >= s.len);
	if (s.len)
		memcpy(h->head + h->head_len, s.ptr, s.len);
	h->head_len += s.len;
}

static struct slice head_span(const struct h2 *h, struct span s)
{
	return (struct slice){ h->head + s.at, s.len };
}

static void head_pseudo(struct h2 *h, struct slice name, struct slice value)
{
	struct span here = { h->head_len, value.len };

	if (slice_eq(name, SLICE(":method")))
		h->method = here;
	else if (slice_eq(name, SLICE(":path")))
		h->path = here;
	else if (slice_eq(name, SLICE(":authority")))
		h->authority = here;
	else
		return; /* :scheme: the listener knows better */
	head_put(h, value);
	h->lines_at = h->head_len;
}

/* Eight bytes at once: is one of them a space or less?  (Or above 127, now and then.) */
static bool has_low(const char *at)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return ((v - 0x21 * ones) & ~v & 0x80 * ones) != 0;
}

/* Nothing may become a line or a word of its own where the parser will find it. */
static bool has_break(struct slice s, bool words)
{
	static const uint8_t breaks[256] = { [0] = 1, ['\r'] = 1, ['\n'] = 1, [' '] = 2 };
	bool low = s.len < 8;
	uint8_t found = 0;

	for (size_t i = 0; i + 8 < s.len; i += 8)
		low |= has_low(s.ptr + i);
	if (!low && !has_low(s.ptr + s.len - 8))
		return false;
	for (size_t i = 0; i < s.len; i++)
		found |= breaks[(unsigned char)s.ptr[i]];
	return (found & (words ? 3 : 1)) != 0;
}

static void head_line(struct h2 *h, struct slice name, struct slice value)
{
	/* A client that gives both says the same twice (RFC 9113 8.3.1), or is refused for two. */
	if (slice_eq(name, SLICE("host")) && h->authority.len &&
	    slice_ieq(value, head_span(h, h->authority)))
		return;
	head_put(h, name);
	head_put(h, SLICE(": "));
	head_put(h, value);
	head_put(h, SLICE("\r\n"));
}

static int head_field(struct h2 *h, struct slice name, struct slice value)
{
	bool pseudo = name.len > 0 && name.ptr[0] == ':';

	if (h->head_long || h->unpacked + HEAD_AROUND > HTTP_HEAD_MAX) {
		h->head_long = true;
		return 0;
	}
	if (has_break(name, true) || has_break(value, pseudo)) {
		h->head_bad = true;
		return 0;
	}
	if (!head_grow(h, name.len + value.len + 4))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (pseudo)
		head_pseudo(h, name, value);
	else
		head_line(h, name, value);
	return 0;
}

/* The whole of it, as HTTP/1.1 has it, behind its pieces; none: no memory. */
static struct slice head_text(struct h2 *h)
{
	size_t end = h->head_len;

	if (!head_grow(h, end + HEAD_AROUND))
		return SLICE_NONE;
	head_put(h, head_span(h, h->method));
	head_put(h, SLICE(" "));
	head_put(h, head_span(h, h->path));
	head_put(h, SLICE(" HTTP/1.1\r\n"));
	if (h->authority.len) {
		head_put(h, SLICE("Host: "));
		head_put(h, head_span(h, h->authority));
		head_put(h, SLICE("\r\n"));
	}
	head_put(h, (struct slice){ h->head + h->lines_at, end - h->lines_at });
	head_put(h, SLICE("\r\n"));
	return (struct slice){ h->head + end, h->head_len - end };
}

/* The stream's name, or NULL. */
static void *head_judge(struct h2 *h, int32_t id, bool has_body)
{
	static const struct h1_error too_long = { 431, "the request's head is too long" };
	static const struct h1_error bad = { 400, "forbidden byte in the request's head" };
	struct h1_error e = bad;
	struct slice text;
	struct msg m;
	size_t used;

	if (h->head_long)
		return h->ops->refuse(h->owner, id, &too_long);
	if (h->head_bad)
		return h->ops->refuse(h->owner, id, &bad);
	text = head_text(h);
	if (!text.ptr)
		return NULL;
	if (h1_parse_request(text, &m, &used, &e) != H1_DONE || used != text.len)
		return h->ops->refuse(h->owner, id, &e);
	m.major = 2;
	m.minor = 0;
	if (!has_body)
		m.body = BODY_NONE;
	else if (m.body == BODY_NONE)
		m.body = BODY_UNTIL_CLOSE;
	return h->ops->request(h->owner, id, &m);
}

static void head_end(struct h2 *h, int32_t id, bool has_body)
{
	void *stream = head_judge(h, id, has_body);

	head_drop(h);
	h->streams += stream != NULL;
	if (stream)
		nghttp2_session_set_stream_user_data(h->session, id, stream);
	else
		nghttp2_submit_rst_stream(h->session, 0, id, NGHTTP2_REFUSED_STREAM);
}

/* ---- what nghttp2 calls while bytes come in ---- */

static int on_begin_frame(nghttp2_session *s, const nghttp2_frame_hd *hd, void *user)
{
	struct h2 *h = user;

	(void)s;
	switch (hd->type) {
	case NGHTTP2_DATA:
		if (hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM))
			note_noise(h);
		break;
	case NGHTTP2_HEADERS: break;
	case NGHTTP2_RST_STREAM: note_reset(h); break;
	case NGHTTP2_WINDOW_UPDATE:
		if (++h->updates > UPDATES_FIRST + UPDATES_PER_DATA * h->datas)
			note_noise(h);
		break;
	case NGHTTP2_CONTINUATION:
		if (++h->continuations > CONTINUATIONS_MAX)
			calm(h, "a head of too many frames");
		break;
	default: note_noise(h); break;
	}
	return 0;
}

static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
	/* Without a wish of the client, streams share the connection by turns. */
	const nghttp2_extpri in_turn = { .urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1 };
	struct h2 *h = user;

	head_begin(h);
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		h->head_state = HEAD_TRAILERS;
		return 0;
	}
	(void)nghttp2_session_change_extpri_stream_priority(s, frame->hd.stream_id, &in_turn, 0);
	return 0;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *user)
{
	struct h2 *h = user;

	(void)s, (void)frame, (void)flags;
	if (h->calmed)
		return 0;
	h->unpacked += name_len + value_len + 4;
	if (h->unpacked > HEAD_UNPACKED_MAX) {
		calm(h, "a head unpacks to too much");
		return 0;
	}
	if (h->head_state == HEAD_TRAILERS) /* of a body that nobody reads */
		return 0;
	return head_field(h, (struct slice){ (const char *)name, name_len },
			  (struct slice){ (const char *)value, value_len });
}

/* nghttp2 would leave it out; HTTP/1.1 refuses. */
static int on_invalid_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
			     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
			     void *user)
{
	struct h2 *h = user;

	(void)s, (void)frame, (void)name, (void)name_len, (void)value, (void)value_len, (void)flags;
	h->head_bad = true;
	return 0;
}

static void give_data(nghttp2_session *s, struct h2 *h, int32_t id, struct slice piece, bool end)
{
	void *stream = nghttp2_session_get_stream_user_data(s, id);

	if (stream && h->ops->data && !h->calmed)
		h->ops->data(stream, piece, end);
}

static int on_frame_recv(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
	bool trailers = frame->hd.type == NGHTTP2_HEADERS &&
			frame->headers.cat == NGHTTP2_HCAT_HEADERS;
	struct h2 *h = user;

	if ((frame->hd.type == NGHTTP2_DATA || trailers) &&
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		give_data(s, h, frame->hd.stream_id, SLICE_NONE, true);
	if (frame->hd.type != NGHTTP2_HEADERS || h->head_state == HEAD_NONE)
		return 0;
	if (h->head_state == HEAD_TRAILERS || h->calmed)
		head_drop(h);
	else
		head_end(h, frame->hd.stream_id, !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM));
	return 0;
}

/* The stream is reset by nghttp2, or the connection ended: its head is of no use. */
static int on_invalid_frame(nghttp2_session *s, const nghttp2_frame *frame, int err, void *user)
{
	(void)s, (void)err;
	if (frame->hd.type == NGHTTP2_HEADERS)
		head_drop(user);
	return 0;
}

/*
 * The stream gets more window by h2_used() alone, the connection at once: one whose body waits
 * stands in no other's way.  Behind the answer it is stopped (RFC 9113 8.1), if it does not end by
 * itself at once: curl 7 takes a stop ill.
 */
static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
		   void *user)
{
	give_data(s, user, id, (struct slice){ (const char *)data, len }, false);
	if (!(flags & NGHTTP2_FLAG_END_STREAM) &&
	    nghttp2_session_get_stream_local_close(s, id) == 1)
		(void)nghttp2_submit_rst_stream(s, 0, id, NGHTTP2_NO_ERROR);
	return nghttp2_session_consume_connection(s, len);
}

static void stream_over(nghttp2_session *s, struct h2 *h, int32_t id)
{
	void *stream = nghttp2_session_get_stream_user_data(s, id);

	if (!stream)
		return;
	nghttp2_session_set_stream_user_data(s, id, NULL);
	h->streams--;
	turns_forget(&h->turns, id);
	h->ops->ended(stream);
}

/* The answer is out; is there much more of the request? */
static void answered(nghttp2_session *s, struct h2 *h, int32_t id)
{
	stream_over(s, h, id);
	if (nghttp2_session_get_stream_remote_close(s, id) == 0 &&
	    nghttp2_session_get_stream_effective_recv_data_length(s, id) > SHORT_BODY_BYTES)
		(void)nghttp2_submit_rst_stream(s, 0, id, NGHTTP2_NO_ERROR);
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
	(void)code;
	stream_over(s, user, id);
	return 0;
}

/* ---- what nghttp2 calls while output is made ---- */

/* What we end early counts as the peer's doing: mostly it is (malformed, too many at once). */
static int on_frame_send(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
	switch (frame->hd.type) {
	case NGHTTP2_RST_STREAM:
		if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
			note_reset(user);
		break;
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
			answered(s, user, frame->hd.stream_id);
		break;
	default: break;
	}
	return 0;
}

/* How much of a body may be sent now, whatever frames it is in. */
static size_t window_of(nghttp2_session *s, int32_t id)
{
	int32_t ours = nghttp2_session_get_stream_remote_window_size(s, id);
	int32_t all = nghttp2_session_get_remote_window_size(s);
	int32_t least = ours < all ? ours : all;

	return least > 0 ? (size_t)least : 0;
}

/* Where the payloads of the next frames will stand, the first of <first> bytes at most. */
static unsigned lay_out(const struct h2 *h, int32_t id, size_t first, struct iovec *to)
{
	size_t at = h->out_len + FRAME_HEAD;
	size_t window = 0;
	unsigned count = 0;

	assert(h->out_room > at);
	if (first == FRAME_BYTES && h->streams <= H2_RUN_STREAMS_MAX)
		window = window_of(h->session, id);
	do {
		size_t n = count == 0 ? first : FRAME_BYTES;

		if (count > 0 && n > window)
			n = window;
		if (n > h->out_room - at)
			n = h->out_room - at;
		to[count++] = (struct iovec){ h->out + at, n };
		window -= n < window ? n : window;
		at += n + FRAME_HEAD;
	} while (count < H2_RUN_FRAMES && to[count - 1].iov_len == FRAME_BYTES &&
		 window >= H2_ROOM_MIN && h->out_room >= at + H2_ROOM_MIN);
	return count;
}

/* 0, or what nghttp2 is to be told. */
static int run_begin(struct h2 *h, int32_t id, void *stream, size_t cap)
{
	struct iovec to[H2_RUN_FRAMES];
	unsigned count = lay_out(h, id, cap, to);
	int n;

	h->run_end = false;
	n = h->ops->body(stream, to, count, &h->run_end);
	if (n > 0 && h->streams <= H2_RUN_STREAMS_MAX)
		turns_took(&h->turns, id, (uint32_t)n);
	else
		turns_leave(&h->turns);
	h->broken = n == H2_BROKEN;
	if (h->broken)
		return NGHTTP2_ERR_PAUSE;
	if (n == H2_WAIT && !h->run_end)
		return NGHTTP2_ERR_DEFERRED;
	h->run_left = (size_t)n;
	h->run_id = id;
	return 0;
}

static void turn_over(struct h2 *h)
{
	int32_t next = turns_next(&h->turns);

	if (next)
		(void)nghttp2_session_resume_data(h->session, next);
}

static ssize_t data_read(nghttp2_session *s, int32_t id, uint8_t *buf, size_t cap, uint32_t *flags,
			 nghttp2_data_source *source, void *user)
{
	struct h2 *h = user;
	size_t n;
	int err;

	(void)s, (void)buf;
	if (!turns_may(&h->turns, id))
		return NGHTTP2_ERR_DEFERRED;
	if (h->run_left == 0) {
		err = run_begin(h, id, source->ptr, cap);
		if (err)
			return err;
	}
	n = h->run_left < FRAME_BYTES ? h->run_left : (size_t)FRAME_BYTES;
	/* Bytes of a run are its stream's alone; the windows were asked for. */
	if (h->run_id != id || n > cap)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	h->run_left -= n;
	*flags = NGHTTP2_DATA_FLAG_NO_COPY;
	if (h->run_left == 0 && h->run_end)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int data_send(nghttp2_session *s, nghttp2_frame *frame, const uint8_t *head, size_t len,
		     nghttp2_data_source *source, void *user)
{
	struct h2 *h = user;

	(void)s, (void)frame, (void)source;
	assert(frame->data.padlen == 0);
	assert(h->out_room - h->out_len >= FRAME_HEAD + len);
	memcpy(h->out + h->out_len, head, FRAME_HEAD);
	h->out_len += FRAME_HEAD + len;
	h->datas++;
	return NGHTTP2_ERR_PAUSE; /* sent; h2_make() looks for room first */
}

/* ---- beginning and end ---- */

static bool make_session(struct h2 *h, nghttp2_session_callbacks *cb, nghttp2_option *opt)
{
	nghttp2_mem ours = {
		.mem_user_data = h,
		.malloc = mem_malloc,
		.free = mem_free,
		.calloc = mem_calloc,
		.realloc = mem_realloc,
	};

	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_send_data_callback(cb, data_send);
	nghttp2_option_set_no_auto_window_update(opt, 1);
	nghttp2_option_set_no_closed_streams(opt, 1);
	nghttp2_option_set_max_deflate_dynamic_table_size(opt, DEFLATE_TABLE_BYTES);
	nghttp2_option_set_max_outbound_ack(opt, 2 * H2_QUEUE_MAX);
	return nghttp2_session_server_new3(&h->session, cb, h, opt, &ours) == 0;
}

static bool submit_settings(struct h2 *h)
{
	const nghttp2_settings_entry ours[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_MAX },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
	};

	return nghttp2_submit_settings(h->session, 0, ours, countof(ours)) == 0;
}

struct h2 *h2_new(const struct h2_ops *ops, void *owner)
{
	struct h2 *h = calloc(1, sizeof(*h));
	nghttp2_session_callbacks *cb = NULL;
	nghttp2_option *opt = NULL;
	bool ok;

	if (!h)
		return NULL;
	h->ops = ops;
	h->owner = owner;
	list_init(&h->blocks);
	h->frame_left = NGHTTP2_CLIENT_MAGIC_LEN;
	/* A client that cancels all that it asked for does so H2_STREAMS_MAX times at once. */
	h->resets = (struct bucket){ .burst = 2 * H2_STREAMS_MAX, .per_s = 20 };
	h->noise = (struct bucket){ .burst = 500, .per_s = 50 };
	ok = nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&opt) == 0 &&
	     make_session(h, cb, opt) && submit_settings(h);
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	if (ok)
		return h;
	h2_free(h);
	return NULL;
}

void h2_free(struct h2 *h)
{
	if (!h)
		return;
	while (!list_empty(&h->blocks))
		block_free(container_of(h->blocks.next, struct block, node));
	free(h);
}

/* ---- in ---- */

static int feed(struct h2 *h, const void *mem, size_t len)
{
	ssize_t n;

	n = nghttp2_session_mem_recv(h->session, mem, len);
	if (h->starved)
		return -ENOMEM;
	return n == (ssize_t)len ? 0 : -EPROTO;
}

static size_t frame_length(const void *head)
{
	const uint8_t *b = head;

	return (size_t)b[0] << 16 | (size_t)b[1] << 8 | b[2];
}

/* How much of <in> ends with a frame's head or in a payload. */
static size_t take_frames(struct h2 *h, struct slice in)
{
	size_t at = 0;

	for (;;) {
		size_t n = h->frame_left < in.len - at ? h->frame_left : in.len - at;

		at += n;
		h->frame_left -= n;
		if (in.len - at < FRAME_HEAD)
			return at;
		h->frame_left = frame_length(in.ptr + at);
		at += FRAME_HEAD;
	}
}

/*
 * nghttp2 is given heads of frames whole: it counts a CONTINUATION (8 of a request) again with
 * each part of its head that comes (1.52.0-1+deb12u3).
 */
int h2_feed(struct h2 *h, struct slice in, uint64_t now_ms)
{
	size_t n;
	int err;

	if (h->starved)
		return -ENOMEM;
	h->now_ms = now_ms;
	if (h->frame_head_len > 0) {
		n = FRAME_HEAD - h->frame_head_len < in.len ? FRAME_HEAD - h->frame_head_len
							    : in.len;
		memcpy(h->frame_head + h->frame_head_len, in.ptr, n);
		h->frame_head_len += n;
		in = slice_skip(in, n);
		if (h->frame_head_len < FRAME_HEAD)
			return 0;
		h->frame_head_len = 0;
		h->frame_left = frame_length(h->frame_head);
		err = feed(h, h->frame_head, FRAME_HEAD);
		if (err < 0)
			return err;
	}
	n = take_frames(h, in);
	if (in.len > n)
		memcpy(h->frame_head, in.ptr + n, in.len - n);
	h->frame_head_len = in.len - n;
	return n > 0 ? feed(h, in.ptr, n) : 0;
}

bool h2_in_head(const struct h2 *h)
{
	return h->head_state != HEAD_NONE;
}

bool h2_is_full(const struct h2 *h)
{
	return nghttp2_session_get_outbound_queue_size(h->session) > H2_QUEUE_MAX;
}

/* ---- out ---- */

static nghttp2_nv nv_of(struct slice name, struct slice value, bool index)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name.ptr,
		.value = (uint8_t *)(uintptr_t)value.ptr,
		.namelen = name.len,
		.valuelen = value.len,
		.flags = index ? NGHTTP2_NV_FLAG_NONE : NGHTTP2_NV_FLAG_NO_INDEX,
	};
}

int h2_answer(struct h2 *h, int32_t id, int status, const struct field *fields, unsigned count,
	      bool body)
{
	nghttp2_nv nv[ANSWER_FIELDS_MAX + 1];
	nghttp2_data_provider source = { .read_callback = data_read };
	char text[UNITS_TEXT_MAX];

	if (h->starved)
		return -ENOMEM;
	assert(count <= ANSWER_FIELDS_MAX);
	assert(status >= 200 && status <= 999);
	units_format_uint((uint64_t)status, text);
	nv[0] = nv_of(SLICE(":status"), slice_of(text), true);
	for (unsigned i = 0; i < count; i++)
		nv[i + 1] = nv_of(fields[i].name, fields[i].value,
				  indexed_field(&h->indexed, fields[i].name, fields[i].value));
	source.source.ptr = nghttp2_session_get_stream_user_data(h->session, id);
	return nghttp2_submit_response(h->session, id, nv, count + 1, body ? &source : NULL) == 0
		       ? 0
		       : -ENOMEM;
}

void h2_go_on(struct h2 *h, int32_t id)
{
	const nghttp2_nv nv = nv_of(SLICE(":status"), SLICE("100"), true);

	if (!h->starved)
		(void)nghttp2_submit_headers(h->session, 0, id, NULL, &nv, 1, NULL);
}

void h2_used(struct h2 *h, int32_t id, size_t bytes)
{
	if (!h->starved && bytes > 0)
		(void)nghttp2_session_consume_stream(h->session, id, bytes);
}

void h2_resume(struct h2 *h, int32_t id)
{
	/* What is not deferred goes on anyway. */
	if (!h->starved)
		(void)nghttp2_session_resume_data(h->session, id);
}

bool h2_is_blocked(const struct h2 *h, int32_t id)
{
	return nghttp2_session_get_stream_remote_window_size(h->session, id) <= 0 ||
	       nghttp2_session_get_remote_window_size(h->session) <= 0;
}

void h2_reset(struct h2 *h, int32_t id)
{
	if (!h->starved)
		(void)nghttp2_submit_rst_stream(h->session, 0, id, NGHTTP2_CANCEL);
}

void h2_goaway(struct h2 *h, bool now)
{
	if (h->starved)
		return;
	if (now)
		(void)nghttp2_session_terminate_session(h->session, NGHTTP2_NO_ERROR);
	else
		(void)nghttp2_submit_goaway(h->session, 0,
					    nghttp2_session_get_last_proc_stream_id(h->session),
					    NGHTTP2_NO_ERROR, NULL, 0);
}

void h2_warn(struct h2 *h)
{
	if (!h->starved)
		(void)nghttp2_submit_shutdown_notice(h->session);
}

bool h2_is_over(const struct h2 *h)
{
	return !h->starved && h->rest.len == 0 && !nghttp2_session_want_read(h->session) &&
	       !nghttp2_session_want_write(h->session);
}

const char *h2_calmed(const struct h2 *h)
{
	return h->calmed;
}

static void take_rest(struct h2 *h)
{
	size_t room = h->out_room - h->out_len;
	struct slice now = slice_first(h->rest, room);

	if (now.len)
		memcpy(h->out + h->out_len, now.ptr, now.len);
	h->out_len += now.len;
	h->rest = slice_skip(h->rest, now.len);
}

int h2_make(struct h2 *h, char *out, size_t room)
{
	assert(room >= H2_ROOM_MIN && room <= INT_MAX);
	h->out = out;
	h->out_len = 0;
	h->out_room = room;
	for (;;) {
		const uint8_t *mem;
		size_t before;
		ssize_t n;

		take_rest(h);
		if (h->run_left == 0 && h->turns.over)
			turn_over(h);
		if (h->run_left == 0 && room - h->out_len < H2_ROOM_MIN)
			break;
		before = h->out_len;
		n = h->starved ? -1 : nghttp2_session_mem_send(h->session, &mem);
		if (h->starved)
			return -ENOMEM;
		/* A run goes on: frames of other kinds went before it, and none came since. */
		if (n < 0 || (h->run_left > 0 && (n > 0 || h->out_len == before)))
			return -EPROTO;
		if (n == 0 && h->out_len == before) {
			if (h->broken || !turns_waiting(&h->turns) ||
			    nghttp2_session_get_remote_window_size(h->session) <= 0)
				break;
			/* He waits, or is not to be had: reset, or without a window of his own. */
			turn_over(h);
			continue;
		}
		h->rest = (struct slice){ (const char *)mem, (size_t)n };
	}
	return (int)h->out_len;
}
