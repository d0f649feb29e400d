/* SPDX-License-Identifier: GPL-3.0-or-later */
/* conf/sluice.ini is the reference for people: it must say what the table of keys says. */
#include "config/schema.h"

#include "config/value.h"
#include "test.h"

static char reference[64 * 1024];

/* A key of the reference with the comment above it. */
struct entry {
	const struct schema_key *key;
	bool out; /* commented out */
	char value[300];
	char comment[1000];
	unsigned times;
};
static struct entry entries[SCHEMA_KEYS_MAX];

static int find_section(struct slice title)
{
	struct slice word = slice_cut(&title, ' ');

	for (int i = 0; i < SECTION_COUNT; i++)
		if (slice_eq(word, slice_of(schema_sections[i].name)))
			return i;
	return -1;
}

static void note_key(int section, struct slice line, const char *comment)
{
	bool out = slice_starts(line, SLICE(";"));
	struct slice value = out ? slice_skip(line, 1) : line;
	struct slice key = slice_trim(slice_cut(&value, '='));
	const struct schema_key *k;
	struct entry *e;

	value = slice_trim(value);
	k = section < 0 ? NULL : schema_find((enum section)section, key);
	if (!check(k != NULL)) {
		printf("# the table has no %.*s\n", SLICE_FMT(line));
		return;
	}
	e = &entries[k - schema_keys];
	e->key = k;
	e->out = out;
	e->times++;
	snprintf(e->value, sizeof(e->value), "%.*s", SLICE_FMT(value));
	snprintf(e->comment, sizeof(e->comment), "%s", comment);
}

/* Comments belong to the key below them, up to an empty line. */
static void read_reference(void)
{
	FILE *f = fopen("conf/sluice.ini", "re");
	char comment[1000] = "", line[300];
	int section = -1;

	if (!check(f != NULL))
		return;
	while (fgets(line, sizeof(line), f)) {
		struct slice s = slice_first(slice_of(line), strcspn(line, "\n"));

		check(s.len <= 100);
		if (s.len == 0) {
			comment[0] = '\0';
		} else if (s.ptr[0] == '#') {
			size_t len = strlen(comment);

			snprintf(comment + len, sizeof(comment) - len, "%.*s\n",
				 SLICE_FMT(slice_skip(s, 1)));
		} else if (s.ptr[0] == '[' || slice_starts(s, SLICE(";["))) {
			s = slice_first(s, slice_find(s, ']'));
			section = find_section(slice_skip(s, slice_find(s, '[') + 1));
			check(section >= 0);
		} else {
			note_key(section, s, comment);
		}
	}
	fclose(f);
}

TEST(the_reference_names_every_key_once_and_no_other)
{
	read_reference();
	for (unsigned i = 0; i < schema_keys_count; i++)
		if (!check(entries[i].times == 1))
			printf("# %s: %u times\n", schema_keys[i].key, entries[i].times);
}

TEST(the_reference_shows_the_defaults)
{
	for (unsigned i = 0; i < schema_keys_count; i++) {
		const struct schema_key *k = &schema_keys[i];

		if (k->by_default)
			check_str(entries[i].value, k->by_default);
		if (!check((strstr(entries[i].comment, "default: none") == NULL) ==
			   (k->by_default != NULL)))
			printf("# %s\n", k->key);
		if (k->by_default)
			check(entries[i].out);
	}
}

TEST(the_reference_says_what_needs_a_restart)
{
	for (unsigned i = 0; i < schema_keys_count; i++)
		if (!check((strstr(entries[i].comment, " restart") != NULL) !=
			   schema_keys[i].reloadable))
			printf("# %s\n", schema_keys[i].key);
}

TEST(every_example_of_the_reference_is_good)
{
	union {
		struct conf_server server;
		struct conf_mirror mirror;
		char any[1024];
	} u;
	char why[VALUE_WHY_MAX];
	struct arena a;

	arena_init(&a, 1 << 20);
	for (unsigned i = 0; i < schema_keys_count; i++) {
		memset(&u, 0, sizeof(u));
		if (!check(value_store(&schema_keys[i], slice_of(entries[i].value), &u, &a, why)))
			printf("# %s = %s: %s\n", schema_keys[i].key, entries[i].value, why);
	}
	arena_fini(&a);
}

/* How many words of <help> with four letters or more are in <comment>, in percent. */
static unsigned shared_words(const char *help, const char *comment)
{
	unsigned words = 0, shared = 0;
	char word[40];

	while (*help) {
		size_t len = strcspn(help, " ;:,");

		if (len >= 4 && len < sizeof(word)) {
			snprintf(word, sizeof(word), "%.*s", (int)len, help);
			words++;
			shared += strcasestr(comment, word) != NULL;
		}
		help += len + strspn(help + len, " ;:,");
	}
	return words ? 100 * shared / words : 100;
}

TEST(the_reference_explains_keys_as_the_table_does)
{
	for (unsigned i = 0; i < schema_keys_count; i++)
		if (!check(shared_words(schema_keys[i].help, entries[i].comment) >= 70))
			printf("# %s: %s\n", schema_keys[i].key, schema_keys[i].help);
}

TEST(the_reference_is_a_configuration)
{
	FILE *f = fopen("conf/sluice.ini", "re");
	struct config_errors errs;
	struct config *c;
	size_t len;

	require(f);
	len = fread(reference, 1, sizeof(reference), f);
	fclose(f);
	check_eq(config_parse("conf/sluice.ini", (struct slice){ reference, len }, &c, &errs), 0);
	for (unsigned i = 0; i < errs.errors.count; i++)
		printf("# %s\n", errs.errors.text[i]);
	check_eq(errs.warnings.count, 0);
	config_errors_fini(&errs);
	require(c);
	config_unref(c);
}

TEST(rows_make_sense)
{
	for (unsigned i = 0; i < schema_keys_count; i++) {
		const struct schema_key *k = &schema_keys[i];

		check(k->key && k->help);
		check(schema_find(k->section, slice_of(k->key)) == k);
		check((k->type == VALUE_CHOICE) == (k->choices != NULL));
		check(k->min <= k->max);
		check(k->at < schema_sections[k->section].bytes);
		/* check() is given a string. */
		if (k->check)
			check(k->type == VALUE_PATH || k->type == VALUE_LOG ||
			      k->type == VALUE_USER);
	}
}

TEST(guesses_are_near_and_never_wild)
{
	check_str(schema_guess_key(SECTION_SERVER, SLICE("wokers")), "workers");
	check_str(schema_guess_key(SECTION_SERVER, SLICE("hosts")), "host");
	check_str(schema_guess_key(SECTION_SERVER, SLICE("acces_log")), "access_log");
	check_str(schema_guess_key(SECTION_MIRROR, SLICE("tag_fresh_ms")), NULL);
	check_str(schema_guess_key(SECTION_CACHE, SLICE("host")), NULL);
	check_str(schema_guess_key(SECTION_MIRROR, SLICE("xy")), NULL);
	check_str(schema_guess_key(SECTION_SERVER, SLICE("")), NULL);
	check_str(schema_guess_section(SLICE("mirrors")), "mirror");
	check_str(schema_guess_section(SLICE("volume")), NULL);
}
