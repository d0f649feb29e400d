/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/login.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "http/challenge.h"
#include "http/form.h"
#include "proxy/answer.h"
#include "proxy/door.h"
#include "proxy/private.h"

enum {
	/* docker asks for two at most; each is one repository. */
	SCOPES_MAX = 8,
	CLIENT_ID_MAX = 64,
	TOKEN_LIFE_S = 60, /* of a token whose end is not told; containerd would take "never" */
};

enum form_name {
	GRANT_TYPE,
	CLIENT_ID,
	ACCESS_TYPE,
	SCOPE,
	USERNAME,
	PASSWORD,
	REFRESH,
	FORM_NAMES
};

/* What is said in a form is said in the same memory; it goes with login_fini(). */
struct login {
	struct buf body; /* malloc'ed, LOGIN_FORM_MAX; then the values of <fields> lie in it */
	struct form_field fields[FORM_NAMES];
	struct buf sent; /* the form for upstream, malloc'ed */
	bool parsed;
	bool get; /* the token server knows no POST */
};

static const char *const form_names[FORM_NAMES] = {
	[GRANT_TYPE] = "grant_type", [CLIENT_ID] = "client_id", [ACCESS_TYPE] = "access_type",
	[SCOPE] = "scope",           [USERNAME] = "username",   [PASSWORD] = "password",
	[REFRESH] = "refresh_token",
};

static void wipe(struct buf *b)
{
	if (b->mem)
		explicit_bzero(b->mem, b->cap);
	free(b->mem);
	buf_init(b, NULL, 0);
}

void login_fini(struct xfer *x)
{
	if (x->secret)
		explicit_bzero(x->secret, strlen(x->secret));
	if (x->secret)
		wipe(&x->relayed);
	if (!x->login)
		return;
	wipe(&x->login->body);
	wipe(&x->login->sent);
	free(x->login);
	x->login = NULL;
}

static void login_refuse(struct xfer *x, const char *why)
{
	answer_error(x, 400, "UNSUPPORTED", slice_of(why));
}

/* ---- routing ---- */

static bool login_begin_form(struct xfer *x)
{
	struct login *l = calloc(1, sizeof(*l));
	char *mem = l ? malloc(LOGIN_FORM_MAX) : NULL;

	x->login = l;
	if (!mem)
		return false;
	buf_init(&l->body, mem, LOGIN_FORM_MAX);
	private_forget(x); /* the form says who it is */
	x->state = XFER_FORM;
	return true;
}

/* x->route is used only to find the mirror: no repository is meant. */
bool login_route(struct xfer *x)
{
	const struct config *c = x->proxy->config;
	struct slice path = slice_first(x->target, slice_find(x->target, '?'));
	struct oci_path of = { .verb = OCI_PING };
	int i;

	if (!slice_starts(path, SLICE(LOGIN_PREFIX)))
		return false;
	of.prefix = slice_skip(path, strlen(LOGIN_PREFIX));
	i = of.prefix.len ? route_ping(&x->arena, c, x->host, &of) : -1;
	if (i < 0 || c->mirrors[i].auth != AUTH_CLIENT)
		return false;
	x->mirror = &x->proxy->mirrors[i];
	if (!door_lets(x, false))
		return true;
	x->path.verb = OCI_NONE;
	x->path.query = slice_skip(x->target, path.len + 1);
	if (!private_is_safe(x))
		return true;
	if (x->method == METHOD_GET)
		x->state = XFER_TOKEN;
	else if (x->method != METHOD_POST)
		answer_error(x, 405, "UNSUPPORTED", SLICE("tokens are given by GET and POST"));
	else if (!login_begin_form(x))
		answer_failed(x, ERR_LIMIT);
	return true;
}

void login_form(struct xfer *x, struct slice piece, bool end)
{
	struct login *l = x->login;

	assert(x->state == XFER_FORM);
	if (!buf_append(&l->body, piece)) {
		x->close = true;
		answer_error(x, 413, "SIZE_INVALID", SLICE("the form is too long"));
	} else if (end) {
		x->state = XFER_TOKEN;
	}
}

/* ---- scopes ---- */

/* One that is asked for: its repository, or none.  Pull of a repository, and nothing else. */
static struct slice login_scope(struct xfer *x, struct slice scope)
{
	struct oci_path of = { .verb = OCI_TAGS, .prefix = x->mirror->name };
	struct slice type = slice_cut(&scope, ':');
	size_t end = scope.len;
	struct slice actions;
	struct route r;
	bool pull = false;

	while (end > 0 && scope.ptr[end - 1] != ':')
		end--;
	if (!slice_eq(type, SLICE("repository")) || end == 0)
		return SLICE_NONE;
	actions = slice_skip(scope, end);
	of.name = slice_first(scope, end - 1);
	while (actions.len)
		pull |= slice_eq(slice_cut(&actions, ','), SLICE("pull"));
	if (!pull)
		return SLICE_NONE;
	route_find(&x->arena, x->proxy->config, x->host, &of, &r);
	return r.mirror < 0 ? SLICE_NONE : r.repo;
}

/*
 * Those of a list with spaces, behind what stands in <all>, each with <before>.  NULL: no memory,
 * or too many.
 */
static const char *login_scopes(struct xfer *x, const char *all, const char *before,
				struct slice list, unsigned *count)
{
	while (list.len && all) {
		struct slice repo = login_scope(x, slice_cut(&list, ' '));

		if (++*count > SCOPES_MAX)
			return NULL;
		if (repo.len)
			all = arena_printf(&x->arena, "%s%srepository:%.*s:pull", all,
					   all[0] ? before : "", SLICE_FMT(repo));
	}
	return all;
}

/* A value of the query; NULL: no memory, or nonsense. */
static const char *login_value(struct xfer *x, struct slice value)
{
	char *text = arena_dup(&x->arena, value);

	for (char *at = text; at && *at; at++)
		if (*at == '+')
			*at = ' ';
	return text ? percent_decode(&x->arena, slice_of(text)) : NULL;
}

/* All of the query's, each key with one or, by spaces, several. */
static const char *login_query_scopes(struct xfer *x)
{
	struct slice query = x->path.query;
	const char *all = "";
	unsigned count = 0;

	while (query.len && all) {
		struct slice value = slice_cut(&query, '&');
		struct slice key = slice_cut(&value, '=');
		const char *list;

		if (!slice_eq(key, SLICE("scope")))
			continue;
		list = login_value(x, value);
		all = list ? login_scopes(x, all, "&scope=", slice_of(list), &count) : NULL;
	}
	return all;
}

/* ---- asking upstream's token server ---- */

/* Where it is; false: answered. */
static bool login_place(struct xfer *x, struct uri *place)
{
	const struct upstream *up = private_up(x);

	if (uri_parse(&x->arena, slice_of(up->realm), place) && place->https &&
	    config_realm_ok(x->mirror->conf, 0, place->host))
		return true;
	log_limited(LOG_WARN,
		    "token mirror=%s realm=%s refused: add 'realm = HOST' to the mirror's "
		    "section if that token server may have clients' credentials",
		    x->mirror->conf->name, LOG_Q(slice_of(up->realm)));
	answer_error(x, 502, "UNAVAILABLE",
		     SLICE("upstream names a token server that is not allowed here"));
	return false;
}

/* A refresh token is given to who asks for it; docker keeps that in place of the password. */
static const char *login_query_offline(struct xfer *x)
{
	struct slice value;
	const char *id = "";

	if (!query_get(x->path.query, "offline_token", &value) || !slice_eq(value, SLICE("true")))
		return "";
	if (query_get(x->path.query, "client_id", &value) && value.len <= CLIENT_ID_MAX)
		id = login_value(x, value);
	id = id ? percent_encode(&x->arena, slice_of(id), "") : NULL;
	return id ? arena_printf(&x->arena, "&offline_token=true&client_id=%s", id) : NULL;
}

/* The query of a GET; false: answered. */
static bool login_make_query(struct xfer *x, struct uri *place)
{
	const struct upstream *up = private_up(x);
	const struct login *l = x->login;
	unsigned count = 0;
	const char *scopes = l ? login_scopes(x, "", "&scope=", l->fields[SCOPE].value, &count)
			       : login_query_scopes(x);
	const char *offline = l ? "" : login_query_offline(x);
	char *service = percent_encode(&x->arena, slice_of(up->service), "");
	char *text;

	if (!scopes || !service || !offline) {
		login_refuse(x, "malformed or too many scopes");
		return false;
	}
	text = arena_printf(&x->arena, "%.*s%cservice=%s%s%s%s", SLICE_FMT(place->target),
			    slice_find(place->target, '?') < place->target.len ? '&' : '?', service,
			    scopes[0] ? "&scope=" : "", scopes, offline);
	if (!text) {
		answer_failed(x, ERR_LIMIT);
		return false;
	}
	place->target = slice_of(text);
	return true;
}

/* The form of a POST; false: answered. */
static bool login_make_form(struct xfer *x)
{
	struct login *l = x->login;
	const struct form_field *f = l->fields;
	struct slice id = f[CLIENT_ID].value;
	size_t room = 3 * LOGIN_FORM_MAX;
	struct buf *to = &l->sent;
	unsigned count = 0;
	const char *scopes = login_scopes(x, "", " ", f[SCOPE].value, &count);
	bool ok;

	if (!scopes) {
		login_refuse(x, "too many scopes");
		return false;
	}
	to->mem = malloc(room);
	to->cap = to->mem ? room : 0;
	if (id.len == 0 || id.len > CLIENT_ID_MAX)
		id = SLICE("sluice");
	ok = form_add(to, "grant_type", f[GRANT_TYPE].value) &&
	     form_add(to, "service", slice_of(private_up(x)->service)) &&
	     form_add(to, "client_id", id) &&
	     (!slice_eq(f[ACCESS_TYPE].value, SLICE("offline")) ||
	      form_add(to, "access_type", SLICE("offline"))) &&
	     (!scopes[0] || form_add(to, "scope", slice_of(scopes)));
	for (unsigned i = USERNAME; i <= REFRESH && ok; i++)
		ok = !f[i].value.ptr || form_add(to, form_names[i], f[i].value);
	if (!ok)
		answer_failed(x, ERR_LIMIT);
	return ok;
}

static void login_ask(struct xfer *x)
{
	struct uri *place = arena_alloc(&x->arena, sizeof(*place));
	bool post = x->login && !x->login->get;

	if (!place) {
		answer_failed(x, ERR_LIMIT);
		return;
	}
	if (!login_place(x, place) || !(post ? login_make_form(x) : login_make_query(x, place)))
		return;
	stat_inc(&x->proxy->stats, STAT_TOKENS);
	x->fetch_opts = (struct fetch_opts){
		.mirror = x->mirror,
		.owner = x->owner,
		.target = place->target.ptr,
		.place = place,
		.authorization = x->authorization,
		.accept = "application/json",
		.form = post ? buf_data(&x->login->sent) : SLICE_NONE,
	};
	fetch_start(&x->fetch, x->proxy, &x->fetch_opts);
}

/*
 * The token server takes no form: what it says is asked for by GET.  False: it is not that, or that
 * cannot be.
 */
static bool login_again_by_get(struct xfer *x)
{
	struct login *l = x->login;
	int status = fetch_has_head(&x->fetch) ? x->fetch.msg.status : 0;
	char *basic;

	if (!l || l->get || (status != 404 && status != 405) || !l->fields[PASSWORD].value.ptr)
		return false;
	basic = basic_credentials(&x->arena, l->fields[USERNAME].value, l->fields[PASSWORD].value);
	x->authorization = basic ? strdup(basic) : NULL;
	if (basic)
		explicit_bzero(basic, strlen(basic));
	if (!x->authorization)
		return false;
	l->get = true;
	fetch_close(&x->fetch);
	login_ask(x);
	return true;
}

/* ---- its answer ---- */

/* What of it a client needs, as who POSTed expects it; NULL: it is no token. */
static char *login_answer_text(struct slice answer, bool post)
{
	static const char *const keys[] = { "token", "access_token", "refresh_token", "expires_in",
					    "issued_at" };
	cJSON *json = cJSON_ParseWithLength(answer.ptr, answer.len);
	cJSON *out = cJSON_CreateObject();
	char *text = NULL;
	const char *token;

	for (unsigned i = 0; i < countof(keys); i++) {
		cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(json, keys[i]);

		if (item && !cJSON_AddItemToObject(out, keys[i], item))
			cJSON_Delete(item);
	}
	if (!cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(out, "expires_in"))) {
		cJSON_DeleteItemFromObjectCaseSensitive(out, "expires_in");
		(void)cJSON_AddNumberToObject(out, "expires_in", TOKEN_LIFE_S);
	}
	token = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(out, "token"));
	if (post && token && !cJSON_HasObjectItem(out, "access_token"))
		(void)cJSON_AddStringToObject(out, "access_token", token);
	if (token || cJSON_IsString(cJSON_GetObjectItemCaseSensitive(out, "access_token")))
		text = cJSON_PrintUnformatted(out);
	cJSON_Delete(out);
	cJSON_Delete(json);
	return text;
}

static void login_answer(struct xfer *x)
{
	char *text = login_answer_text(buf_data(&x->relayed), x->login != NULL);

	x->secret = text ? arena_dup(&x->arena, slice_of(text)) : NULL;
	if (text)
		explicit_bzero(text, strlen(text));
	cJSON_free(text);
	if (!x->secret) {
		answer_failed(x, ERR_AUTH);
		return;
	}
	x->cache = "pass";
	answer_text(x, 200, "application/json", x->secret);
}

/* What upstream wants must be known first; another worker may have told the client. */
static bool login_learn(struct xfer *x)
{
	if (x->fetch.state == FETCH_IDLE)
		private_ask_ping(x, NULL);
	if (x->fetch.state != FETCH_FAILED && !fetch_has_head(&x->fetch))
		return false;
	x->learned = true;
	if (!private_up(x)->realm && x->fetch.state == FETCH_FAILED)
		answer_failed(x, x->fetch.err);
	else if (!private_up(x)->realm || private_up(x)->basic)
		answer_error(x, 404, "UNSUPPORTED", SLICE("this registry gives no tokens"));
	fetch_close(&x->fetch);
	return true;
}

/* False: answered. */
static bool login_read_form(struct xfer *x)
{
	struct login *l = x->login;
	struct slice type;
	bool password, refresh;

	l->parsed = true;
	for (unsigned i = 0; i < FORM_NAMES; i++)
		l->fields[i].name = form_names[i];
	if (!form_parse(l->body.mem, buf_len(&l->body), l->fields, FORM_NAMES)) {
		login_refuse(x, "malformed form");
		return false;
	}
	type = l->fields[GRANT_TYPE].value;
	password = slice_eq(type, SLICE("password")) && l->fields[USERNAME].value.len &&
		   l->fields[PASSWORD].value.ptr;
	refresh = slice_eq(type, SLICE("refresh_token")) && l->fields[REFRESH].value.len;
	/* A colon ends the user's name in Basic. */
	if (password && slice_find(l->fields[USERNAME].value, ':') < l->fields[USERNAME].value.len)
		password = false;
	if (!password && !refresh) {
		login_refuse(x, "the form must have grant_type=password with username and "
				"password, or grant_type=refresh_token with refresh_token");
		return false;
	}
	if (refresh)
		l->fields[USERNAME].value = l->fields[PASSWORD].value = SLICE_NONE;
	else
		l->fields[REFRESH].value = SLICE_NONE;
	return true;
}

bool login_run(struct xfer *x)
{
	if (x->login && !x->login->parsed && !login_read_form(x))
		return true;
	if (!x->login && x->authorization && strncasecmp(x->authorization, "Basic ", 6) != 0) {
		answer_error(x, 401, "UNAUTHORIZED",
			     SLICE("a token is given for Basic credentials"));
		return true;
	}
	if (!x->learned &&
	    (x->fetch.state != FETCH_IDLE || !private_up(x)->realm || private_up(x)->basic))
		return login_learn(x);
	x->learned = true;
	if (x->fetch.state == FETCH_IDLE)
		login_ask(x);
	if (x->state == XFER_ANSWER || (login_again_by_get(x) && x->state == XFER_ANSWER))
		return true;
	switch (xfer_asked_all(x, TOKEN_ANSWER_MAX)) {
	case ASKED_WAIT: return false;
	case ASKED_TOLD: return true;
	case ASKED_GOOD: login_answer(x); return true;
	}
	unreachable("what became of a question");
}
