/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/answer.h"

#include <errno.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "http/challenge.h"
#include "proxy/door.h"
#include "proxy/private.h"

enum { RETRY_AFTER_S = 30 }; /* when upstream says 429 and not how long */

#define BOUNDARY "sluice-7d1f4c0a93be52d8"

void answer_field(struct xfer *x, const char *name, const char *value)
{
	if (!value || x->fields_count == XFER_FIELDS_MAX)
		return;
	x->fields[x->fields_count++] = (struct xfer_field){ name, value };
}

/* Fields that every answer of the mirror has. */
static void answer_begin(struct xfer *x, int status)
{
	bool token = x->state == XFER_TOKEN;

	x->status = status;
	x->fields_count = 0;
	x->state = XFER_ANSWER;
	if (x->kind == LISTEN_HTTPS && x->proxy->config->server.hsts)
		answer_field(x, "Strict-Transport-Security", x->proxy->config->server.hsts);
	if (x->site)
		return;
	if (x->kind == LISTEN_HTTPS || x->kind == LISTEN_PLAIN) {
		answer_field(x, "Docker-Distribution-Api-Version", "registry/2.0");
		answer_field(x, "X-Content-Type-Options", "nosniff");
	}
	if (private_is(x)) {
		answer_field(x, "Cache-Control", token ? "no-store" : "private, no-cache");
		answer_field(x, "Vary", "Authorization");
	}
	if (x->route.ns.len && x->mirror)
		answer_field(x, "OCI-Namespace", x->mirror->conf->name);
}

static void answer_memory(struct xfer *x, const char *text, size_t len)
{
	struct segment *s = x->method == METHOD_HEAD ? NULL : arena_alloc(&x->arena, sizeof(*s));

	x->body_bytes = len;
	if (!s)
		return;
	*s = (struct segment){ .mem = text, .bytes = len };
	body_set(&x->body, s, 1, NULL);
}

void answer_text(struct xfer *x, int status, const char *type, const char *text)
{
	answer_begin(x, status);
	answer_field(x, "Content-Type", type);
	answer_memory(x, text, strlen(text));
}

void answer_html(struct xfer *x, int status, const char *allow, const char *html)
{
	answer_text(x, status, "text/html; charset=utf-8", html);
	answer_field(x, "Content-Security-Policy",
		     arena_printf(&x->arena,
				  "default-src 'none'; base-uri 'none'; form-action 'none'; "
				  "frame-ancestors 'none'; %s",
				  allow));
	answer_field(x, "Referrer-Policy", "no-referrer");
	answer_field(x, "Cache-Control", "no-cache");
	answer_field(x, "Vary", "Accept");
	if (x->kind == LISTEN_ADMIN)
		answer_field(x, "X-Content-Type-Options", "nosniff");
}

void answer_error(struct xfer *x, int status, const char *code, struct slice message)
{
	static const char no_memory[] =
		"{\"errors\":[{\"code\":\"UNKNOWN\",\"message\":\"out of memory\"}]}";
	char *json = oci_error_json(&x->arena, code, message, SLICE_NONE);

	answer_text(x, status, "application/json", json ? json : no_memory);
	if (status == 405)
		answer_field(x, "Allow", "GET, HEAD");
	if (!x->cache)
		x->cache = "local";
}

/* Which of several gave an answer that a fill was told, is not known here. */
static const char *answer_upstream(const struct xfer *x)
{
	return x->mirror->ups_count == 1 ? x->mirror->ups[0].conf->host : "servers";
}

void answer_failed(struct xfer *x, int err)
{
	int status = err == -ETIMEDOUT || err == ERR_DNS_TIMEOUT                ? 504
		     : err == ERR_LIMIT || err == ERR_KILLED || err == ERR_BUSY ? 503
										: 502;
	const char *why = arena_printf(&x->arena, "upstream %s of %s: %s", answer_upstream(x),
				       x->mirror->conf->name, err_text(err));

	x->cache = "pass";
	answer_error(x, status, oci_code_of(status, x->path.verb), slice_of(why));
	if (status == 503)
		answer_field(x, "Retry-After", "5");
}

static void answer_refused(struct xfer *x, const struct blob_failure *why)
{
	bool is_error = why->status >= 400 && why->status <= 599;
	int status = is_error ? why->status : 502;
	const char *said = why->message;

	if (!is_error)
		log_limited(LOG_WARN, "upstream mirror=%s status=%d not understood",
			    x->mirror->conf->name, why->status);
	if (!said[0])
		said = arena_printf(&x->arena, "upstream %s answered %d", answer_upstream(x),
				    status);
	x->cache = "pass";
	answer_error(x, status, oci_code_of(status, x->path.verb), slice_of(said));
	if (status == 401 && private_is(x))
		answer_field(x, "WWW-Authenticate", private_challenge(x));
	if (status == 429 || (status == 503 && why->retry_after_s))
		answer_field(x, "Retry-After",
			     arena_printf(&x->arena, "%u",
					  why->retry_after_s ? why->retry_after_s : RETRY_AFTER_S));
}

void answer_failure(struct xfer *x, const struct blob_failure *why)
{
	if (why->status)
		answer_refused(x, why);
	else
		answer_failed(x, why->err);
}

/* ---- blobs and manifests ---- */

static struct slice etag_format(const char *digest, char out[DIGEST_TEXT_MAX + 2])
{
	size_t n = strlen(digest);

	out[0] = '"';
	memcpy(out + 1, digest, n);
	out[n + 1] = '"';
	return (struct slice){ out, n + 2 };
}

static void answer_content_fields(struct xfer *x, const struct digest *d, uint8_t type)
{
	char digest[DIGEST_TEXT_MAX];
	char etag[DIGEST_TEXT_MAX + 2];

	digest_format(d, digest);
	answer_field(x, "Docker-Content-Digest", arena_dup(&x->arena, slice_of(digest)));
	answer_field(x, "ETag", arena_dup(&x->arena, etag_format(digest, etag)));
	answer_field(x, "Content-Type", oci_types[type].media_type);
	answer_field(x, "Accept-Ranges", "bytes");
	if (x->path.ref_is_digest && !private_is(x))
		answer_field(x, "Cache-Control", "max-age=31536000");
	answer_field(x, "X-Cache", x->cache);
	if (!x->stale)
		return;
	/* RFC 7234 5.5: 299 is "miscellaneous, persistent"; podman and containerd print it. */
	answer_field(x, "Age", arena_printf(&x->arena, "%lld", (long long)x->stale_s));
	answer_field(
		x, "Warning",
		x->refreshing
			? "299 - \"the registry is being asked: this tag may be out of date\""
			: "299 - \"the registry does not answer: this tag may be out of date\"");
}

/* True: the client has it, and is told so. */
static bool answer_not_modified(struct xfer *x, const struct digest *d, uint8_t type)
{
	char digest[DIGEST_TEXT_MAX];
	char etag[DIGEST_TEXT_MAX + 2];

	if (!x->if_none_match.ptr)
		return false;
	digest_format(d, digest);
	if (!etag_matches(x->if_none_match, etag_format(digest, etag)))
		return false;
	answer_begin(x, 304);
	answer_content_fields(x, d, type);
	x->body_bytes = 0;
	return true;
}

/* A range counts only if the If-Range validator is this very content (RFC 9110 13.1.5). */
static bool answer_range_counts(const struct xfer *x)
{
	char digest[DIGEST_TEXT_MAX];
	struct slice tag = x->if_range;

	if (!x->range.ptr || x->method != METHOD_GET)
		return false;
	if (!tag.ptr)
		return true;
	digest_format(&x->digest, digest);
	return tag.len > 2 && tag.ptr[0] == '"' &&
	       slice_eq((struct slice){ tag.ptr + 1, tag.len - 2 }, slice_of(digest));
}

static void answer_take_blob(struct xfer *x, struct segment *s, unsigned count)
{
	struct blob *blob = x->blob;

	x->blob = NULL;
	body_set(&x->body, s, count, blob);
}

static void answer_one_range(struct xfer *x, struct range r, uint64_t size)
{
	struct segment *s = arena_alloc(&x->arena, sizeof(*s));

	if (!s) {
		answer_error(x, 503, "UNAVAILABLE", SLICE("out of memory"));
		return;
	}
	answer_begin(x, 206);
	answer_content_fields(x, &x->digest, x->type);
	answer_field(x, "Content-Range",
		     arena_printf(&x->arena, "bytes %llu-%llu/%llu", (unsigned long long)r.from,
				  (unsigned long long)(r.from + r.bytes - 1),
				  (unsigned long long)size));
	*s = (struct segment){ .from = r.from, .bytes = r.bytes };
	x->body_bytes = r.bytes;
	answer_take_blob(x, s, 1);
}

/* multipart/byteranges: a head before each range, a line at the end (RFC 9110 14.6). */
static bool answer_parts(struct xfer *x, const struct range *r, unsigned count, uint64_t size,
			 struct segment *s)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < count; i++) {
		char *head = arena_printf(
			&x->arena,
			"\r\n--" BOUNDARY "\r\nContent-Type: %s\r\n"
			"Content-Range: bytes %llu-%llu/%llu\r\n\r\n",
			oci_types[x->type].media_type, (unsigned long long)r[i].from,
			(unsigned long long)(r[i].from + r[i].bytes - 1), (unsigned long long)size);

		if (!head)
			return false;
		s[2 * i] = (struct segment){ .mem = head, .bytes = strlen(head) };
		s[2 * i + 1] = (struct segment){ .from = r[i].from, .bytes = r[i].bytes };
		total += s[2 * i].bytes + r[i].bytes;
	}
	s[2 * count] = (struct segment){ .mem = "\r\n--" BOUNDARY "--\r\n",
					 .bytes = strlen("\r\n--" BOUNDARY "--\r\n") };
	x->body_bytes = total + s[2 * count].bytes;
	return true;
}

static void answer_many_ranges(struct xfer *x, const struct range *r, unsigned count, uint64_t size)
{
	struct segment *s = arena_alloc(&x->arena, (2 * count + 1) * sizeof(*s));

	if (!s || !answer_parts(x, r, count, size, s)) {
		answer_error(x, 400, "RANGE_INVALID", SLICE("too many ranges"));
		return;
	}
	answer_begin(x, 206);
	answer_content_fields(x, &x->digest, x->type);
	for (unsigned i = 0; i < x->fields_count; i++)
		if (strcmp(x->fields[i].name, "Content-Type") == 0)
			x->fields[i].value = "multipart/byteranges; boundary=" BOUNDARY;
	answer_take_blob(x, s, 2 * count + 1);
}

/* True: the answer is made. */
static bool answer_ranges(struct xfer *x, uint64_t size)
{
	struct range *r = arena_alloc(&x->arena, HTTP_RANGES_MAX * sizeof(*r));
	unsigned count = 0;

	if (!r)
		return false;
	switch (range_parse(x->range, size, r, HTTP_RANGES_MAX, &count)) {
	case RANGE_IGNORE: return false;
	case RANGE_OK:
		if (count == 1)
			answer_one_range(x, r[0], size);
		else
			answer_many_ranges(x, r, count, size);
		return true;
	case RANGE_UNSATISFIABLE:
		answer_error(x, 416, "RANGE_INVALID", SLICE("the range lies outside of the blob"));
		answer_field(x, "Content-Range",
			     arena_printf(&x->arena, "bytes */%llu", (unsigned long long)size));
		return true;
	case RANGE_TOO_MANY:
		answer_error(x, 400, "RANGE_INVALID",
			     SLICE("too many ranges, or overlapping ones"));
		return true;
	}
	unreachable("range result");
}

void answer_blob(struct xfer *x, uint64_t size, bool known)
{
	struct segment *s;

	if (answer_not_modified(x, &x->digest, x->type))
		return;
	if (known && answer_range_counts(x) && answer_ranges(x, size))
		return;
	answer_begin(x, 200);
	answer_content_fields(x, &x->digest, x->type);
	x->body_bytes = known ? size : BLOB_SIZE_UNKNOWN;
	if (x->method == METHOD_HEAD)
		return;
	s = arena_alloc(&x->arena, sizeof(*s));
	if (!s) {
		answer_error(x, 503, "UNAVAILABLE", SLICE("out of memory"));
		return;
	}
	*s = (struct segment){ .bytes = x->body_bytes };
	answer_take_blob(x, s, 1);
}

bool answer_manifest(struct xfer *x, struct slice body)
{
	struct digest found;

	digest_of((enum digest_alg)x->digest.alg, body, &found);
	if (!digest_eq(&found, &x->digest)) {
		answer_failed(x, ERR_DIGEST);
		return false;
	}
	x->cache = "pass";
	if (answer_not_modified(x, &x->digest, x->type))
		return true;
	answer_begin(x, 200);
	answer_content_fields(x, &x->digest, x->type);
	answer_memory(x, body.ptr, body.len);
	return true;
}

void answer_tag_head(struct xfer *x, const struct tag_record *r)
{
	if (answer_not_modified(x, &r->digest, r->type))
		return;
	answer_begin(x, 200);
	answer_content_fields(x, &r->digest, r->type);
	x->body_bytes = r->size;
}

/* ---- relayed answers ---- */

/* The next page at our own path, whatever name and path upstream gave it. */
static const char *answer_link(struct xfer *x, struct slice value)
{
	struct slice path = slice_first(x->target, slice_find(x->target, '?'));
	const char *prefix = door_prefix(x);
	struct slice next;
	char *query;

	if (!link_next(value, &next))
		return NULL;
	next = slice_first(next, slice_find(next, '#'));
	next = slice_skip(next, slice_find(next, '?') + 1);
	query = query_without(&x->arena, next, "ns");
	if (!query || !prefix)
		return NULL;
	return arena_printf(&x->arena, "<%s%.*s?%s%s%.*s>; rel=\"next\"", prefix, SLICE_FMT(path),
			    query, x->route.ns.len ? "&ns=" : "", SLICE_FMT(x->route.ns));
}

static void answer_copy(struct xfer *x, const char *name, struct slice value)
{
	if (value.ptr)
		answer_field(x, name, arena_dup(&x->arena, value));
}

void answer_small(struct xfer *x, const struct small *a, uint64_t length)
{
	answer_begin(x, 200);
	answer_copy(x, "Content-Type", a->type);
	answer_copy(x, "OCI-Filters-Applied", a->filters);
	answer_copy(x, "Docker-Content-Digest", a->digest);
	answer_field(x, "Link", answer_link(x, a->link));
	answer_field(x, "X-Cache", x->cache);
	if (x->method == METHOD_HEAD)
		x->body_bytes = length;
	else
		answer_memory(x, a->body.ptr, a->body.len);
}
