/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * tag.c keeps records in memory and says which files are to be written or removed; tag_file.c does
 * that, and reads them at start.  A record's key is its file's path below tags/.
 */
#pragma once

#include <pthread.h>

#include "cache/hash.h"
#include "cache/tag.h"

enum {
	TAGS_MAX = 50 * 1000,
	TAG_BUCKETS = 32 * 1024, /* 256 KB; chains of two when full */
	TAG_NAME_MAX = 255,      /* one path component; also for a whole repository's name */
	/* registry "/" repository "/_tags/" tag NUL */
	TAG_KEY_MAX = TAG_NAME_MAX + 1 + TAG_NAME_MAX + 7 + TAG_NAME_MAX + 1,
	TAG_PATH_MAX = 5 + TAG_KEY_MAX,
};

struct tag_entry {
	struct tag_entry *next; /* hash chain */
	struct list lru;        /* latest used first; off the list when gone */
	struct list dirty;      /* its file is to be written, or removed when gone */
	struct tag_record record;
	bool gone; /* as good as not there; freed once its file is removed */
	uint16_t key_len;
	char key[];
};

struct tags {
	pthread_mutex_t lock;
	struct hash_seed seed;
	struct tag_entry **buckets;
	struct list lru;
	struct list dirty;
	unsigned count; /* without those that are gone */
};

/* 0 or -ENOMEM; then tags_fini() is still due. */
int tags_init(struct tags *t) must_check;
void tags_fini(struct tags *t);

/* Copies of some buckets' records, from number <from> on, into memory that is used again. */
enum { TAGS_SOME_BUCKETS = 256 };
struct tags_some {
	struct tag_copy {
		struct tag_record record;
		uint16_t key_len;
		char key[TAG_KEY_MAX];
	} * v;
	unsigned count, cap;
};
/* False: no memory for all of them. */
bool tags_copy(struct tags *t, unsigned from, struct tags_some *out) must_check;

/* What is to be done with one file. */
struct tag_change {
	struct tag_entry *entry;
	struct tag_record record;
	bool gone;
	char path[TAG_PATH_MAX];
};
/* For the one helper that writes; false: nothing to do.  Then tags_change_done(). */
bool tags_next_change(struct tags *t, struct tag_change *out) must_check;
void tags_change_done(struct tags *t, const struct tag_change *change);
/* A record read from tags/<key>; what is known already wins.  False: there is no room for more. */
bool tags_add_old(struct tags *t, struct slice key, const struct tag_record *r) must_check;

/* On a helper. */
void tag_files_save(struct cache *c);
/* Reads all of tags/; counts what is none of ours in *strange. */
void tag_files_load(struct cache *c, unsigned *strange);
