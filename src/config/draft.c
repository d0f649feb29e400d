/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/draft.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "config/ini.h"
#include "config/value.h"

enum {
	SECTIONS_MAX = 1000, /* each is compared with all before it */
	/* The draft of a section is below 640 bytes, beside its name. */
	DRAFT_BYTES_MAX = 2 * 1024 * 1024,
};

void draft_init(struct draft *d, const char *file, struct config *c, struct config_errors *errs)
{
	void *const data[SECTION_COUNT] = {
		[SECTION_SERVER] = &c->server,
		[SECTION_LIMITS] = &c->limits,
		[SECTION_CACHE] = &c->cache,
		[SECTION_RESOLVER] = &c->resolver,
	};

	*d = (struct draft){ .file = file, .c = c, .errs = errs };
	arena_init(&d->arena, DRAFT_BYTES_MAX);
	d->last = &d->first;
	for (unsigned i = 0; i < SECTION_COUNT; i++) {
		if (schema_sections[i].named)
			continue;
		d->single[i] = arena_alloc(&d->arena, sizeof(*d->single[i]));
		assert(d->single[i] != NULL);
		d->single[i]->section = i;
		d->single[i]->data = data[i];
		*d->last = d->single[i];
		d->last = &d->single[i]->next;
	}
}

void draft_fini(struct draft *d)
{
	arena_fini(&d->arena);
}

static void add_message(struct draft *d, struct config_messages *to, unsigned line, const char *fmt,
			va_list ap) printf_like(4, 0);
static void add_message(struct draft *d, struct config_messages *to, unsigned line, const char *fmt,
			va_list ap)
{
	char text[1024];
	char at[16] = "";

	if (to->count == CONFIG_MESSAGES_MAX) {
		to->more++;
		return;
	}
	vsnprintf(text, sizeof(text), fmt, ap);
	if (line)
		snprintf(at, sizeof(at), "%u:", line);
	to->text[to->count] = arena_printf(&d->errs->arena, "%s:%s %s", d->file, at, text);
	assert(to->text[to->count] != NULL);
	to->count++;
}

void draft_error(struct draft *d, unsigned line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_message(d, &d->errs->errors, line, fmt, ap);
	va_end(ap);
}

void draft_warning(struct draft *d, unsigned line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_message(d, &d->errs->warnings, line, fmt, ap);
	va_end(ap);
}

struct draft_title draft_title(const struct draft_section *s)
{
	struct draft_title t;

	snprintf(t.text, sizeof(t.text), "[%s%s%s]", schema_sections[s->section].name,
		 s->name ? " " : "", s->name ? s->name : "");
	return t;
}

/* Escaped and cut, without the quotes. */
static struct slice shown(struct log_quoted *q, struct slice text)
{
	*q = log_quote(text);
	return (struct slice){ q->text + 1, strlen(q->text) - 2 };
}

void draft_error_value(struct draft *d, const struct draft_section *s, const struct schema_key *k,
		       unsigned line, struct slice value, const char *why)
{
	struct log_quoted q;

	/* A password may stand in a URL. */
	if ((k->type == VALUE_URL || k->type == VALUE_URLS || k->type == VALUE_VIA) &&
	    slice_find(value, '@') < value.len)
		value = SLICE("(not shown)");
	if (k->type == VALUE_SECRET)
		value = SLICE("(not shown)");
	draft_error(d, line, "%s %s = %.*s: %s", draft_title(s).text, k->key,
		    SLICE_FMT(shown(&q, value)), why);
}

unsigned draft_line(const struct draft_section *s, const char *key)
{
	const struct schema_key *k = schema_find(s->section, slice_of(key));

	assert(k != NULL);
	return s->lines[k - schema_keys];
}

static bool is_word(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!isalnum((unsigned char)s.ptr[i]) && !strchr("._-", s.ptr[i]))
			return false;
	return s.len > 0 && s.len < 64;
}

/* The section's name as we keep it, or NULL. */
static const char *section_name(struct draft *d, enum section section, struct slice text)
{
	if (section == SECTION_POOL)
		return value_host(text, &d->c->arena);
	if (section == SECTION_MIRROR)
		return value_registry(text, &d->c->arena);
	return is_word(text) ? arena_dup(&d->c->arena, text) : NULL;
}

static struct draft_section *find_named(struct draft *d, enum section section, const char *name)
{
	for (struct draft_section *s = d->first; s; s = s->next)
		if (s->section == section && strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

static struct draft_section *add_named(struct draft *d, enum section section, const char *name)
{
	struct draft_section *s = arena_alloc(&d->arena, sizeof(*s));

	assert(s != NULL);
	s->section = section;
	s->name = name;
	s->data = arena_alloc(&d->c->arena, schema_sections[section].bytes);
	assert(s->data != NULL);
	*d->last = s;
	d->last = &s->next;
	return s;
}

static struct draft_section *open_named(struct draft *d, unsigned line, enum section section,
					struct slice text)
{
	struct draft_section *s;
	struct log_quoted q;
	const char *name;

	if (d->count == SECTIONS_MAX) {
		draft_error(d, line, "at most %d sections may have a name", SECTIONS_MAX);
		return NULL;
	}
	name = section_name(d, section, text);
	if (!name) {
		draft_error(d, line, "[%s %.*s]: must have a name, such as [%s %s]",
			    schema_sections[section].name, SLICE_FMT(shown(&q, text)),
			    schema_sections[section].name, schema_sections[section].named);
		return NULL;
	}
	s = find_named(d, section, name);
	if (s)
		return s;
	d->count++;
	return add_named(d, section, name);
}

static void on_section(struct draft *d, unsigned line, struct slice text)
{
	struct slice rest = text, word = slice_cut(&rest, ' ');
	struct log_quoted q;
	enum section i = 0;

	d->headed = true;
	d->now = NULL;
	d->key = NULL;
	rest = slice_trim(rest);
	while (i < SECTION_COUNT && !slice_eq(word, slice_of(schema_sections[i].name)))
		i++;
	if (i == SECTION_COUNT) {
		const char *guess = schema_guess_section(word);

		draft_error(d, line, "[%.*s]: no such section%s%s%s", SLICE_FMT(shown(&q, text)),
			    guess ? "; did you mean [" : "", guess ? guess : "", guess ? "]?" : "");
		return;
	}
	if (!schema_sections[i].named && rest.len) {
		draft_error(d, line, "[%.*s]: must be just [%s]", SLICE_FMT(shown(&q, text)),
			    schema_sections[i].name);
		return;
	}
	d->now = schema_sections[i].named ? open_named(d, line, i, rest) : d->single[i];
	if (d->now && d->now->line)
		draft_error(d, line, "%s: stands twice, first in line %u; make one of them",
			    draft_title(d->now).text, d->now->line);
	else if (d->now)
		d->now->line = line;
}

static void store(struct draft *d, const struct ini_event *ev)
{
	char why[VALUE_WHY_MAX];

	if (!value_store(d->key, ev->value, d->now->data, &d->c->arena, why))
		draft_error_value(d, d->now, d->key, ev->line, ev->value, why);
}

static void on_key(struct draft *d, const struct ini_event *ev)
{
	struct log_quoted q;
	unsigned *line;

	d->key = NULL;
	if (!d->headed)
		draft_error(d, ev->line,
			    "%.*s: stands before the first section; put [server] before it",
			    SLICE_FMT(shown(&q, ev->name)));
	if (!d->now)
		return;
	d->key = schema_find(d->now->section, ev->name);
	if (!d->key) {
		const char *guess = schema_guess_key(d->now->section, ev->name);

		draft_error(d, ev->line, "%s %.*s: no such key%s%s%s", draft_title(d->now).text,
			    SLICE_FMT(shown(&q, ev->name)), guess ? "; did you mean '" : "",
			    guess ? guess : "", guess ? "'?" : "");
		return;
	}
	line = &d->now->lines[d->key - schema_keys];
	if (*line && !value_may_repeat(d->key->type)) {
		draft_error(d, ev->line, "%s %s: stands twice, first in line %u; %s",
			    draft_title(d->now).text, d->key->key, *line,
			    value_is_list(d->key->type) ? "write all values behind one '='"
							: "remove one of them");
		d->key = NULL;
		return;
	}
	if (!*line)
		*line = ev->line;
	store(d, ev);
}

static void on_more(struct draft *d, const struct ini_event *ev)
{
	if (!d->key)
		return;
	if (value_is_list(d->key->type))
		store(d, ev);
	else
		draft_error_value(d, d->now, d->key, ev->line, ev->value,
				  "the line is indented, but only lists go on in a further line");
}

static void on_event(void *ctx, const struct ini_event *ev)
{
	struct draft *d = ctx;

	switch (ev->kind) {
	case INI_SECTION: on_section(d, ev->line, ev->name); return;
	case INI_KEY: on_key(d, ev); return;
	case INI_MORE: on_more(d, ev); return;
	case INI_BAD: draft_error(d, ev->line, "%.*s", SLICE_FMT(ev->value)); return;
	}
}

void draft_read(struct draft *d, struct slice text)
{
	ini_read(text, on_event, d);
}
