/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a host should have for a mirror to be fast over long lines: one table.  check, apply and
 * sysctl/ (by a test) all take their values from it.  To add a setting: a row here, and for what is
 * no sysctl a look_ function in looks.c.
 */
#pragma once

#include "tune/bdp.h"
#include "tune/hostfs.h"
#include "tune/links.h"

enum verdict {
	VERDICT_OK,
	VERDICT_APPLY,  /* sluice-tune apply changes it */
	VERDICT_ADVICE, /* not as it should be, and the operator's to change: `reason` says how */
	VERDICT_IMPOSSIBLE, /* cannot be had on this host: `reason` */
	VERDICT_COUNT
};
extern const char *const verdict_names[VERDICT_COUNT];

/* What a sysctl has to be. */
enum rule {
	RULE_NONE,          /* not a sysctl that is compared with one value */
	RULE_LEAST,         /* number or more */
	RULE_MOST,          /* number or less */
	RULE_IS,            /* that word */
	RULE_HAS,           /* a list with that word in it */
	RULE_TRIPLE,        /* "min default max": max is number or more; word: the first two */
	RULE_ZERO_OR_LEAST, /* 0 stands for no limit */
	RULE_PORTS,         /* "first last": at least number of them; word is the range to set */
};

struct host;
struct findings;

struct setting {
	const char *name; /* of a sysctl as sysctl(8) has it */
	enum rule rule;
	uint64_t number; /* 0 of a LEAST or TRIPLE: the buffer's size, by bdp.h */
	const char *word;
	const char *module; /* without which the kernel does not take that word */
	bool live; /* in no profile: most hosts have more by themselves, or it depends on them */
	bool optional; /* its absence is nobody's loss */
	const char *why;
	void (*look)(const struct host *h, const struct setting *s, struct findings *f);
};
extern const struct setting settings[];
extern const unsigned settings_count;

enum { FINDINGS_MAX = 256 }; /* some 32 rows, and four for each of LINKS_MAX interfaces */

struct finding {
	const struct setting *setting;
	const struct link *link; /* of those that are about one */
	char name[64];
	char now[HOST_VALUE_MAX];
	char wanted[HOST_VALUE_MAX]; /* of APPLY a sysctl: what to write */
	char reason[256];
	enum verdict verdict;
};

struct findings {
	struct finding v[FINDINGS_MAX];
	unsigned count;
};

/* What is known of the host before a setting is looked at. */
struct host {
	const char *root;
	struct bdp bdp;
	unsigned cores;
	char release[HOST_VALUE_MAX]; /* of the kernel */
	char container[32];           /* "docker", "lxc", ...; "" is none */
	struct links links;
	int links_err;
};

/* A line that a profile stands for, and the memory that such a host has at least. */
struct profile {
	const char *name;
	uint64_t bandwidth;
	uint64_t memory_bytes;
};
enum { PROFILE_RTT_MS = 200 };
extern const struct profile profiles[];
extern const unsigned profiles_count;
const struct profile *profile_find(const char *name);

/* False: it cannot be found out how much memory there is. */
bool host_find(struct host *h, const char *root, uint64_t rtt_ms, uint64_t bandwidth) must_check;
void host_check(const struct host *h, struct findings *out);

/* True: <now> is good.  *wanted is what it should be, made from <now> ("": nothing is known). */
bool setting_is_good(const struct setting *s, uint64_t buffer_bytes, const char *now,
		     char wanted[HOST_VALUE_MAX]) must_check;
const struct setting *setting_find(const char *name);
/* "net.core.rmem_max" -> "/proc/sys/net/core/rmem_max". */
void setting_path(const struct setting *s, char out[HOST_PATH_MAX]);
/* The profile as a file for /etc/sysctl.d; how long it is. */
unsigned profile_format(const struct profile *p, char *out, unsigned room);

/* Is it one of the words of a list, as the kernel writes one? */
bool words_have(const char *list, struct slice word);
unsigned findings_count(const struct findings *f, enum verdict v);

/* For looks.c. */
struct finding *findings_add(struct findings *f, const struct setting *s, const char *what);
void finding_say(struct finding *f, enum verdict v, const char *fmt, ...) printf_like(3, 4);
