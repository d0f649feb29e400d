/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sim_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#include "cache/digest.h"

enum { CONNS = 64, HEAD = 8192, OUT = PEER_BLOB_BYTES + 4096 };

/* One end of a connection. */
struct conn {
	int fd; /* -1: none */
	char in[HEAD];
	size_t in_len;
	char *out; /* malloc'ed once */
	size_t out_len, out_at;
	bool end_after, stall_after; /* what comes when out is sent */
};

struct client {
	struct conn c;
	const struct peer_request *r;
	struct peer_result result;
	bool begun, headed;
	const char *want; /* what the body has to be */
	size_t want_len, got, announced;
};

static char blob[PEER_BLOB_BYTES], manifest[1024];
static size_t manifest_len;
static char blob_digest[DIGEST_TEXT_MAX], manifest_digest[DIGEST_TEXT_MAX];

static struct {
	struct peer_world w;
	int listen_fd;
	uint16_t port, mirror_port;
	struct conn conns[CONNS];
	struct client clients[PEER_CLIENTS_MAX];
	unsigned clients_count;
	unsigned blob_answers, link_answers;
	int h2_fd;
	nghttp2_session *h2;
} s;

static void digest_text(const void *mem, size_t len, char out[DIGEST_TEXT_MAX])
{
	struct digest_ctx ctx;
	struct digest d;

	digest_begin(&ctx, DIGEST_SHA256);
	digest_update(&ctx, mem, len);
	digest_end(&ctx, &d);
	digest_format(&d, out);
}

void peer_init(void)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < sizeof(blob); i++) {
		x = x * 1664525 + 1013904223;
		blob[i] = (char)(x >> 24);
	}
	digest_text(blob, sizeof(blob), blob_digest);
	manifest_len = (size_t)snprintf(
		manifest, sizeof(manifest),
		"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		"\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
		"\"size\":%d,\"digest\":\"%s\"},\"layers\":[]}",
		PEER_BLOB_BYTES, blob_digest);
	digest_text(manifest, manifest_len, manifest_digest);
	for (unsigned i = 0; i < CONNS; i++) {
		s.conns[i].fd = -1;
		s.conns[i].out = malloc(OUT);
	}
	for (unsigned i = 0; i < PEER_CLIENTS_MAX; i++) {
		s.clients[i].c.fd = -1;
		s.clients[i].c.out = malloc(OUT);
	}
	s.listen_fd = s.h2_fd = -1;
}

static void conn_end(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->in_len = c->out_len = c->out_at = 0;
	c->end_after = c->stall_after = false;
}

static bool conn_send(struct conn *c)
{
	ssize_t n;

	if (c->out_at == c->out_len)
		return false;
	n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		c->out_at += (size_t)n;
	if (n < 0 && errno != EAGAIN)
		conn_end(c);
	return n > 0;
}

/* ---- the registry ---- */

static void say(struct conn *c, const char *status, const char *fields, const void *body,
		size_t len, bool head)
{
	c->out_at = 0;
	c->out_len = (size_t)snprintf(c->out, OUT, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n",
				      status, len, fields);
	if (head)
		return;
	memcpy(c->out + c->out_len, body, len);
	c->out_len += len;
}

static void say_error(struct conn *c, const char *status, const char *fields)
{
	static const char body[] = "{\"errors\":[{\"code\":\"UNKNOWN\",\"message\":\"so\"}]}";

	say(c, status, fields, body, sizeof(body) - 1, strstr(c->in, "HEAD ") == c->in);
}

/* To a lane.  True: that is all of it. */
static bool say_lane_no(struct conn *c, unsigned answers)
{
	if (s.w.fault != PEER_LANES_BAD || answers != 3)
		return false;
	say_error(c, "503 Service Unavailable", "");
	return true;
}

/* How a lane's answer goes wrong that was made. */
static void spoil_lane(struct conn *c, unsigned answers, size_t head)
{
	if (s.w.fault == PEER_LANES_BAD && answers == 1) {
		c->out_len = head + (c->out_len - head) / 2;
		c->end_after = true;
	} else if (s.w.fault == PEER_LANES_BAD && answers == 2) {
		char *digit = strstr(c->out, "Content-Range: bytes ") + 21;

		*digit = *digit == '1' ? '2' : '1';
	} else if (s.w.fault == PEER_LANES_CORRUPT) {
		c->out[c->out_len - 1] ^= 1;
	}
}

static bool is_stalling(enum peer_fault fault)
{
	return fault == PEER_STALL || fault >= PEER_LANES_BAD;
}

static void say_blob(struct conn *c)
{
	const char *range = strcasestr(c->in, "Range: bytes=");
	unsigned answers = s.blob_answers++;
	bool first = answers == 0;
	size_t from = 0, head;
	char fields[128] = "Accept-Ranges: bytes\r\n";

	if (say_lane_no(c, answers))
		return;
	if (range && s.w.fault != PEER_CUT_RANGELESS && s.w.fault != PEER_LANES_RANGELESS) {
		size_t to = PEER_BLOB_BYTES - 1;
		char *end;

		from = strtoul(range + 13, &end, 10);
		if (end[0] == '-' && end[1] >= '0' && end[1] <= '9')
			to = strtoul(end + 1, NULL, 10);
		snprintf(fields, sizeof(fields), "Content-Range: bytes %zu-%zu/%d\r\n", from, to,
			 PEER_BLOB_BYTES);
		say(c, "206 Partial Content", fields, blob + from, to + 1 - from, false);
		head = c->out_len - (to + 1 - from);
	} else {
		bool less = s.w.fault == PEER_TRUNCATED || (s.w.fault == PEER_SHORT_ONCE && first);
		size_t len = less ? PEER_BLOB_BYTES - 7 : PEER_BLOB_BYTES;

		say(c, "200 OK", fields, blob, len, false);
		head = c->out_len - len;
	}
	if (s.w.fault == PEER_CORRUPT && from < 5000 && c->out_len > head + 5000 - from)
		c->out[head + 5000 - from] ^= 1;
	if (s.w.fault == PEER_CORRUPT_LAST && first)
		c->out[c->out_len - 1] ^= 1;
	if (!first && range)
		spoil_lane(c, answers, head);
	if (!first || c->out_len < head + 200000)
		return;
	if (s.w.fault == PEER_CUT || s.w.fault == PEER_CUT_RANGELESS || is_stalling(s.w.fault))
		c->out_len = head + 200000;
	c->end_after = s.w.fault == PEER_CUT || s.w.fault == PEER_CUT_RANGELESS;
	c->stall_after = is_stalling(s.w.fault);
}

static void say_manifest(struct conn *c)
{
	char fields[320];

	if (s.w.fault == PEER_BUSY) {
		say_error(c, "429 Too Many Requests", "Retry-After: 3\r\n");
		return;
	}
	snprintf(fields, sizeof(fields),
		 "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n"
		 "Docker-Content-Digest: %s\r\n",
		 manifest_digest);
	say(c, "200 OK", fields, manifest, manifest_len, strstr(c->in, "HEAD ") == c->in);
}

static void answer(struct conn *c)
{
	static const char token[] = "{\"token\":\"good\",\"expires_in\":300}";
	char fields[256];

	if (s.w.fault == PEER_MISSING) {
		say_error(c, "404 Not Found", "");
	} else if (strstr(c->in, " /token")) {
		say(c, "200 OK", "", token, sizeof(token) - 1, false);
	} else if (strstr(c->in, " /cdn/")) {
		if (s.w.fault == PEER_EXPIRED && s.link_answers++ == 0)
			say_error(c, "403 Forbidden", "");
		else
			say_blob(c);
	} else if (s.w.token && !strstr(c->in, "Authorization: Bearer good")) {
		snprintf(fields, sizeof(fields),
			 "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\","
			 "service=\"sim\"\r\n",
			 s.port);
		say_error(c, "401 Unauthorized", fields);
	} else if (strstr(c->in, "/manifests/")) {
		say_manifest(c);
	} else if (strstr(c->in, "/blobs/") && s.w.redirect) {
		say_error(c, "307 Temporary Redirect", "Location: /cdn/blob\r\n");
	} else if (strstr(c->in, "/blobs/")) {
		say_blob(c);
	} else {
		say(c, "200 OK", "", "{}", 2, false);
	}
}

static bool registry_conn(struct conn *c)
{
	ssize_t n;

	if (c->fd < 0)
		return false;
	if (c->out_at < c->out_len)
		return conn_send(c);
	if (c->end_after) {
		conn_end(c);
		return true;
	}
	if (c->stall_after && c->out_len)
		return false;
	n = recv(c->fd, c->in + c->in_len, HEAD - 1 - c->in_len, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		conn_end(c);
		return true;
	}
	if (n < 0)
		return false;
	c->in_len += (size_t)n;
	c->in[c->in_len] = '\0';
	if (strstr(c->in, "\r\n\r\n")) {
		answer(c);
		c->in_len = 0;
	}
	return true;
}

static bool registry_step(void)
{
	bool moved = false;
	int fd = s.listen_fd < 0 ? -1
				 : accept4(s.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	for (unsigned i = 0; i < CONNS; i++) {
		/* One that stalls is noticed when its peer closes. */
		char byte;
		struct conn *c = &s.conns[i];

		if (c->fd < 0 && fd >= 0) {
			c->fd = fd;
			fd = -1;
			moved = true;
		}
		moved |= registry_conn(c);
		if (c->fd >= 0 && c->stall_after && recv(c->fd, &byte, 1, MSG_DONTWAIT) == 0)
			conn_end(c);
	}
	return moved;
}

/* ---- clients ---- */

static int dial(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1; /* what Nagle holds back takes real time */

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void h2_begin(struct client *c, const char *target);

static const char *host(void)
{
	return s.w.site ? "wiki.test" : "docker.test";
}

static void client_begin(struct client *c)
{
	const char *mark = strchr(c->r->target, '%');
	char target[256], range[64] = "";
	bool is_blob = strstr(c->r->target, "/blobs/") != NULL;

	snprintf(target, sizeof(target), "%.*s%s",
		 (int)(mark ? mark - c->r->target : (long)strlen(c->r->target)), c->r->target,
		 !mark            ? ""
		 : mark[1] == 'B' ? blob_digest
				  : manifest_digest);
	c->want = (is_blob ? blob : manifest) + c->r->from;
	c->want_len = (is_blob ? sizeof(blob) : manifest_len) - c->r->from;
	c->begun = true;
	if (s.w.h2) {
		h2_begin(c, target);
		return;
	}
	if (c->r->from)
		snprintf(range, sizeof(range), "Range: bytes=%zu-\r\n", c->r->from);
	c->c.fd = dial(s.mirror_port);
	c->c.out_len = (size_t)snprintf(c->c.out, OUT,
					"%s %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n%s\r\n",
					c->r->head ? "HEAD" : "GET", target, host(), range);
	if (c->c.fd < 0)
		c->result.done = true;
}

static void client_end(struct client *c)
{
	conn_end(&c->c);
	c->result.done = true;
}

/* A Range may be ignored (RFC 9110, 14.2): then it is the whole. */
static void client_want(struct client *c)
{
	if (c->result.status == 200) {
		c->want -= c->r->from;
		c->want_len += c->r->from;
	}
}

static void client_head(struct client *c)
{
	char *end = strstr(c->c.in, "\r\n\r\n");
	const char *length;
	size_t rest;

	if (!end)
		return;
	c->headed = true;
	*end = '\0';
	c->result.status = (int)strtol(c->c.in + 9, NULL, 10);
	client_want(c);
	length = strstr(c->c.in, "Content-Length: ");
	c->announced = c->r->head ? 0 : length ? strtoul(length + 16, NULL, 10) : SIZE_MAX;
	rest = c->c.in_len - (size_t)(end + 4 - c->c.in);
	memmove(c->c.in, end + 4, rest);
	c->c.in_len = rest;
}

static void client_body(struct client *c)
{
	bool good = c->result.status == 200 || c->result.status == 206;

	if (good && !c->r->head && c->announced != SIZE_MAX && c->announced != c->want_len &&
	    strstr(c->r->target, "/v2/lib"))
		c->result.wrong = true;
	if (good && strstr(c->r->target, "/v2/lib") &&
	    (c->got + c->c.in_len > c->want_len ||
	     memcmp(c->want + c->got, c->c.in, c->c.in_len) != 0))
		c->result.wrong = true;
	c->got += c->c.in_len;
	c->c.in_len = 0;
	if (c->got == c->announced)
		c->result.whole = true;
	if (c->result.whole || (c->r->leave_after && c->got >= c->r->leave_after))
		client_end(c);
}

static bool client_step(struct client *c)
{
	ssize_t n;

	if (!c->begun || c->result.done || s.w.h2)
		return false;
	if (c->c.out_at < c->c.out_len && conn_send(&c->c))
		return true;
	if (c->c.fd < 0) {
		client_end(c);
		return true;
	}
	n = recv(c->c.fd, c->c.in + c->c.in_len, HEAD - 1 - c->c.in_len, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		client_end(c);
		return true;
	}
	c->c.in_len += (size_t)n;
	c->c.in[c->c.in_len] = '\0';
	if (!c->headed)
		client_head(c);
	if (c->headed)
		client_body(c);
	return true;
}

/* ---- clients by HTTP/2 ---- */

static void h2_end(void)
{
	nghttp2_session_del(s.h2);
	s.h2 = NULL;
	if (s.h2_fd >= 0)
		close(s.h2_fd);
	s.h2_fd = -1;
	for (unsigned i = 0; i < s.clients_count; i++)
		if (s.clients[i].begun)
			s.clients[i].result.done = true;
}

static int h2_field(nghttp2_session *h, const nghttp2_frame *f, const uint8_t *name, size_t n,
		    const uint8_t *value, size_t len, uint8_t flags, void *user)
{
	struct client *c = nghttp2_session_get_stream_user_data(h, f->hd.stream_id);

	(void)len, (void)flags, (void)user;
	if (n == 7 && memcmp(name, ":status", 7) == 0)
		c->result.status = (int)strtol((const char *)value, NULL, 10);
	if (n == 14 && memcmp(name, "content-length", 14) == 0 && !c->r->head)
		c->announced = strtoul((const char *)value, NULL, 10);
	return 0;
}

static int h2_frame(nghttp2_session *h, const nghttp2_frame *f, void *user)
{
	struct client *c = nghttp2_session_get_stream_user_data(h, f->hd.stream_id);

	(void)user;
	if (f->hd.type != NGHTTP2_HEADERS || c->result.done)
		return 0;
	client_want(c);
	client_body(c); /* none yet; of a HEAD, that is all */
	return 0;
}

static int h2_data(nghttp2_session *h, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
		   void *user)
{
	struct client *c = nghttp2_session_get_stream_user_data(h, id);

	(void)flags, (void)user;
	for (size_t at = 0; at < len && !c->result.done; at += c->c.in_len) {
		c->c.in_len = len - at < HEAD ? len - at : HEAD;
		memcpy(c->c.in, data + at, c->c.in_len);
		at += c->c.in_len;
		client_body(c);
	}
	if (c->result.done && !c->result.whole)
		nghttp2_submit_rst_stream(h, 0, id, NGHTTP2_CANCEL);
	return 0;
}

static int h2_close(nghttp2_session *h, int32_t id, uint32_t code, void *user)
{
	struct client *c = nghttp2_session_get_stream_user_data(h, id);

	(void)code, (void)user;
	c->result.done = true;
	return 0;
}

static void h2_dial(void)
{
	nghttp2_session_callbacks *cb;

	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, h2_field);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_close);
	nghttp2_session_client_new(&s.h2, cb, NULL);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(s.h2, 0, NULL, 0);
	s.h2_fd = dial(s.mirror_port);
}

#define NV(name, value)                                                                            \
	(nghttp2_nv)                                                                               \
	{                                                                                          \
		(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name),         \
			strlen(value), NGHTTP2_NV_FLAG_NONE                                        \
	}

static void h2_begin(struct client *c, const char *target)
{
	char range[64];
	nghttp2_nv nv[5] = { NV(":method", c->r->head ? "HEAD" : "GET"), NV(":scheme", "http"),
			     NV(":authority", host()), NV(":path", target) };

	snprintf(range, sizeof(range), "bytes=%zu-", c->r->from);
	nv[4] = NV("range", range);
	if (!s.h2)
		h2_dial();
	c->announced = c->r->head ? 0 : SIZE_MAX;
	if (s.h2_fd < 0 || nghttp2_submit_request(s.h2, NULL, nv, c->r->from ? 5 : 4, NULL, c) < 0)
		c->result.done = true;
}

/* One turn of the connection: what the socket takes and what it has. */
static bool h2_step(void)
{
	static char in[16384];
	const uint8_t *mem;
	ssize_t n, len;
	bool moved = false;

	if (!s.h2)
		return false;
	/* Little is said, and the kernel has room for it. */
	while (s.h2_fd >= 0 && (len = nghttp2_session_mem_send(s.h2, &mem)) > 0) {
		moved = true;
		if (send(s.h2_fd, mem, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) != len) {
			h2_end();
			return true;
		}
	}
	n = s.h2_fd < 0 ? 0 : recv(s.h2_fd, in, sizeof(in), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return moved;
	if (n <= 0 || nghttp2_session_mem_recv(s.h2, (uint8_t *)in, (size_t)n) != n)
		h2_end();
	return true;
}

static bool clients_step(void)
{
	bool moved = false, may_begin = true;

	for (unsigned i = 0; i < s.clients_count; i++) {
		struct client *c = &s.clients[i];

		if (!c->begun && may_begin) {
			client_begin(c);
			moved = true;
		}
		moved |= client_step(c);
		may_begin = may_begin && (c->result.done || c->r->with_next);
	}
	moved |= h2_step();
	if (s.h2 && peer_all_done())
		h2_end();
	return moved;
}

bool peer_step(void)
{
	bool registry = registry_step();

	return clients_step() || registry;
}

bool peer_all_done(void)
{
	for (unsigned i = 0; i < s.clients_count; i++)
		if (!s.clients[i].result.done)
			return false;
	return true;
}

const struct peer_result *peer_result(unsigned i)
{
	return &s.clients[i].result;
}

uint16_t peer_open(const struct peer_world *w, const struct peer_request *r, unsigned count,
		   uint16_t mirror_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);

	s.w = *w;
	s.mirror_port = mirror_port;
	s.blob_answers = s.link_answers = 0;
	s.clients_count = count;
	for (unsigned i = 0; i < count; i++)
		s.clients[i] = (struct client){
			.c = { .fd = -1, .out = s.clients[i].c.out },
			.r = &r[i],
		};
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s.listen_fd < 0 || bind(s.listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(s.listen_fd, 64) < 0 ||
	    getsockname(s.listen_fd, (struct sockaddr *)&a, &len) < 0)
		return 0;
	s.port = ntohs(a.sin_port);
	if (w->fault == PEER_GONE) {
		close(s.listen_fd);
		s.listen_fd = -1;
	}
	return s.port;
}

void peer_close(void)
{
	for (unsigned i = 0; i < CONNS; i++)
		conn_end(&s.conns[i]);
	for (unsigned i = 0; i < PEER_CLIENTS_MAX; i++)
		conn_end(&s.clients[i].c);
	h2_end();
	if (s.listen_fd >= 0)
		close(s.listen_fd);
	s.listen_fd = -1;
}
