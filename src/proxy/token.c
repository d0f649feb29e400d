/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/token.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "http/challenge.h"

enum {
	TOKEN_ARENA = 64 * 1024,
	TOKEN_LIFE_S = 60, /* when the answer has no expires_in (distribution's token.md) */
};

static void token_run(struct task *task);

static void token_free(struct token *t)
{
	assert(t->refs == 0);
	assert(list_empty(&t->waiters));
	fetch_close(&t->fetch);
	loop_unwake(t->proxy->loop, &t->task);
	list_remove(&t->node);
	t->proxy->tokens_count--;
	if (t->value)
		explicit_bzero(t->value, strlen(t->value));
	if (t->basic)
		explicit_bzero(t->basic, strlen(t->basic));
	if (t->answer.mem)
		explicit_bzero(t->answer.mem, t->answer.cap);
	free(t->value);
	free(t->answer.mem);
	free(t->key);
	arena_fini(&t->arena);
	free(t);
}

static bool token_usable(const struct token *t)
{
	return t->state == TOKEN_ASKING || proxy_now(t->proxy) < t->expires_ms;
}

static struct token *token_find(struct proxy *p, struct upstream *up, const char *key)
{
	list_for_each_safe(it, &p->tokens) {
		struct token *t = container_of(it, struct token, node);

		if (t->up != up || strcmp(t->key, key) != 0)
			continue;
		if (token_usable(t)) {
			list_remove(&t->node);
			list_push_front(&p->tokens, &t->node);
			return t;
		}
		/* Expired: out of sight; it goes with its last reference. */
		list_remove(&t->node);
		t->gone = true;
		if (t->refs == 0)
			token_free(t);
		return NULL;
	}
	return NULL;
}

/* Makes room by the least recently used one that nobody holds. */
static bool token_make_room(struct proxy *p)
{
	if (p->tokens_count < TOKENS_MAX)
		return true;
	for (struct list *it = p->tokens.prev; it != &p->tokens; it = it->prev) {
		struct token *t = container_of(it, struct token, node);

		if (t->refs == 0 && t->state != TOKEN_ASKING) {
			token_free(t);
			return true;
		}
	}
	return false;
}

/* realm?service=&scope=, and Basic where the configuration allows it. */
static bool token_make_request(struct token *t, const char *scope)
{
	struct upstream *up = t->up;
	const struct conf_mirror *c = up->mirror->conf;
	const struct conf_account *a = upstream_account(up, t->account);
	char *service = percent_encode(&t->arena, slice_of(up->service), "");
	char *escaped = percent_encode(&t->arena, slice_of(scope), ":/,");
	struct slice target;
	char *text;

	if (!service || !escaped || !uri_parse(&t->arena, slice_of(up->realm), &t->place))
		return false;
	if (!t->place.https && up->conf->https) {
		log_limited(LOG_WARN, "token mirror=%s realm=%s refused: not https", c->name,
			    LOG_Q(t->place.host));
		return false;
	}
	target = t->place.target;
	text = arena_printf(&t->arena, "%.*s%c%s%s%s%s", SLICE_FMT(target),
			    slice_find(target, '?') < target.len ? '&' : '?',
			    scope[0] ? "scope=" : "", escaped,
			    !up->service[0] ? ""
			    : scope[0]      ? "&service="
					    : "service=",
			    service);
	if (!text)
		return false;
	t->place.target = slice_of(text);
	if (!a)
		return true;
	if (!config_realm_ok(c, upstream_index(up), t->place.host)) {
		log_limited(
			LOG_WARN,
			"token mirror=%s realm=%s asked without credentials: add 'realm = HOST' "
			"to the mirror's section if that token server may have them",
			c->name, LOG_Q(t->place.host));
		return true;
	}
	t->basic = basic_credentials(&t->arena, slice_of(a->user), slice_of(a->password));
	return t->basic != NULL;
}

static struct token *token_new(struct proxy *p, struct upstream *up, unsigned account, char *key,
			       const char *scope)
{
	struct token *t = calloc(1, sizeof(*t));
	struct fetch_opts o;

	if (!t) {
		free(key);
		return NULL;
	}
	t->proxy = p;
	t->mirror = up->mirror;
	t->up = up;
	t->account = account;
	t->key = key;
	list_init(&t->node);
	list_init(&t->waiters);
	task_init(&t->task, token_run);
	arena_init(&t->arena, TOKEN_ARENA);
	p->tokens_count++;
	list_push_front(&p->tokens, &t->node);
	t->answer.mem = malloc(TOKEN_ANSWER_MAX);
	if (!t->answer.mem || !token_make_request(t, scope)) {
		token_free(t);
		return NULL;
	}
	buf_init(&t->answer, t->answer.mem, TOKEN_ANSWER_MAX);
	stat_inc(&p->stats, STAT_TOKENS);
	o = (struct fetch_opts){
		.mirror = up->mirror,
		.first = upstream_index(up),
		.owner = &t->task,
		.target = t->place.target.ptr,
		.place = &t->place,
		.source = upstream_who(up, account).source,
		.authorization = t->basic,
		.accept = "application/json",
	};
	fetch_start(&t->fetch, p, &o);
	return t;
}

struct token *token_get(struct proxy *p, struct upstream *up, unsigned account, const char *scope,
			struct fetch *f)
{
	char *key = NULL;
	struct token *t;

	if (asprintf(&key, "%u\n%s\n%s\n%s", account, up->realm, up->service, scope) < 0)
		return NULL;
	t = token_find(p, up, key);
	if (t) {
		free(key);
	} else {
		if (!token_make_room(p)) {
			free(key);
			return NULL;
		}
		t = token_new(p, up, account, key, scope);
		if (!t)
			return NULL;
	}
	t->refs++;
	if (t->state == TOKEN_ASKING)
		list_push(&t->waiters, &f->token_node);
	return t;
}

bool token_is_of(const struct token *t, struct slice realm, struct slice service)
{
	struct slice key = slice_of(t->key);

	(void)slice_cut(&key, '\n');
	return slice_eq(slice_cut(&key, '\n'), realm) && slice_eq(slice_cut(&key, '\n'), service);
}

void token_put(struct token *t, struct fetch *f, bool bad)
{
	assert(t->refs > 0);
	list_remove(&f->token_node);
	t->refs--;
	if (bad && t->state != TOKEN_ASKING) {
		list_remove(&t->node);
		t->gone = true;
	}
	if (t->gone && t->refs == 0)
		token_free(t);
}

void tokens_move(struct proxy *p, const struct upstream *from, struct upstream *to)
{
	list_for_each(it, &p->tokens) {
		struct token *t = container_of(it, struct token, node);

		if (t->up != from || t->refs > 0 || t->state != TOKEN_READY)
			continue;
		if (t->account >= quotas_count(to->quotas) ||
		    !setup_account_is(upstream_who(from, t->account), upstream_who(to, t->account)))
			continue;
		t->up = to;
		t->mirror = to->mirror;
	}
}

void tokens_clear(struct proxy *p, const struct generation *g)
{
	list_for_each_safe(it, &p->tokens) {
		struct token *t = container_of(it, struct token, node);

		if (t->refs == 0 && (!g || generation_has(g, t->mirror)))
			token_free(t);
	}
}

static void token_settle(struct token *t, enum token_state state, int err)
{
	t->state = state;
	t->err = err;
	if (state == TOKEN_FAILED) {
		/* For those who wait: the next request asks again. */
		list_remove(&t->node);
		t->gone = true;
		log_limited(LOG_WARN, "token mirror=%s realm=%s failed: status=%d %s",
			    t->up->mirror->conf->name, LOG_Q(t->place.host), t->status,
			    err ? err_text(err) : "");
	}
	fetch_close(&t->fetch);
	while (!list_empty(&t->waiters)) {
		struct fetch *f = container_of(list_pop(&t->waiters), struct fetch, token_node);

		loop_wake(t->proxy->loop, &f->task);
	}
	if (t->gone && t->refs == 0)
		token_free(t);
}

/* {"token" | "access_token", "expires_in"}; 0 or an error. */
static int token_read(struct token *t)
{
	cJSON *json = cJSON_ParseWithLength(buf_data(&t->answer).ptr, buf_len(&t->answer));
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, "token");
	const cJSON *expires = cJSON_GetObjectItemCaseSensitive(json, "expires_in");
	double life_s = TOKEN_LIFE_S;
	const char *text;

	if (!cJSON_IsString(value) || !value->valuestring[0])
		value = cJSON_GetObjectItemCaseSensitive(json, "access_token");
	text = cJSON_GetStringValue(value);
	if (!text || !text[0] ||
	    strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			 "0123456789-._~+/=") != strlen(text)) {
		cJSON_Delete(json);
		return ERR_AUTH;
	}
	if (cJSON_IsNumber(expires) && expires->valuedouble > 0)
		life_s = expires->valuedouble < 86400 ? expires->valuedouble : 86400;
	t->value = strdup(text);
	cJSON_Delete(json);
	if (!t->value)
		return -ENOMEM;
	/* Renewed when a fifth of its life is left, so that it does not expire on its way. */
	t->expires_ms = proxy_now(t->proxy) + (uint64_t)(life_s * 800);
	return 0;
}

static void token_run(struct task *task)
{
	struct token *t = container_of(task, struct token, task);
	int n;

	if (t->state != TOKEN_ASKING)
		return;
	if (t->fetch.state == FETCH_FAILED) {
		token_settle(t, TOKEN_FAILED, t->fetch.err);
		return;
	}
	if (!fetch_has_head(&t->fetch))
		return;
	if (t->fetch.msg.status != 200) {
		t->status = t->fetch.msg.status;
		if (t->fetch.told)
			t->retry_after_s = t->fetch.refusal->retry_after_s;
		token_settle(t, TOKEN_FAILED, ERR_AUTH);
		return;
	}
	while ((n = buf_room(&t->answer) ? fetch_pull(&t->fetch, &t->answer) : ERR_LONG) > 0)
		;
	if (n == 0)
		return;
	if (n == ERR_EOF)
		n = token_read(t);
	token_settle(t, n ? TOKEN_FAILED : TOKEN_READY, n);
}
