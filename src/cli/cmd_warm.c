/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * sluice warm LIST: has the server pull images into its cache, as a client would.  LIST has an
 * image a line, then its platforms ("linux/amd64,linux/arm64", "all"; without them this machine's).
 *
 * The first thread finds out what an image is made of; WARM_THREADS fetch blobs meanwhile.  What is
 * cached already is not read, so a run that was broken off goes on where it was.  One lock guards
 * everything that the threads share; nobody holds it while he waits for the server.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "cli/channel.h"
#include "cli/show.h"
#include "proxy/image.h"
#include "proxy/oci.h"

enum {
	WARM_UNDONE = 2, /* exit status: it could not be begun */
	WARM_THREADS = 4,
	WARM_LINES_MAX = 10000,
	WARM_LINE_MAX = 2048,
	WARM_TRIES = 4,
	WARM_PAUSE_S = 1,      /* before the second try, then twice as long each time */
	WARM_PAUSE_MAX_S = 60, /* also if upstream wants more: then it has failed */
	WARM_SHOW_MS = 200,
	WARM_ARENA = 64 * 1024,
};

struct warm_image {
	char *name;      /* as it stands in the list */
	char *platforms; /* or "" */
	char *repo;      /* "docker.io/library/nginx" */
	char *ref;
	bool resolved; /* all of its blobs are in the queue */
	bool told;
	unsigned left; /* of these */
	uint64_t bytes, fetched;
	unsigned blobs, cached;
	char why[512]; /* "": nothing went wrong */
};

struct warm_blob {
	struct warm_image *image;
	struct digest digest;
	uint64_t size;
};

/* What a thread is at, for the bars. */
struct warm_now {
	bool busy;
	struct warm_blob blob;
	uint64_t done;
};

struct warm {
	const struct cli_args *args;
	struct config *config;
	struct warm_image *images;
	unsigned images_count;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct warm_blob *queue;
	size_t queue_count, queue_cap, queue_next;
	bool complete; /* no more will come */
	struct warm_now now[WARM_THREADS];
	bool shows; /* bars, on a terminal */
	unsigned lines_shown;
	uint64_t shown_ms;
	uint64_t bytes_known, bytes_done;
	unsigned told, failed;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- the list ---- */

static bool image_parse(struct warm *w, struct warm_image *im, unsigned line)
{
	struct image_name n;
	const char *why;
	struct arena a;
	bool ok;

	arena_init(&a, WARM_ARENA);
	ok = image_name_parse(&a, w->config, slice_of(im->name), &n, &why);
	if (!ok)
		(void)cli_fail("line %u: %s: %s", line, im->name, why);
	else if (w->config->mirrors[n.mirror].auth == AUTH_CLIENT)
		ok = cli_fail("line %u: %s: its mirror has auth = client, so it is pulled with "
			      "clients' own credentials alone",
			      line, im->name);
	if (ok && (asprintf(&im->repo, "%s/%.*s", w->config->mirrors[n.mirror].name,
			    SLICE_FMT(n.repo)) < 0 ||
		   !(im->ref = strndup(n.ref.ptr, n.ref.len))))
		ok = cli_fail("no memory");
	arena_fini(&a);
	return ok;
}

static bool line_parse(struct warm *w, char *text, unsigned line)
{
	struct warm_image *im;
	char *rest = text, *name;
	const char *platforms;

	text[strcspn(text, "#\r\n")] = '\0';
	name = strsep(&rest, " \t");
	while (name && !name[0])
		name = strsep(&rest, " \t");
	if (!name)
		return true;
	platforms = rest ? rest + strspn(rest, " \t") : "";
	if (w->images_count == WARM_LINES_MAX)
		return cli_fail("line %u: more than %u images", line, WARM_LINES_MAX);
	im = &w->images[w->images_count++];
	im->name = strdup(name);
	im->platforms = strdup(platforms);
	if (!im->name || !im->platforms)
		return cli_fail("no memory");
	return image_parse(w, im, line);
}

static bool list_read(struct warm *w, const char *path)
{
	FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char text[WARM_LINE_MAX];
	unsigned line = 0;
	bool ok = true;

	if (!in)
		return cli_fail("%s cannot be read: %s", path, err_text(-errno));
	while (fgets(text, sizeof(text), in)) {
		if (!strchr(text, '\n') && !feof(in))
			ok = cli_fail("line %u: longer than %d bytes", line + 1, WARM_LINE_MAX - 2);
		if (!line_parse(w, text, ++line))
			ok = false; /* all mistakes are told */
		if (w->images_count == WARM_LINES_MAX && !ok)
			break;
	}
	if (in != stdin)
		fclose(in);
	return ok;
}

/* ---- what is seen; under the lock ---- */

static unsigned columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 40)
		return 80;
	return size.ws_col;
}

static void bars_wipe(struct warm *w)
{
	if (w->lines_shown)
		fprintf(stderr, "\033[%uA\033[J", w->lines_shown);
	w->lines_shown = 0;
}

static void bars_draw(struct warm *w)
{
	const unsigned wide = columns(), bar_wide = wide > 100 ? 40 : 20;
	char bar[64], part[SHOW_MAX], all[SHOW_MAX];

	bars_wipe(w);
	show_bar(w->bytes_done, w->bytes_known, bar_wide, bar);
	fprintf(stderr, "[%s] %u of %u images, %s of %s%s\n", bar, w->told, w->images_count,
		show_bytes(w->bytes_done, part), show_bytes(w->bytes_known, all),
		w->complete ? "" : " so far");
	w->lines_shown = 1;
	for (unsigned i = 0; i < WARM_THREADS; i++) {
		const struct warm_now *n = &w->now[i];

		if (!n->busy)
			continue;
		show_bar(n->done, n->blob.size, bar_wide, bar);
		fprintf(stderr, "[%s] %10s  %.*s\n", bar, show_bytes(n->done, part),
			(int)(wide - bar_wide - 17), n->blob.image->repo);
		w->lines_shown++;
	}
}

static void bars(struct warm *w, bool now)
{
	if (!w->shows || (!now && now_ms() - w->shown_ms < WARM_SHOW_MS))
		return;
	w->shown_ms = now_ms();
	bars_draw(w);
}

static void json_text(const char *s)
{
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putchar('\\');
		if ((unsigned char)*s >= ' ')
			putchar(*s);
	}
}

/* One that has come to its end, well or not. */
static void tell(struct warm *w, struct warm_image *im)
{
	char got[SHOW_MAX], all[SHOW_MAX];

	im->told = true;
	w->told++;
	w->failed += im->why[0] != '\0';
	bars_wipe(w);
	if (w->args->json) {
		printf("{\"image\":\"");
		json_text(im->name);
		printf("\",\"ok\":%s,\"blobs\":%u,\"cached\":%u,\"bytes\":%" PRIu64
		       ",\"fetched_bytes\":%" PRIu64 ",\"error\":\"",
		       im->why[0] ? "false" : "true", im->blobs, im->cached, im->bytes,
		       im->fetched);
		json_text(im->why);
		puts("\"}");
	} else if (im->why[0]) {
		(void)cli_fail("%s: %s", im->name, im->why);
	} else {
		printf("%s: %s, %s of it fetched\n", im->name, show_bytes(im->bytes, all),
		       show_bytes(im->fetched, got));
	}
	fflush(stdout);
	bars(w, true);
}

static void tell_if_over(struct warm *w, struct warm_image *im)
{
	if (im->resolved && im->left == 0 && !im->told)
		tell(w, im);
}

/* ---- asking; without the lock ---- */

/* May it go better next time? */
static bool may_pass(const struct channel_answer *a)
{
	return a->status == 0 || a->status == 429 || a->status >= 500;
}

/* Asks again after failures that may pass.  True: 2xx, and the whole of it. */
static bool ask_well(struct channel *c, const char *method, const char *path, const char *more,
		     struct buf *keep, void (*seen)(void *ctx, size_t bytes), void *ctx,
		     struct channel_answer *a)
{
	unsigned pause_s = WARM_PAUSE_S;

	for (unsigned tries = 1;; tries++) {
		unsigned wait_s;

		if (keep)
			keep->head = keep->tail = 0;
		if (channel_ask(c, method, path, more, keep, seen, ctx, a) && a->status >= 200 &&
		    a->status < 300)
			return true;
		wait_s = a->retry_after_s > pause_s ? a->retry_after_s : pause_s;
		if (tries == WARM_TRIES || !may_pass(a) || wait_s > WARM_PAUSE_MAX_S)
			return false;
		sleep(wait_s);
		pause_s *= 2;
	}
}

struct blob_seen {
	struct warm *w;
	struct warm_now *now;
};

static void blob_bytes(void *ctx, size_t bytes)
{
	struct blob_seen *s = ctx;

	pthread_mutex_lock(&s->w->lock);
	s->now->done += bytes;
	bars(s->w, false);
	pthread_mutex_unlock(&s->w->lock);
}

/* True: it is cached now.  *fetched: it was not before. */
static bool blob_get(struct warm *w, struct channel *c, struct warm_now *now, bool *fetched,
		     struct channel_answer *a)
{
	struct blob_seen seen = { w, now };
	char digest[DIGEST_TEXT_MAX];
	char *path = NULL;
	bool ok;

	digest_format(&now->blob.digest, digest);
	if (asprintf(&path, "/v2/%s/blobs/%s", now->blob.image->repo, digest) < 0) {
		snprintf(a->why, sizeof(a->why), "no memory");
		return false;
	}
	ok = channel_ask(c, "HEAD", path, "Cache-Control: only-if-cached\r\n", NULL, NULL, NULL,
			 a) &&
	     a->status == 200;
	*fetched = !ok;
	if (!ok)
		ok = ask_well(c, "GET", path, "", NULL, blob_bytes, &seen, a);
	free(path);
	return ok;
}

/* ---- threads ---- */

struct warm_thread {
	struct warm *w;
	pthread_t id;
	unsigned number;
};

/* The next one; false: none will come. */
static bool blob_take(struct warm *w, struct warm_now *now)
{
	pthread_mutex_lock(&w->lock);
	while (w->queue_next == w->queue_count && !w->complete)
		pthread_cond_wait(&w->more, &w->lock);
	*now = (struct warm_now){ .busy = w->queue_next < w->queue_count };
	if (now->busy)
		now->blob = w->queue[w->queue_next++];
	pthread_mutex_unlock(&w->lock);
	return now->busy;
}

static void blob_done(struct warm *w, struct warm_now *now, bool ok, bool fetched, const char *why)
{
	struct warm_image *im = now->blob.image;

	pthread_mutex_lock(&w->lock);
	now->busy = false;
	w->bytes_done += now->blob.size;
	im->left--;
	if (ok && fetched) {
		im->fetched += now->blob.size;
	}
	im->cached += ok && !fetched;
	if (!ok && !im->why[0])
		snprintf(im->why, sizeof(im->why), "%s", why);
	bars(w, false);
	tell_if_over(w, im);
	pthread_mutex_unlock(&w->lock);
}

static void *warm_run(void *arg)
{
	struct warm_thread *t = arg;
	struct warm_now *now = &t->w->now[t->number];
	struct channel_answer a;
	struct channel c;

	if (!channel_init(&c, t->w->args))
		return NULL;
	while (blob_take(t->w, now)) {
		bool fetched = false;
		bool ok = blob_get(t->w, &c, now, &fetched, &a);

		blob_done(t->w, now, ok, fetched, a.why);
	}
	channel_fini(&c);
	return NULL;
}

/* ---- what an image is made of ---- */

/* Layers that images share are in it for each: who comes second finds them cached. */
static bool queue_add(struct warm *w, struct warm_image *im, const struct image_part *p)
{
	bool ok = true;

	pthread_mutex_lock(&w->lock);
	if (w->queue_count == w->queue_cap) {
		size_t cap = w->queue_cap ? 2 * w->queue_cap : 256;
		struct warm_blob *more = reallocarray(w->queue, cap, sizeof(*more));

		ok = more != NULL;
		w->queue = ok ? more : w->queue;
		w->queue_cap = ok ? cap : w->queue_cap;
	}
	if (ok) {
		w->queue[w->queue_count++] = (struct warm_blob){ im, p->digest, p->size };
		im->bytes += p->size;
		im->blobs++;
		im->left++;
		w->bytes_known += p->size;
		pthread_cond_signal(&w->more);
	}
	bars(w, false);
	pthread_mutex_unlock(&w->lock);
	return ok;
}

static const char *own_platform(char out[64])
{
	static const struct {
		const char *machine, *arch;
	} of[] = { { "x86_64", "amd64" },
		   { "aarch64", "arm64" },
		   { "armv7l", "arm/v7" },
		   { "i686", "386" },
		   { "riscv64", "riscv64" } };
	struct utsname u;

	if (uname(&u) < 0)
		u.machine[0] = '\0';
	for (unsigned i = 0; i < countof(of); i++)
		if (strcmp(u.machine, of[i].machine) == 0)
			snprintf(u.machine, sizeof(u.machine), "%s", of[i].arch);
	snprintf(out, 64, "linux/%.50s", u.machine);
	return out;
}

/* "linux/arm64" is "linux/arm64/v8", too; what has no platform is wanted by "all" alone. */
static bool platform_wanted(const struct warm_image *im, const char *platform)
{
	char own[64];
	struct slice list = slice_of(im->platforms[0] ? im->platforms : own_platform(own));

	while (list.len > 0) {
		struct slice one = slice_cut(&list, ',');

		while (slice_ends(one, SLICE(" ")))
			one.len--;
		if (slice_eq(one, SLICE("all")))
			return true;
		if (one.len > 0 && slice_starts(slice_of(platform), one) &&
		    (platform[one.len] == '\0' || platform[one.len] == '/'))
			return true;
	}
	return false;
}

static void image_fail(struct warm *w, struct warm_image *im, const char *why)
{
	pthread_mutex_lock(&w->lock);
	if (!im->why[0])
		snprintf(im->why, sizeof(im->why), "%s", why);
	pthread_mutex_unlock(&w->lock);
}

static int manifest_get(struct warm *w, struct channel *c, struct warm_image *im, const char *ref,
			struct buf *body, struct image_part **parts)
{
	struct channel_answer a;
	char *path = NULL, *accept = NULL;
	int n = -1;

	if (asprintf(&path, "/v2/%s/manifests/%s", im->repo, ref) < 0 ||
	    asprintf(&accept, "Accept: %s\r\n", oci_accept_manifests) < 0) {
		image_fail(w, im, "no memory");
		free(path);
		return -1;
	}
	if (!ask_well(c, "GET", path, accept, body, NULL, NULL, &a))
		image_fail(w, im, a.why);
	else if (strcmp(a.cache, "stale") == 0)
		image_fail(w, im,
			   "the registry does not answer: what is cached may be out of date");
	else if ((n = image_parts_parse(buf_data(body), parts)) < 0)
		image_fail(w, im, "its manifest is of no kind that Sluice knows");
	free(path);
	free(accept);
	return n;
}

/* Blobs of one manifest into the queue; of an index, of those of its manifests that are wanted. */
static void manifest_warm(struct warm *w, struct channel *c, struct warm_image *im, const char *ref,
			  struct buf *body, unsigned depth)
{
	struct image_part *parts = NULL;
	int n = manifest_get(w, c, im, ref, body, &parts);
	unsigned wanted = 0, manifests = 0;

	for (int i = 0; i < n; i++) {
		char digest[DIGEST_TEXT_MAX];

		if (!parts[i].manifest) {
			if (!queue_add(w, im, &parts[i]))
				image_fail(w, im, "no memory");
			continue;
		}
		manifests++;
		if (depth > 0 || !platform_wanted(im, parts[i].platform))
			continue;
		wanted++;
		digest_format(&parts[i].digest, digest);
		manifest_warm(w, c, im, digest, body, depth + 1);
	}
	if (n >= 0 && manifests > 0 && wanted == 0 && depth == 0)
		image_fail(w, im, "it has none of the platforms wanted");
	free(parts);
}

static void image_warm(struct warm *w, struct channel *c, struct warm_image *im, struct buf *body)
{
	manifest_warm(w, c, im, im->ref, body, 0);
	pthread_mutex_lock(&w->lock);
	im->resolved = true;
	tell_if_over(w, im);
	pthread_mutex_unlock(&w->lock);
}

/* ---- */

static void warm_all(struct warm *w, struct channel *c, struct buf *body)
{
	struct warm_thread threads[WARM_THREADS];
	unsigned started = 0;

	while (started < WARM_THREADS) {
		threads[started] = (struct warm_thread){ .w = w, .number = started };
		if (pthread_create(&threads[started].id, NULL, warm_run, &threads[started]) != 0)
			break;
		started++;
	}
	for (unsigned i = 0; i < w->images_count && started > 0; i++)
		image_warm(w, c, &w->images[i], body);
	pthread_mutex_lock(&w->lock);
	w->complete = true;
	pthread_cond_broadcast(&w->more);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i].id, NULL);
	bars_wipe(w);
}

static int warm_begin(struct warm *w, const char *path)
{
	struct channel c = { .fd = -1 };
	char *mem = malloc(MANIFEST_MAX);
	struct buf body;
	bool ok;

	w->images = calloc(WARM_LINES_MAX, sizeof(*w->images));
	buf_init(&body, mem, mem ? MANIFEST_MAX : 0);
	ok = w->images && mem && channel_init(&c, w->args);
	if (!ok)
		(void)cli_fail("no memory");
	else if (!list_read(w, path))
		ok = false;
	else if (!channel_reach(&c)) /* it said why */
		ok = false;
	else
		warm_all(w, &c, &body);
	channel_fini(&c);
	free(mem);
	return !ok ? WARM_UNDONE : w->failed > 0 || w->told < w->images_count;
}

int cmd_warm(const struct cli_args *args)
{
	struct warm w = { .args = args, .shows = !args->json && isatty(STDERR_FILENO) };
	int code;

	if (args->argc != 1) {
		(void)cli_fail("name a list: a file with an image a line, or - for stdin");
		return CLI_USAGE;
	}
	w.config = cli_load(args->file);
	if (!w.config)
		return WARM_UNDONE;
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.more, NULL);
	code = warm_begin(&w, args->argv[0]);
	for (unsigned i = 0; w.images && i < w.images_count; i++) {
		free(w.images[i].name);
		free(w.images[i].platforms);
		free(w.images[i].repo);
		free(w.images[i].ref);
	}
	free(w.images);
	free(w.queue);
	config_unref(w.config);
	return code;
}
