/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

int report_fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("sluice-tune: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_FAILED;
}

int report_status(const struct findings *f)
{
	if (findings_count(f, VERDICT_IMPOSSIBLE))
		return EXIT_IMPOSSIBLE;
	return findings_count(f, VERDICT_APPLY) ? EXIT_TO_APPLY : EXIT_DONE;
}

static int widest(const struct findings *f, const char *(*text)(const struct finding *f), int most)
{
	int w = 0;

	for (unsigned i = 0; i < f->count; i++) {
		int len = (int)strlen(text(&f->v[i]));

		w = len > w && len <= most ? len : w;
	}
	return w;
}

static const char *name_of(const struct finding *f)
{
	return f->name;
}

static const char *now_of(const struct finding *f)
{
	return f->now;
}

static const char *wanted_of(const struct finding *f)
{
	return f->wanted;
}

void report_text(FILE *to, const struct host *h, const struct findings *f)
{
	const int names = widest(f, name_of, 40), nows = widest(f, now_of, 30);
	const int wants = widest(f, wanted_of, 30);
	char sum[512];

	fprintf(to, "%-10s  %-*s  %-*s  %-*s  %s\n", "verdict", names, "setting", nows, "now",
		wants, "wanted", "why");
	for (unsigned i = 0; i < f->count; i++) {
		const struct finding *x = &f->v[i];

		fprintf(to, "%-10s  %-*s  %-*s  %-*s  %s\n", verdict_names[x->verdict], names,
			x->name, nows, x->now, wants, x->wanted, x->setting->why);
		if (x->reason[0])
			fprintf(to, "%-10s  %s\n", "", x->reason);
	}
	if (h->links.more)
		fprintf(to, "%u more interfaces were not looked at\n", h->links.more);
	bdp_format(&h->bdp, sum, sizeof(sum));
	fprintf(to, "\nBuffers: %s.\n", sum);
	fprintf(to, "%u ok, %u to apply%s, %u to consider, %u impossible here\n",
		findings_count(f, VERDICT_OK), findings_count(f, VERDICT_APPLY),
		findings_count(f, VERDICT_APPLY) ? " (sluice-tune apply)" : "",
		findings_count(f, VERDICT_ADVICE), findings_count(f, VERDICT_IMPOSSIBLE));
}

void report_json_text(FILE *to, const char *text)
{
	fputc('"', to);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(to, "\\%c", *p);
		else if (*p < 0x20 || *p >= 0x7f)
			fprintf(to, "\\u%04x", *p);
		else
			fputc(*p, to);
	}
	fputc('"', to);
}

static void member(FILE *to, const char *name, const char *text)
{
	fprintf(to, "\"%s\": ", name);
	report_json_text(to, text);
	fputs(", ", to);
}

void report_json(FILE *to, const struct host *h, const struct findings *f)
{
	const struct bdp *b = &h->bdp;

	fprintf(to,
		"{\"status\": %d, \"rtt_ms\": %" PRIu64 ", \"bandwidth_bits\": %" PRIu64
		", \"memory_bytes\": %" PRIu64 ", \"bdp_bytes\": %" PRIu64
		", \"buffer_bytes\": %" PRIu64 ",\n \"settings\": [\n",
		report_status(f), b->rtt_ms, b->bandwidth, b->memory_bytes, b->line_bytes,
		b->buffer_bytes);
	for (unsigned i = 0; i < f->count; i++) {
		const struct finding *x = &f->v[i];

		fputs("  {", to);
		member(to, "name", x->name);
		member(to, "now", x->now);
		member(to, "wanted", x->wanted);
		member(to, "why", x->setting->why);
		if (x->reason[0])
			member(to, "reason", x->reason);
		fprintf(to, "\"verdict\": \"%s\"}%s\n", verdict_names[x->verdict],
			i + 1 < f->count ? "," : "");
	}
	fputs(" ]}\n", to);
}
