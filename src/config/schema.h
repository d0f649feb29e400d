/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What may stand in the configuration: one table of all keys.  Parsing, defaults, the search for
 * unknown keys and the dump walk it; a test holds conf/sluice.ini against it.  To add a key: a
 * field in config.h, a row here, a paragraph in conf/sluice.ini.
 */
#pragma once

#include "config/config.h"

enum section {
	SECTION_SERVER,
	SECTION_LIMITS,
	SECTION_CERTIFICATE,
	SECTION_CACHE,
	SECTION_RESOLVER,
	SECTION_POOL,
	SECTION_MIRROR,
	SECTION_PASSTHROUGH,
	SECTION_TENANT,
	SECTION_SITE,
	SECTION_COUNT
};

struct schema_section {
	const char *name;
	const char *named; /* "docker.io", say: several, each with a name of its own; or NULL */
	size_t bytes;      /* of its struct in config.h */
	const char *help;
};
extern const struct schema_section schema_sections[SECTION_COUNT];

/* In brackets: the field. */
enum value_type {
	VALUE_ADDRS,    /* IP:port ... (struct conf_addrs) */
	VALUE_HOSTS,    /* host names without port ... (struct conf_names) */
	VALUE_SNIS,     /* host names, perhaps with "*." before them ... (struct conf_names) */
	VALUE_SERVERS,  /* IP or IP:port ... (struct conf_names) */
	VALUE_URLS,     /* http[s]://host[:port] ... (struct conf_upstreams) */
	VALUE_MEMBERS,  /* host[:port] [weight=n] ... (struct conf_pool_servers) */
	VALUE_IPS,      /* IP ... (struct conf_addrs) */
	VALUE_NETS,     /* IP or IP/bits ... (struct conf_nets) */
	VALUE_PATTERNS, /* words, perhaps with '*' in them ... (struct conf_names) */
	VALUE_SECRET,   /* a part of a path (char *) */
	VALUE_QUOTA,    /* bytes/month (uint64_t) */
	VALUE_VIA,      /* socks5|http://[user:password@]host:port (struct conf_via) */
	VALUE_WORD,     /* (const char *) */
	VALUE_IMAGE,    /* REPOSITORY[:TAG], without a registry (const char *) */
	VALUE_POLICY,   /* rules of config/policy.h, "," between them (struct conf_policies) */
	VALUE_URL,      /* http[s]://host[:port] (struct conf_upstream) */
	VALUE_PLACE,    /* host:port (struct conf_upstream) */
	VALUE_HOST,     /* host[:port] (const char *) */
	VALUE_PATHS,    /* absolute ... (struct conf_names) */
	VALUE_PATH,     /* absolute (const char *) */
	VALUE_LOG,      /* stdout, off, absolute path (const char *) */
	VALUE_SOCKET,   /* off, absolute path of a socket (const char *) */
	VALUE_HSTS,     /* (const char *) */
	VALUE_USER,     /* (const char *) */
	VALUE_AUTO,     /* auto is 0, or a number (uint64_t) */
	VALUE_COUNT,    /* a number (uint64_t) */
	VALUE_MS,       /* (uint64_t) */
	VALUE_BYTES,    /* (uint64_t) */
	VALUE_PERCENT,  /* 0% to 100% (uint64_t) */
	VALUE_BOOL,     /* yes, no (bool) */
	VALUE_CHOICE,   /* index in .choices (an enum) */
};

struct schema_key {
	enum section section;
	const char *key;
	enum value_type type;
	size_t at; /* of the field in the section's struct */
	uint64_t min;
	uint64_t max;           /* of a number; of a list's items, 0: VALUE_LIST_MAX */
	const char *choices;    /* VALUE_CHOICE: words with one space between */
	const char *by_default; /* NULL: none, the field stays zero */
	bool required;
	bool reloadable; /* may change without a restart */
	/* Is what the value names there?  NULL: yes; else what is wrong, in static words. */
	const char *(*check)(const char *value);
	const char *help;
};
enum { SCHEMA_KEYS_MAX = 128 };
extern const struct schema_key schema_keys[];
extern const unsigned schema_keys_count;

/* NULL: there is none. */
const struct schema_key *schema_find(enum section section, struct slice key);
/* The key of that section which was probably meant, or NULL. */
const char *schema_guess_key(enum section section, struct slice key);
/* The section which was probably meant, or NULL. */
const char *schema_guess_section(struct slice name);

/* The one of <words> which was probably meant, or NULL. */
const char *schema_guess_word(struct slice text, const char *const *words, unsigned count);

/* The field of <k> in a section's struct. */
const void *schema_field(const struct schema_key *k, const void *section);
