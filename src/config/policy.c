/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/policy.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/units.h"
#include "config/schema.h"
#include "config/value.h"

static const uint64_t time_max_ms = 365ull * 24 * 60 * 60 * 1000;
static const char *const words[] = { "immutable", "always", "window" };

static bool fail(char *why, const char *fmt, ...) printf_like(2, 3);
static bool fail(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, VALUE_WHY_MAX, fmt, ap);
	va_end(ap);
	return false;
}

/* Takes the first word and the blanks behind it off <text>. */
static struct slice take_word(struct slice *text)
{
	struct slice word = *text;
	size_t n = 0;

	while (n < text->len && text->ptr[n] != ' ' && text->ptr[n] != '\t')
		n++;
	word.len = n;
	*text = slice_trim(slice_skip(*text, n));
	return word;
}

static bool is_policy_word(struct slice word)
{
	for (unsigned i = 0; i < countof(words); i++)
		if (slice_eq(word, slice_of(words[i])))
			return true;
	return false;
}

static bool take_time(struct slice *rest, const char *word, uint64_t *ms, char *why)
{
	struct slice text = take_word(rest);

	if (units_parse_ms(text, ms) && *ms <= time_max_ms)
		return true;
	return fail(why,
		    "'%.*s' behind '%s' must be a time with a unit of ms, s, m, h or d, from 0s to "
		    "365d, such as %s 60s",
		    SLICE_FMT(slice_first(text, 48)), word, word);
}

static bool no_policy_word(struct slice rule, char *why)
{
	struct slice rest = rule;
	const char *guess = NULL;

	take_word(&rest);
	while (rest.len && !guess)
		guess = schema_guess_word(take_word(&rest), words, countof(words));
	return fail(why,
		    "'%.*s' must end with immutable, always, or window TIME, behind its "
		    "patterns%s%s%s",
		    SLICE_FMT(slice_first(rule, 80)), guess ? "; did you mean '" : "",
		    guess ? guess : "", guess ? "'?" : "");
}

bool policy_parse(struct slice rule, struct slice *patterns, struct conf_policy *out, char *why)
{
	struct slice rest = slice_trim(rule), word = SLICE_NONE, from = rest;

	*out = (struct conf_policy){ .kind = POLICY_WINDOW };
	while (rest.len) {
		word = take_word(&rest);
		if (is_policy_word(word))
			break;
		word = SLICE_NONE;
	}
	if (!word.ptr)
		return no_policy_word(from, why);
	*patterns = slice_trim(slice_range(from.ptr, word.ptr));
	if (patterns->len == 0)
		return fail(why, "'%.*s' needs a pattern before it, such as * or 1.2.*",
			    SLICE_FMT(word));
	if (slice_eq(word, SLICE("immutable")))
		out->kind = POLICY_IMMUTABLE;
	else if (slice_eq(word, SLICE("always")))
		out->kind = POLICY_ALWAYS;
	else if (!take_time(&rest, "window", &out->window_ms, why))
		return false;
	if (out->kind == POLICY_WINDOW && rest.len) {
		word = take_word(&rest);
		if (!slice_eq(word, SLICE("revalidate")))
			return fail(why,
				    "'%.*s': behind window TIME only 'revalidate TIME' may follow; "
				    "a ',' begins another rule",
				    SLICE_FMT(slice_first(word, 48)));
		if (!take_time(&rest, "revalidate", &out->revalidate_ms, why))
			return false;
	}
	if (rest.len)
		return fail(why, "'%.*s' stands behind the policy; a ',' begins another rule",
			    SLICE_FMT(slice_first(rest, 48)));
	return true;
}

static bool is_name_byte(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-';
}

/* The length of the set that begins at s.ptr[0], brackets included; 0: it is none. */
static size_t set_len(struct slice s)
{
	size_t i = 1;

	if (i < s.len && (s.ptr[i] == '!' || s.ptr[i] == '^'))
		i++;
	if (i < s.len && s.ptr[i] == ']') /* nothing in it: ']' is in no name */
		return 0;
	while (i < s.len && s.ptr[i] != ']') {
		if (!is_name_byte(s.ptr[i]) && s.ptr[i] != '/')
			return 0;
		i++;
	}
	return i < s.len ? i + 1 : 0;
}

/* The length of the byte, '*' or set that begins at s.ptr[0]; 0: no pattern may have it. */
static size_t item_len(struct slice s, bool repo)
{
	if (s.ptr[0] == '[')
		return set_len(s);
	return is_name_byte(s.ptr[0]) || s.ptr[0] == '*' || (repo && s.ptr[0] == '/');
}

/* A '?' stands behind a byte or a set that may be missing. */
static bool is_pattern(struct slice s, bool repo)
{
	size_t i = 0;

	while (i < s.len) {
		size_t n = item_len(slice_skip(s, i), repo);

		if (n == 0)
			return false;
		if (i + n < s.len && s.ptr[i + n] == '?' && s.ptr[i] != '*')
			n++;
		i += n;
	}
	return s.len > 0;
}

/* The ':' between repository and tag, or s.len. */
static size_t find_colon(struct slice s)
{
	size_t i = 0;

	while (i < s.len && s.ptr[i] != ':') {
		size_t n = s.ptr[i] == '[' ? set_len(slice_skip(s, i)) : 1;

		i += n ? n : 1;
	}
	return i;
}

bool policy_pattern(struct slice text, struct conf_policy *p, struct arena *a, char *why)
{
	size_t colon = find_colon(text);
	struct slice repo = slice_first(text, colon), tag = slice_skip(text, colon + 1);

	p->repo = NULL;
	if (colon == text.len)
		tag = text;
	if (text.len > REPO_NAME_MAX + 1 + TAG_MAX || !is_pattern(tag, false) ||
	    (colon < text.len && !is_pattern(repo, true)))
		return fail(
			why,
			"'%.*s%s' must be a pattern for a tag, or REPOSITORY:TAG, of letters, "
			"digits, '.', '_', '-', * [a-z] [!a-z], and '?' behind what may be missing",
			SLICE_FMT(slice_first(text, 80)), text.len > 80 ? "..." : "");
	p->tag = arena_dup(a, tag);
	if (colon < text.len)
		p->repo = arena_dup(a, repo);
	assert(p->tag && (p->repo || colon == text.len));
	return true;
}

static bool is_rest(const struct conf_policy *p)
{
	return !p->repo && strcmp(p->tag, "*") == 0;
}

const struct conf_policy *policy_rest(const struct conf_policies *list)
{
	for (unsigned i = 0; i < list->count; i++)
		if (is_rest(&list->v[i]))
			return &list->v[i];
	return NULL;
}

bool policy_same_pattern(const struct conf_policy *a, const struct conf_policy *b)
{
	return strcmp(a->tag, b->tag) == 0 && !a->repo == !b->repo &&
	       (!a->repo || strcmp(a->repo, b->repo) == 0);
}

/* <set>: with its brackets. */
static bool in_set(struct slice set, char c)
{
	struct slice s = slice_first(slice_skip(set, 1), set.len - 2);
	bool other = s.ptr[0] == '!' || s.ptr[0] == '^';
	bool found = false;

	for (size_t i = other; i < s.len; i++) {
		if (i + 2 < s.len && s.ptr[i + 1] == '-') {
			found |= s.ptr[i] <= c && c <= s.ptr[i + 2];
			i += 2;
		} else {
			found |= s.ptr[i] == c;
		}
	}
	return found != other;
}

/* The item at pattern[at], '?' included. */
struct item {
	struct slice text; /* without the '?' */
	size_t end;        /* where the next one begins */
	bool may_miss;
};

static struct item item_at(struct slice pattern, size_t at)
{
	struct slice rest = slice_skip(pattern, at);
	struct item item = { .text = slice_first(rest, item_len(rest, true)) };

	assert(item.text.len);
	item.end = at + item.text.len;
	item.may_miss = item.text.ptr[0] == '*';
	if (item.end < pattern.len && pattern.ptr[item.end] == '?') {
		item.may_miss = true;
		item.end++;
	}
	return item;
}

static bool stands_for(const struct item *item, char c)
{
	switch (item->text.ptr[0]) {
	case '*': return true;
	case '[': return in_set(item->text, c);
	default: return item->text.ptr[0] == c;
	}
}

/* All places that the name may have led to go on together: no way is tried twice. */
static bool matches(struct slice pattern, struct slice name)
{
	bool places[2][REPO_NAME_MAX + 1 + TAG_MAX + 1] = { { true } };
	bool *here = places[0], *next = places[1];

	assert(pattern.len < countof(places[0]));
	for (size_t n = 0;; n++) {
		memset(next, 0, pattern.len + 1);
		for (size_t at = 0; at < pattern.len;) {
			struct item item = item_at(pattern, at);

			if (here[at] && item.may_miss)
				here[item.end] = true;
			if (here[at] && n < name.len && stands_for(&item, name.ptr[n]))
				next[item.text.ptr[0] == '*' ? at : item.end] = true;
			at = item.end;
		}
		if (n == name.len)
			return here[pattern.len];
		here = places[(n + 1) % 2];
		next = places[n % 2];
	}
}

bool policy_matches(const struct conf_policy *p, struct slice repo, struct slice tag)
{
	return matches(slice_of(p->tag), tag) && (!p->repo || matches(slice_of(p->repo), repo));
}

bool policy_print(const struct conf_policy *p, struct buf *out)
{
	char window[UNITS_TEXT_MAX], revalidate[UNITS_TEXT_MAX];

	if (!buf_printf(out, "%s%s%s ", p->repo ? p->repo : "", p->repo ? ":" : "", p->tag))
		return false;
	switch (p->kind) {
	case POLICY_IMMUTABLE: return buf_append(out, SLICE("immutable"));
	case POLICY_ALWAYS: return buf_append(out, SLICE("always"));
	case POLICY_WINDOW: break;
	}
	units_format_ms(p->window_ms, window);
	if (!p->revalidate_ms)
		return buf_printf(out, "window %s", window);
	units_format_ms(p->revalidate_ms, revalidate);
	return buf_printf(out, "window %s revalidate %s", window, revalidate);
}

bool policy_is_fallback(struct slice tag)
{
	const struct slice begin = SLICE("sha256-");
	size_t hex = 0;

	if (!slice_starts(tag, begin))
		return false;
	tag = slice_skip(tag, begin.len);
	while (hex < tag.len && isxdigit((unsigned char)tag.ptr[hex]))
		hex++;
	return hex == 64;
}

struct conf_policy policy_of(const struct conf_mirror *m, struct slice repo, struct slice tag)
{
	const struct conf_policy *rest = policy_rest(&m->tag_policy);

	for (unsigned i = 0; i < m->tag_policy.count; i++) {
		const struct conf_policy *p = &m->tag_policy.v[i];

		if (p != rest && policy_matches(p, repo, tag))
			return *p;
	}
	if (policy_is_fallback(tag))
		return (struct conf_policy){ .kind = POLICY_WINDOW,
					     .window_ms = m->referrers_fresh_ms };
	if (rest)
		return *rest;
	return (struct conf_policy){ .kind = POLICY_WINDOW, .window_ms = m->tag_fresh_ms };
}
