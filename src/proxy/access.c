/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/access.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "proxy/tally.h"

/*
 * Text from outside is cut, so that a line has a bound: each byte may become six ("\u00ff"), and
 * what is ours takes less than 1 KB.
 */
enum {
	TARGET_MAX = 2048,
	AGENT_MAX = 512,
	NAME_MAX_BYTES = 256,
	LINE_MAX_BYTES = 6 * (TARGET_MAX + AGENT_MAX + 5 * NAME_MAX_BYTES) + 1024,
};
_Static_assert(2 * LINE_MAX_BYTES <= ACCESS_BUF_BYTES, "a buffer holds lines");

static void access_write(struct access_log *a)
{
	unsigned writing = !a->filling;

	loop_write(a->loop, &a->op, a->fd, a->mem[writing] + a->written,
		   a->len[writing] - a->written, UINT64_MAX);
}

/* The buffer that was filled goes to the kernel, the other one, which is empty, is filled. */
static void access_swap(struct access_log *a)
{
	assert(!op_busy(&a->op));
	assert(a->len[a->filling] > 0);
	a->filling = !a->filling;
	assert(a->len[a->filling] == 0);
	a->written = 0;
	loop_timer_clear(a->loop, &a->timer);
	access_write(a);
}

static void access_arm(struct access_log *a)
{
	if (!timer_armed(&a->timer))
		loop_timer_set(a->loop, &a->timer, loop_now_ms(a->loop) + ACCESS_FLUSH_MS);
}

static cold void access_failed(int err)
{
	log_limited(LOG_ERR, "access log lost lines reason=\"%s\"", err_text(err));
}

static void access_write_done(struct op *op, int res)
{
	struct access_log *a = container_of(op, struct access_log, op);
	unsigned writing = !a->filling;

	if (res > 0)
		a->written += (size_t)res;
	else
		access_failed(res);
	if (res > 0 && a->written < a->len[writing]) {
		access_write(a);
		return;
	}
	a->len[writing] = 0;
	if (a->len[a->filling] > 0)
		access_arm(a);
}

static void access_fired(struct timer *t)
{
	struct access_log *a = container_of(t, struct access_log, timer);

	if (!op_busy(&a->op) && a->len[a->filling] > 0)
		access_swap(a);
}

int access_init(struct access_log *a, struct loop *l, struct stats *st, int fd,
		enum conf_format format)
{
	*a = (struct access_log){ .loop = l, .stats = st, .fd = fd, .format = format };
	op_init(&a->op, &a->inflight, access_write_done);
	timer_init(&a->timer, access_fired);
	if (fd < 0)
		return 0;
	a->mem[0] = malloc(ACCESS_BUF_BYTES);
	a->mem[1] = malloc(ACCESS_BUF_BYTES);
	if (a->mem[0] && a->mem[1])
		return 0;
	access_fini(a);
	return -ENOMEM;
}

static void access_flush(struct access_log *a)
{
	size_t done = 0;

	while (done < a->len[a->filling]) {
		ssize_t n = write(a->fd, a->mem[a->filling] + done, a->len[a->filling] - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			access_failed(-errno);
			return;
		}
		done += (size_t)n;
	}
}

void access_fini(struct access_log *a)
{
	if (!a->loop)
		return;
	assert(!op_busy(&a->op));
	loop_timer_clear(a->loop, &a->timer);
	access_flush(a);
	free(a->mem[0]);
	free(a->mem[1]);
	*a = (struct access_log){ .fd = -1 };
}

/*
 * Nothing from outside can end a line or a quoted value: quotes, backslashes, control bytes and
 * what is not ASCII are escaped.
 */
static void put_escaped(struct buf *b, struct slice s, size_t max, const char *hex)
{
	bool fits = true;

	s = slice_first(s, max);
	for (size_t i = 0; i < s.len; i++) {
		const unsigned char c = (unsigned char)s.ptr[i];

		if (c == '"' || c == '\\')
			fits = fits && buf_printf(b, "\\%c", c);
		else if (c >= ' ' && c < 0x7f)
			fits = fits && buf_append(b, (struct slice){ s.ptr + i, 1 });
		else
			fits = fits && buf_printf(b, "%s%02x", hex, c);
	}
	assert(fits);
}

static void put_text(struct buf *b, const char *text)
{
	bool fits = buf_append(b, slice_of(text));

	assert(fits);
}

static struct tm now_utc(void)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	return tm;
}

static void put_client(struct buf *b, const struct access_line *line)
{
	char text[ADDR_TEXT_MAX];

	if (line->client)
		addr_format_ip(line->client, text);
	put_text(b, line->client ? text : "-");
}

static void put_or_dash(struct buf *b, struct slice s, size_t max)
{
	put_escaped(b, s.len > 0 ? s : SLICE("-"), max, "\\x");
}

/* Apache's combined format; what is ours comes behind it, where tools for it do not look. */
static void put_combined(struct buf *b, const struct access_line *line)
{
	const struct tm tm = now_utc();
	char when[64];
	bool fits;

	(void)strftime(when, sizeof(when), " - - [%d/%b/%Y:%H:%M:%S +0000] \"", &tm);
	put_client(b, line);
	put_text(b, when);
	put_or_dash(b, line->method, NAME_MAX_BYTES);
	put_text(b, " ");
	put_or_dash(b, line->target, TARGET_MAX);
	fits = buf_printf(b, " HTTP/%u.%u\" %d %ju \"-\" \"", line->major, line->minor,
			  line->status, (uintmax_t)line->bytes);
	put_or_dash(b, line->user_agent, AGENT_MAX);
	fits = fits && buf_printf(b, "\" cache=%s ms=%ju end=%s tls=%s host=\"", line->cache,
				  (uintmax_t)line->ms, line->end, line->tls);
	put_or_dash(b, line->host, NAME_MAX_BYTES);
	put_text(b, "\" mirror=\"");
	put_or_dash(b, line->mirror, NAME_MAX_BYTES);
	put_text(b, "\" upstream=\"");
	put_or_dash(b, line->upstream, NAME_MAX_BYTES);
	put_text(b, "\"");
	if (line->tenant.len) {
		put_text(b, " tenant=");
		put_escaped(b, line->tenant, NAME_MAX_BYTES, "\\x");
	}
	if (line->bytes_up)
		fits = fits && buf_printf(b, " up=%ju", (uintmax_t)line->bytes_up);
	put_text(b, "\n");
	assert(fits);
}

static void put_json_text(struct buf *b, const char *key, struct slice s, size_t max)
{
	put_text(b, key);
	put_escaped(b, s, max, "\\u00");
}

/* Keys are binding: people's tools read them. */
static void put_json(struct buf *b, const struct access_line *line)
{
	const struct tm tm = now_utc();
	char when[64];
	bool fits;

	(void)strftime(when, sizeof(when), "{\"time\":\"%Y-%m-%dT%H:%M:%SZ\",\"client\":\"", &tm);
	put_text(b, when);
	put_client(b, line);
	put_json_text(b, "\",\"host\":\"", line->host, NAME_MAX_BYTES);
	put_json_text(b, "\",\"mirror\":\"", line->mirror, NAME_MAX_BYTES);
	if (line->tenant.len)
		put_json_text(b, "\",\"tenant\":\"", line->tenant, NAME_MAX_BYTES);
	put_json_text(b, "\",\"method\":\"", line->method, NAME_MAX_BYTES);
	put_json_text(b, "\",\"path\":\"", line->target, TARGET_MAX);
	fits = buf_printf(b, "\",\"status\":%d,\"bytes\":%ju,\"ms\":%ju,\"cache\":\"%s",
			  line->status, (uintmax_t)line->bytes, (uintmax_t)line->ms, line->cache);
	put_json_text(b, "\",\"upstream\":\"", line->upstream, NAME_MAX_BYTES);
	fits = fits && buf_printf(b, "\",\"end\":\"%s", line->end);
	put_json_text(b, "\",\"ua\":\"", line->user_agent, AGENT_MAX);
	fits = fits && buf_printf(b, "\",\"tls\":\"%s\"", line->tls);
	if (line->bytes_up)
		fits = fits && buf_printf(b, ",\"bytes_up\":%ju", (uintmax_t)line->bytes_up);
	put_text(b, "}\n");
	assert(fits);
}

/* ---- pulls ---- */

/*
 * The same shapes, so that tools find what they look for: method PULL, the image as the path, and
 * no bytes, since its requests have told of them.
 */
static void put_pull_combined(struct buf *b, const struct tally *t, const char *image)
{
	const struct access_line line = { .client = &t->client };
	const struct tm tm = now_utc();
	char when[64];
	bool fits;

	(void)strftime(when, sizeof(when), " - - [%d/%b/%Y:%H:%M:%S +0000] \"PULL /", &tm);
	put_client(b, &line);
	put_text(b, when);
	put_escaped(b, slice_of(image), TARGET_MAX, "\\x");
	fits = buf_printf(b, " HTTP/1.1\" %d - \"-\" \"", t->status);
	put_or_dash(b, slice_of(t->agent), AGENT_MAX);
	fits = fits && buf_printf(b, "\" hit=%ju miss=%ju blobs=%u requests=%u errors=%u ms=%ju",
				  (uintmax_t)t->hit_bytes, (uintmax_t)t->miss_bytes, t->blobs,
				  t->requests, t->errors, (uintmax_t)(t->last_ms - t->begun_ms));
	put_text(b, " mirror=\"");
	put_or_dash(b, slice_of(t->mirror), NAME_MAX_BYTES);
	put_text(b, "\" tenant=");
	put_or_dash(b, slice_of(t->tenant), NAME_MAX_BYTES);
	put_text(b, "\n");
	assert(fits);
}

static void put_pull_json(struct buf *b, const struct tally *t, const char *image)
{
	const struct access_line line = { .client = &t->client };
	const struct tm tm = now_utc();
	char when[64];
	bool fits;

	(void)strftime(when, sizeof(when), "{\"time\":\"%Y-%m-%dT%H:%M:%SZ\",\"client\":\"", &tm);
	put_text(b, when);
	put_client(b, &line);
	put_json_text(b, "\",\"mirror\":\"", slice_of(t->mirror), NAME_MAX_BYTES);
	put_json_text(b, "\",\"tenant\":\"", t->tenant[0] ? slice_of(t->tenant) : SLICE("-"),
		      NAME_MAX_BYTES);
	put_json_text(b, "\",\"method\":\"PULL\",\"path\":\"/", slice_of(image), TARGET_MAX);
	put_json_text(b, "\",\"image\":\"", slice_of(image), TARGET_MAX);
	fits = buf_printf(b,
			  "\",\"status\":%d,\"bytes\":0,\"hit_bytes\":%ju,\"miss_bytes\":%ju,"
			  "\"blobs\":%u,\"requests\":%u,\"errors\":%u,\"ms\":%ju",
			  t->status, (uintmax_t)t->hit_bytes, (uintmax_t)t->miss_bytes, t->blobs,
			  t->requests, t->errors, (uintmax_t)(t->last_ms - t->begun_ms));
	put_json_text(b, ",\"ua\":\"", slice_of(t->agent), AGENT_MAX);
	put_text(b, "\"}\n");
	assert(fits);
}

/* ---- lines into the buffer ---- */

bool access_has_room(struct access_log *a)
{
	if (ACCESS_BUF_BYTES - a->len[a->filling] < LINE_MAX_BYTES && !op_busy(&a->op))
		access_swap(a);
	return ACCESS_BUF_BYTES - a->len[a->filling] >= LINE_MAX_BYTES;
}

/* False: there is none, or no room, which is counted. */
static bool line_begin(struct access_log *a, struct buf *b)
{
	if (a->fd < 0)
		return false;
	if (!access_has_room(a)) {
		stat_inc(a->stats, STAT_ACCESS_DROPPED);
		return false;
	}
	buf_init(b, a->mem[a->filling], ACCESS_BUF_BYTES);
	b->tail = a->len[a->filling];
	return true;
}

static void line_end(struct access_log *a, const struct buf *b)
{
	a->len[a->filling] = b->tail;
	access_arm(a);
}

void access_line(struct access_log *a, const struct access_line *line)
{
	struct buf b;

	if (!line_begin(a, &b))
		return;
	switch (a->format) {
	case FORMAT_COMBINED: put_combined(&b, line); break;
	case FORMAT_JSON: put_json(&b, line); break;
	}
	line_end(a, &b);
}

void access_pull(struct access_log *a, const struct tally *t)
{
	char image[3 * TALLY_NAME + 2];
	struct buf b;

	if (!line_begin(a, &b))
		return;
	snprintf(image, sizeof(image), "%s/%s%s", t->mirror, t->repo, t->ref);
	switch (a->format) {
	case FORMAT_COMBINED: put_pull_combined(&b, t, image); break;
	case FORMAT_JSON: put_pull_json(&b, t, image); break;
	}
	line_end(a, &b);
}
