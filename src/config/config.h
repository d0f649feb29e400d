/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The configuration: an immutable, reference counted snapshot of one INI file.  It is made whole or
 * not at all, and all mistakes of a file are reported at once.  What may stand in the file is the
 * table in schema.c; conf/sluice.ini is the reference for people.
 *
 * Invariants
 *  1. Nothing changes after config_load(); any thread that holds a reference may read it.
 *  2. Every string and array belongs to the config and lives as long as it.
 *  3. Host names (hosts, those of upstreams, realms, mirror names) are lower case, without a
 *     final dot; paths are absolute.
 *  4. No host name stands twice, in server.hosts, all mirrors' and sites' hosts and all
 *     passthroughs' SNIs together.
 *  5. https has a certificate; there is a mirror; https or plain has an address.
 *  6. A mirror with auth = client has an https upstream and no credentials of its own.
 *  7. Passwords and tenants' secrets are in no message and no dump, and are wiped when the last
 *     reference goes.
 *  8. No two tenants have the same secret, nor a user of the same name.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/slice.h"

struct conf_addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
	socklen_t len;
	const char *text; /* as it was written: "0.0.0.0:443", "[::]:443" */
};

struct conf_addrs {
	struct conf_addr *v;
	unsigned count;
};

struct conf_names {
	const char **v;
	unsigned count;
};

/* "10.0.0.0/8"; an IPv4 one is kept as what it is in IPv6, ::ffff:0:0/96. */
struct conf_net {
	uint8_t ip[16];
	unsigned bits;
	const char *text;
};

struct conf_nets {
	struct conf_net *v;
	unsigned count;
};

enum conf_access { ACCESS_OFF, ACCESS_STDOUT, ACCESS_FILE };
enum conf_ktls { CONF_KTLS_AUTO, CONF_KTLS_ON, CONF_KTLS_OFF }; /* as net's KTLS_ */
enum conf_format { FORMAT_COMBINED, FORMAT_JSON };
/* Whose permission counts for what a mirror serves: the mirror's own, or each client's. */
enum conf_auth { AUTH_MIRROR, AUTH_CLIENT };
enum conf_family { CONF_FAMILY_ANY, CONF_FAMILY_V4, CONF_FAMILY_V6 }; /* as io's FAMILY_ */

/* One line of a file `htpasswd`. */
struct conf_login {
	char *user;
	char *hash; /* bcrypt: "$2y$..." */
};

/* [server] */
struct conf_server {
	struct conf_addrs https;
	struct conf_addrs http;
	struct conf_addrs plain;
	struct conf_addrs admin;
	const char *admin_htpasswd;      /* or NULL */
	struct conf_login *admin_logins; /* of it; none when files were not looked at */
	unsigned admin_logins_count;
	struct conf_names hosts;  /* names at which every mirror is reachable */
	struct conf_nets trusted; /* balancers: what they say of their client's address counts */
	const char *client_ca;    /* PEM file of who signs clients' certificates, or NULL */
	const char *control;      /* path of the control socket, or "off" */
	uint64_t workers;         /* 0: auto */
	const char *user;         /* NULL: keep */
	bool http2;
	enum conf_ktls ktls;
	bool page;
	const char *hsts;         /* value of Strict-Transport-Security, or NULL */
	const char *acme_webroot; /* folder, or NULL */
	const char *access_log;   /* as written; a path when access is ACCESS_FILE */
	enum conf_access access;
	enum conf_format access_format;
	unsigned log_level;            /* enum log_level */
	uint64_t conns_max;            /* client connections of the whole process */
	uint64_t handshake_timeout_ms; /* accept to the end of the TLS handshake */
	uint64_t header_timeout_ms;    /* first byte of a request to the end of its head */
	uint64_t idle_timeout_ms;      /* between two requests */
	uint64_t send_timeout_ms;      /* a client that takes no byte */
	uint64_t drain_timeout_ms;     /* after SIGTERM */
	/* Of each socket; NULL, 0: the kernel's. */
	const char *congestion;
	uint64_t sndbuf_bytes;
	uint64_t notsent_bytes;
	uint64_t pacing_bytes; /* a second */
	uint64_t fastopen;
};

/* [certificate NAME]; the first in the file is the default. */
struct conf_cert {
	const char *name;
	const char *chain; /* PEM file: leaf first */
	const char *key;   /* PEM file */
};

/* [cache] */
struct conf_cache {
	const char *path;
	uint64_t size_bytes;
	uint64_t free_bytes;   /* floor of free space on the file system */
	uint64_t scrub_ms;     /* each file is verified once in so long; 0: never */
	uint64_t scrub_bytes;  /* in a second, at most */
	uint64_t finish_after; /* percent: what nobody wants is finished from here on */
};

/* [resolver] */
struct conf_resolver {
	struct conf_names
		nameservers; /* "1.1.1.1", "127.0.0.1:5353", "[::1]:53"; none: the system's */
	enum conf_family family;
};

/* [limits]; 0: none */
struct conf_limits {
	uint64_t client_connections; /* at once, of one address (IPv6: of one /64) */
	/* In a second: of all, and of one address. */
	uint64_t handshakes;
	uint64_t client_handshakes;
	uint64_t requests;
	uint64_t client_requests;
};

struct conf_upstream {
	const char *text; /* "https://registry-1.docker.io", without a final slash */
	const char *host; /* a literal IPv6 address without its brackets */
	uint16_t port;
	bool https;
	const char *realm; /* the token server known for that host, or NULL */
};

/* Of one mirror. */
enum { UPSTREAMS_MAX = 8, ACCOUNTS_MAX = 16, PARALLEL_MAX = 16, RETRIES_MAX = 100 };

/* In the order in which they are asked. */
struct conf_upstreams {
	struct conf_upstream *v;
	unsigned count;
};

/* One of the files of `credentials`; both are NULL when files were not looked at. */
struct conf_account {
	const char *file;
	char *user;
	char *password;
};

enum conf_via_kind { CONF_VIA_NONE, CONF_VIA_SOCKS5, CONF_VIA_HTTP }; /* as net's VIA_ */

/* An outgoing proxy. */
struct conf_via {
	const char *text; /* without user and password; NULL: there is none */
	enum conf_via_kind kind;
	const char *host;
	uint16_t port;
	char *user; /* NULL: none */
	char *password;
};

struct conf_pool_server {
	const char *text; /* "10.0.0.1:443 weight=2" */
	const char *host; /* a literal IPv6 address without its brackets */
	uint16_t port;
	uint64_t weight;
};

struct conf_pool_servers {
	struct conf_pool_server *v;
	unsigned count;
};

enum conf_balance { CONF_ROUNDROBIN, CONF_LEASTCONN, CONF_LATENCY }; /* as proxy's BALANCE_ */

/* [pool NAME]: how upstreams are dialled. */
struct conf_pool {
	const char *name;
	struct conf_pool_servers servers; /* none: the addresses of the upstream's own name */
	enum conf_balance balance;
	uint64_t check_ms; /* 0: off */
	/* 0: as the mirror has it */
	uint64_t connect_timeout_ms;
	uint64_t first_byte_timeout_ms;
	uint64_t idle_timeout_ms;
	uint64_t conns_max; /* of the whole process; 0: no bound but ours */
	uint64_t queue_timeout_ms;
	uint64_t keepalive; /* idle connections of a worker */
	uint64_t keepalive_timeout_ms;
	struct conf_via via;
	struct conf_addrs bind; /* port 0 */
	const char *congestion; /* NULL: the kernel's */
	uint64_t sndbuf_bytes;  /* 0: the kernel's */
	uint64_t rcvbuf_bytes;
};

enum conf_policy_kind { POLICY_WINDOW, POLICY_ALWAYS, POLICY_IMMUTABLE };

/* One pattern of tag_policy: config/policy.h */
struct conf_policy {
	const char *repo; /* NULL: any */
	const char *tag;
	enum conf_policy_kind kind;
	uint64_t window_ms;     /* how old an answer may be to be used without asking */
	uint64_t revalidate_ms; /* past that: used at once, and asked for meanwhile */
};

struct conf_policies {
	struct conf_policy *v; /* in the file's order */
	unsigned count;
};

/* [mirror NAME] */
struct conf_mirror {
	const char *name; /* the registry's: "docker.io" */
	struct conf_names hosts;
	struct conf_upstreams upstreams;
	const char *ca; /* PEM file, or NULL */
	struct conf_names credentials;
	struct conf_upstream credentials_for; /* as written; text is NULL if it is not */
	unsigned credentials_up;              /* index of the only upstream that gets them */
	struct conf_account *accounts;        /* one for each of `credentials` */
	unsigned accounts_count;
	struct conf_names realms; /* more hosts that may be given them: see config_realm_ok() */
	const char *pool_name;
	const struct conf_pool *pool; /* pool_name's, or that of an upstream's name; or NULL */
	bool private;                 /* upstream, realm and redirects may be private addresses */
	uint64_t tag_fresh_ms;        /* the window of tags for which no rule is */
	struct conf_policies tag_policy;
	uint64_t referrers_fresh_ms; /* 0: asked each time */
	uint64_t negative_ms;        /* how long a 404 is kept; 0: not */
	uint64_t stale_for_ms;       /* while upstream fails */
	uint64_t retry_after_max_ms; /* the longest rest after a 429 */
	enum conf_auth auth;
	const char *probe_image; /* for a look at its upstreams, as written; NULL: none is known */
	uint64_t connect_timeout_ms;
	uint64_t first_byte_timeout_ms;
	uint64_t stall_ms;      /* a body of which no byte comes */
	uint64_t retries;       /* of one that broke, in a row */
	uint64_t parallel;      /* ranges of one blob at once; 1: none */
	uint64_t parallel_from; /* bytes of a blob */
};

enum conf_proxy_protocol { CONF_PROXY_OFF, CONF_PROXY_V2 };

/* [passthrough NAME]: TLS connections that are passed on unopened, by their SNI. */
struct conf_passthrough {
	const char *name;
	struct conf_names snis;        /* lower case; "*.x" is one label more than x */
	struct conf_upstream upstream; /* text is "host:port" */
	const char *pool_name;
	enum conf_proxy_protocol proxy_protocol;
	bool private;
	uint64_t connect_timeout_ms;
	uint64_t idle_timeout_ms;
	struct conf_mirror as_mirror; /* the same, for those who dial: one upstream, no TLS */
};

/* [site NAME]: any web server behind the same addresses; nothing is cached. */
struct conf_site {
	const char *name;
	struct conf_names hosts;       /* lower case; "*.x" is one label more than x */
	struct conf_upstream upstream; /* text NULL: the pool's first server, by http */
	const char *pool_name;
	const char *ca;           /* PEM file, or NULL */
	const char *host_rewrite; /* NULL: as the client said it */
	bool private;
	uint64_t connect_timeout_ms;
	uint64_t timeout_ms;
	uint64_t idle_timeout_ms;     /* once it is a WebSocket */
	struct conf_mirror as_mirror; /* the same, for those who dial: one upstream */
};

enum { TENANT_SECRET_MIN = 12, TENANT_SECRET_MAX = 128 };

/* [tenant NAME].  What is not given is no condition, and no limit. */
struct conf_tenant {
	const char *name;
	char *secret; /* TENANT_SECRET_MAX bytes and a NUL, with NULs behind it; or NULL */
	struct conf_nets allow;
	const char *htpasswd;
	struct conf_login *logins; /* of it; none when files were not looked at */
	unsigned logins_count;
	struct conf_names certificates; /* patterns for the common name */
	struct conf_names mirrors;      /* none: all */
	struct conf_names images;       /* patterns for "registry/repository"; none: all */
	struct conf_names images_denied;
	uint64_t rate_bytes;   /* in a second, of all its clients */
	uint64_t client_bytes; /* of each address */
	uint64_t conns_max;
	uint64_t quota_bytes; /* in a month */
};

struct config {
	struct conf_server server;
	struct conf_limits limits;
	struct conf_cache cache;
	struct conf_resolver resolver;
	struct conf_cert *certs;
	unsigned certs_count;
	struct conf_pool *pools;
	unsigned pools_count;
	struct conf_mirror *mirrors;
	unsigned mirrors_count;
	struct conf_passthrough *passes;
	unsigned passes_count;
	struct conf_tenant *tenants; /* none: everybody may use everything */
	unsigned tenants_count;
	struct conf_site *sites;
	unsigned sites_count;

	struct arena arena; /* private: all of the above that is not inline */
	unsigned refs;      /* private */
};

enum {
	CONFIG_FILE_MAX = 1024 * 1024,
	CONFIG_MESSAGES_MAX = 100, /* of each kind; more are only counted */
};

struct config_messages {
	const char *text[CONFIG_MESSAGES_MAX]; /* "file:line: what, the rule, the fix" */
	unsigned count;                        /* of text[] */
	unsigned more;                         /* that found no place there */
};

/* Zeroed by config_load(); valid until config_errors_fini(), whatever the result was. */
struct config_errors {
	struct config_messages errors;
	struct config_messages warnings;
	struct arena arena;
};

/* 0 and *out with one reference; or -EINVAL, *out is NULL and there is at least one error. */
int config_load(const char *path, struct config **out, struct config_errors *errs) must_check;
/* The same from memory, opening no file: keys that name files are only looked at as text. */
int config_parse(const char *name, struct slice text, struct config **out,
		 struct config_errors *errs) must_check;
/*
 * Where the file says the control socket is, whatever else is wrong with it; where it does not, or
 * cannot be read, the default.  false: it is off, or longer than <max>.
 */
bool config_control(const char *path, char *out, size_t max) must_check;
void config_errors_fini(struct config_errors *errs);

struct config *config_ref(struct config *c);
void config_unref(struct config *c);

/*
 * May the credentials of this mirror's upstream number <up> be sent to the token server at <host>
 * (no port)?  That is the upstream's own host, the one known for it (auth.docker.io for
 * registry-1.docker.io) and, for the upstream that has the credentials, those of the key `realm`.
 */
bool config_realm_ok(const struct conf_mirror *m, unsigned up, struct slice host);

/* Is <host> that of one of its upstreams? */
bool config_is_upstream(const struct conf_mirror *m, struct slice host);
/*
 * Which of c->passes is for that SNI; -1: none.  A whole name goes before one with '*', and our own
 * names before that.
 */
int config_passthrough(const struct config *c, const char *sni);
/* The same of c->sites, for a Host (no port). */
int config_site(const struct config *c, struct slice host);
/*
 * The pool by which this mirror dials <host>, or NULL.  *servers: its servers are where <host> is;
 * else only the rest of it counts.
 */
const struct conf_pool *config_pool(const struct config *c, const struct conf_mirror *m,
				    struct slice host, bool *servers);

/*
 * The names of keys that are used at the start alone, and differ: at most <max> of them into
 * <keys>, static texts; how many.
 */
unsigned config_restart_keys(const struct config *a, const struct config *b, const char **keys,
			     unsigned max) must_check;

/* All effective values as an INI file, without secrets; false: it does not fit. */
bool config_dump(const struct config *c, struct buf *out);
