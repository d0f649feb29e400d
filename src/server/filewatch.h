/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Has a file changed that the configuration was made of: itself, certificates and keys, lists of
 * users and accounts?  inotify watches their folders, since editors and acme.sh replace files by
 * rename, and certbot the links to them; whatever happens there, the files' own numbers decide.
 *
 * A change is told when the folders were quiet for FILEWATCH_SETTLE_MS, or after
 * FILEWATCH_SETTLE_MAX_MS: a chain and its key are replaced one after the other.  What was told, or
 * seen by a reload for another reason, is not told again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "config/config.h"

enum {
	FILEWATCH_SETTLE_MS = 1000,
	FILEWATCH_SETTLE_MAX_MS = 10 * 1000,
	FILEWATCH_FILES_MAX = 1024,
};

/* Zeroed: nothing is watched. */
struct filewatch {
	int fd; /* 0: none */
	struct config *config;
	uint64_t seen;     /* fingerprint of the files */
	uint64_t first_ms; /* when something happened that was not looked at yet; 0: nothing */
	uint64_t last_ms;
};

/* From now on those of <c>, counted, and the file itself. */
void filewatch_set(struct filewatch *w, const char *file, struct config *c);
/* The files are about to be read, whatever they are now. */
void filewatch_seen(struct filewatch *w, const char *file);
/* What was seen could not be taken up now: to be told again. */
void filewatch_again(struct filewatch *w);
void filewatch_close(struct filewatch *w);
/* For poll(); -1: none. */
int filewatch_fd(const struct filewatch *w) must_check;
/* How long may the next filewatch_changed() wait, at most <max>? */
int filewatch_wait_ms(const struct filewatch *w, int max) must_check;
/* Takes what happened; true: something else than was seen is there, and all is quiet. */
bool filewatch_changed(struct filewatch *w, const char *file) must_check;
