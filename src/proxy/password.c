/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/password.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>

static void wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static void work(struct job *job)
{
	struct password *pw = container_of(job, struct password, job);
	struct crypt_data *data = calloc(1, sizeof(*data)); /* 32 KB */
	const char *hash = data ? crypt_r(pw->text, pw->hash, data) : NULL;

	pw->right = hash && hash[0] != '*' && slice_eq_secret(slice_of(hash), slice_of(pw->hash));
	wipe(&pw->text);
	if (data)
		explicit_bzero(data, sizeof(*data));
	free(data);
}

static void password_free(struct password *pw)
{
	pw->proxy->passwords_count--;
	wipe(&pw->text);
	wipe(&pw->hash);
	free(pw);
}

static void done(struct job *job)
{
	struct password *pw = container_of(job, struct password, job);
	struct proxy *p = pw->proxy;

	pw->done = true;
	if (pw->owner)
		loop_wake(p->loop, pw->owner);
	else
		password_free(pw);
	proxy_ended(p);
}

struct password *password_start(struct proxy *p, struct task *owner, const char *hash,
				struct slice text)
{
	struct password *pw;

	if (p->passwords_count == PASSWORDS_MAX || !p->shared->passwords)
		return NULL;
	pw = calloc(1, sizeof(*pw));
	if (!pw)
		return NULL;
	*pw = (struct password){
		.job = { .work = work, .done = done },
		.proxy = p,
		.owner = owner,
		.hash = strdup(hash),
		.text = strndup(text.ptr, text.len),
	};
	p->passwords_count++;
	if (!pw->hash || !pw->text) {
		password_free(pw);
		return NULL;
	}
	offload_submit(p->shared->passwords, p->loop, &pw->job);
	return pw;
}

void password_end(struct password *pw)
{
	pw->owner = NULL;
	if (pw->done)
		password_free(pw);
}
