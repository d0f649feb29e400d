/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Values of the configuration: text to field, by the type of the key.  Pure: no file is
 * opened.
 */
#pragma once

#include "config/schema.h"

enum {
	VALUE_WHY_MAX = 512,
	VALUE_LIST_MAX = 256,
	VALUE_SOCKET_MAX = 95, /* a socket's path has 107; the server adds its number for a while */
};

static inline bool value_is_list(enum value_type type)
{
	return type == VALUE_ADDRS || type == VALUE_HOSTS || type == VALUE_SNIS ||
	       type == VALUE_SERVERS || type == VALUE_URLS || type == VALUE_PATHS ||
	       type == VALUE_MEMBERS || type == VALUE_IPS || type == VALUE_POLICY ||
	       type == VALUE_NETS || type == VALUE_PATTERNS;
}

/* Its key may stand several times: each is one line of the list. */
static inline bool value_may_repeat(enum value_type type)
{
	return type == VALUE_POLICY;
}

/*
 * Stores <text> in the section's struct, lists behind what they hold; strings come from <a>.
 * false: it is not of the type or out of range, and <why> names the rule.
 */
bool value_store(const struct schema_key *k, struct slice text, void *section, struct arena *a,
		 char why[VALUE_WHY_MAX]) must_check;

/* "192.0.2.1", "2001:db8::1". */
bool value_is_ip(struct slice text);
/* A host name or address in lower case, without final dot and brackets; or NULL. */
const char *value_host(struct slice text, struct arena *a);
/* The same with an optional port behind it: what registries are called. */
const char *value_registry(struct slice text, struct arena *a);
/* Appends a string that belongs to <a>, unless the list has it. */
void value_add_name(struct conf_names *names, const char *name, struct arena *a);
/* "host:port", "[v6]:port" and without a port; *port is left then.  NULL: neither. */
const char *value_place(struct slice text, uint16_t *port, struct arena *a) must_check;
/* Appends "host[:port]", or gives the last one its "weight=n". */
bool value_add_member(struct conf_pool_servers *list, struct slice item,
		      struct arena *a) must_check;
bool value_add_ip(struct conf_addrs *list, struct slice item, struct arena *a) must_check;
/* Appends "10.0.0.0/8", "2001:db8::/32" or an address alone; false: it is none of them. */
bool value_add_net(struct conf_nets *list, struct slice item, struct arena *a) must_check;
bool value_via(struct slice text, struct conf_via *out, struct arena *a) must_check;
/* false: not http[s]://host[:port]. */
bool value_url(struct slice text, struct conf_upstream *out, struct arena *a) must_check;
/* Appends one of those; false: it is none, or the list has it. */
bool value_add_url(struct conf_upstreams *list, struct slice text, struct arena *a) must_check;
