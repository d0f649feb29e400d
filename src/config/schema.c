/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/schema.h"

#include "config/files.h"

/* clang-format off */
const struct schema_section schema_sections[SECTION_COUNT] = {
	[SECTION_SERVER] = { "server", NULL, sizeof(struct conf_server),
	  "where clients come in, and what holds for all of them" },
	[SECTION_LIMITS] = { "limits", NULL, sizeof(struct conf_limits),
	  "how much one client, and all of them, may ask for" },
	[SECTION_CERTIFICATE] = { "certificate", "main", sizeof(struct conf_cert),
	  "a certificate and its key; SNI chooses among several by the names inside" },
	[SECTION_CACHE] = { "cache", NULL, sizeof(struct conf_cache),
	  "the verified blobs on disk" },
	[SECTION_RESOLVER] = { "resolver", NULL, sizeof(struct conf_resolver),
	  "names to addresses" },
	[SECTION_POOL] = { "pool", "registry-1.docker.io", sizeof(struct conf_pool),
	  "how the servers of an upstream are dialled; the upstream's host may be its name" },
	[SECTION_MIRROR] = { "mirror", "docker.io", sizeof(struct conf_mirror),
	  "a registry that is mirrored, by its name as it stands in the names of images" },
	[SECTION_PASSTHROUGH] = { "passthrough", "git", sizeof(struct conf_passthrough),
	  "TLS connections for other servers, passed on unopened by the name in their greeting" },
	[SECTION_TENANT] = { "tenant", "alice", sizeof(struct conf_tenant),
	  "somebody who may use the mirror, and how much; without any, everybody may" },
	[SECTION_SITE] = { "site", "wiki", sizeof(struct conf_site),
	  "a web server behind the same addresses, whose requests are passed on" },
};
/* clang-format on */

enum {
	SECOND = 1000,
	MINUTE = 60 * SECOND,
	HOUR = 60 * MINUTE,
};
#define DAY (24ull * HOUR)
#define MIB (1024ull * 1024)
#define TIB (MIB * 1024 * 1024)

#define SERVER(f) SECTION_SERVER, .at = offsetof(struct conf_server, f)
#define CERT(f) SECTION_CERTIFICATE, .at = offsetof(struct conf_cert, f)
#define CACHE(f) SECTION_CACHE, .at = offsetof(struct conf_cache, f)
#define RESOLVER(f) SECTION_RESOLVER, .at = offsetof(struct conf_resolver, f)
#define MIRROR(f) SECTION_MIRROR, .at = offsetof(struct conf_mirror, f)
#define POOL(f) SECTION_POOL, .at = offsetof(struct conf_pool, f)
#define PASS(f) SECTION_PASSTHROUGH, .at = offsetof(struct conf_passthrough, f)
#define LIMITS(f) SECTION_LIMITS, .at = offsetof(struct conf_limits, f)
#define TENANT(f) SECTION_TENANT, .at = offsetof(struct conf_tenant, f)
#define SITE(f) SECTION_SITE, .at = offsetof(struct conf_site, f)
#define RANGE(least, most) .min = (least), .max = (most)

/* clang-format off */
const struct schema_key schema_keys[] = {
	{ SERVER(https), .key = "https", .type = VALUE_ADDRS, .reloadable = true,
	  .help = "addresses of the mirror by TLS" },
	{ SERVER(http), .key = "http", .type = VALUE_ADDRS, .reloadable = true,
	  .help = "addresses that redirect to https and serve acme_webroot" },
	{ SERVER(plain), .key = "plain", .type = VALUE_ADDRS, .reloadable = true,
	  .help = "addresses of the mirror without TLS, for use behind a balancer" },
	{ SERVER(admin), .key = "admin", .type = VALUE_ADDRS, .reloadable = true,
	  .help = "addresses of the status page, /metrics, /status and /healthz" },
	{ SERVER(control), .key = "control", .type = VALUE_SOCKET,
	  .by_default = "/run/sluice/control.sock",
	  .help = "socket by which sluice reload, upgrade and status reach the server, or off" },
	{ SERVER(admin_htpasswd), .key = "admin_htpasswd", .type = VALUE_PATH, .reloadable = true,
	  .help = "file of user:bcrypt lines (htpasswd -B): who may see that from elsewhere" },
	{ SERVER(hosts), .key = "host", .type = VALUE_HOSTS, .reloadable = true,
	  .help = "names at which every mirror is reachable, by ?ns= or by path" },
	{ SERVER(trusted), .key = "trusted", .type = VALUE_NETS, .reloadable = true,
	  .help = "balancers whose PROXY header and X-Forwarded-For are believed; absent: nobody" },
	{ SERVER(client_ca), .key = "client_ca", .type = VALUE_PATH, .reloadable = true,
	  .check = files_check_readable,
	  .help = "PEM file: who signs the certificates that clients may show by TLS" },
	{ SERVER(workers), .key = "workers", .type = VALUE_AUTO, RANGE(1, 1024),
	  .by_default = "auto",
	  .help = "threads that serve; auto is one per core that the process may use" },
	{ SERVER(user), .key = "user", .type = VALUE_USER, .check = files_check_user,
	  .help = "user to become after the addresses are bound; absent: no change" },
	{ SERVER(http2), .key = "http2", .type = VALUE_BOOL, .by_default = "yes",
	  .reloadable = true,
	  .help = "HTTP/2 for clients that choose it (https) or begin with it (plain)" },
	{ SERVER(ktls), .key = "ktls", .type = VALUE_CHOICE, .choices = "auto on off",
	  .by_default = "auto",
	  .help = "TLS records of large bodies by the kernel; auto: if it measures faster" },
	{ SERVER(page), .key = "page", .type = VALUE_BOOL, .by_default = "yes", .reloadable = true,
	  .help = "what to configure at clients, for browsers at / of the mirror's names" },
	{ SERVER(hsts), .key = "hsts", .type = VALUE_HSTS, .reloadable = true,
	  .help = "the Strict-Transport-Security header; absent: none" },
	{ SERVER(acme_webroot), .key = "acme_webroot", .type = VALUE_PATH, .reloadable = true,
	  .check = files_check_folder,
	  .help = "folder served by http under /.well-known/acme-challenge/" },
	{ SERVER(access_log), .key = "access_log", .type = VALUE_LOG, .by_default = "stdout",
	  .check = files_check_log,
	  .help = "one line per request and one per pull: stdout, off, or a file" },
	{ SERVER(access_format), .key = "access_format", .type = VALUE_CHOICE,
	  .choices = "combined json", .by_default = "combined",
	  .help = "shape of the access log's lines" },
	{ SERVER(log_level), .key = "log_level", .type = VALUE_CHOICE, .reloadable = true,
	  .choices = "error warn info debug", .by_default = "info",
	  .help = "how much the event log on stderr says" },
	{ SERVER(conns_max), .key = "conns_max", .type = VALUE_COUNT, RANGE(16, 1000000),
	  .by_default = "16384",
	  .help = "client connections at once, in all" },
	{ SERVER(handshake_timeout_ms), .key = "handshake_timeout", .type = VALUE_MS,
	  RANGE(SECOND, HOUR), .by_default = "10s", .reloadable = true,
	  .help = "time for a TLS handshake" },
	{ SERVER(header_timeout_ms), .key = "header_timeout", .type = VALUE_MS,
	  RANGE(SECOND, HOUR), .by_default = "15s", .reloadable = true,
	  .help = "time for the head of a request, from its first byte" },
	{ SERVER(idle_timeout_ms), .key = "idle_timeout", .type = VALUE_MS,
	  RANGE(SECOND, HOUR), .by_default = "75s", .reloadable = true,
	  .help = "time a connection may wait for its next request" },
	{ SERVER(send_timeout_ms), .key = "send_timeout", .type = VALUE_MS,
	  RANGE(SECOND, HOUR), .by_default = "60s", .reloadable = true,
	  .help = "time a client may take no byte of an answer" },
	{ SERVER(drain_timeout_ms), .key = "drain_timeout", .type = VALUE_MS,
	  RANGE(0, HOUR), .by_default = "30s", .reloadable = true,
	  .help = "time that transfers have to finish after SIGTERM" },
	{ SERVER(congestion), .key = "congestion", .type = VALUE_WORD,
	  .help = "congestion control of each socket, of clients and upstreams: bbr, cubic" },
	{ SERVER(sndbuf_bytes), .key = "sndbuf", .type = VALUE_BYTES, RANGE(4096, 1024 * MIB),
	  .help = "send buffer of a socket, fixed for the kernel; absent: it sizes it" },
	{ SERVER(notsent_bytes), .key = "notsent_lowat", .type = VALUE_BYTES,
	  RANGE(16384, 1024 * MIB),
	  .help = "unsent bytes that the kernel takes beforehand; absent: the kernel's" },
	{ SERVER(pacing_bytes), .key = "pacing_max", .type = VALUE_BYTES,
	  RANGE(16384, 1024 * 1024 * MIB),
	  .help = "bytes a second that a connection may send, at most; absent: no bound" },
	{ SERVER(fastopen), .key = "fastopen", .type = VALUE_COUNT, RANGE(0, 65535),
	  .by_default = "0",
	  .help = "clients that may begin within their SYN (TCP Fast Open) at once; 0: none" },

	{ LIMITS(client_connections), .key = "client_connections", .type = VALUE_COUNT,
	  RANGE(0, 1000000), .by_default = "4096", .reloadable = true,
	  .help = "connections of one client address (IPv6: of its /64) at once; 0: no limit" },
	{ LIMITS(handshakes), .key = "handshakes", .type = VALUE_COUNT, RANGE(0, 1000000),
	  .by_default = "0", .reloadable = true,
	  .help = "new TLS connections a second, of all clients; 0: no limit" },
	{ LIMITS(client_handshakes), .key = "client_handshakes", .type = VALUE_COUNT,
	  RANGE(0, 1000000), .by_default = "0", .reloadable = true,
	  .help = "new TLS connections a second of one client address; 0: no limit" },
	{ LIMITS(requests), .key = "requests", .type = VALUE_COUNT, RANGE(0, 10000000),
	  .by_default = "0", .reloadable = true,
	  .help = "requests a second, of all clients; more are answered 429; 0: no limit" },
	{ LIMITS(client_requests), .key = "client_requests", .type = VALUE_COUNT,
	  RANGE(0, 10000000), .by_default = "0", .reloadable = true,
	  .help = "requests a second of one client address; more are answered 429; 0: no limit" },

	{ CERT(chain), .key = "chain", .type = VALUE_PATH, .required = true, .reloadable = true,
	  .check = files_check_readable,
	  .help = "PEM file: the certificate, then those that lead to its root" },
	{ CERT(key), .key = "key", .type = VALUE_PATH, .required = true, .reloadable = true,
	  .check = files_check_readable,
	  .help = "PEM file: the private key" },

	{ CACHE(path), .key = "path", .type = VALUE_PATH, .by_default = "/var/cache/sluice",
	  .check = files_check_new_folder,
	  .help = "folder of the cached blobs; made if it is not there" },
	{ CACHE(size_bytes), .key = "size", .type = VALUE_BYTES, RANGE(64 * MIB, 1024 * TIB),
	  .by_default = "40G", .reloadable = true,
	  .help = "bytes that the cache may hold; the blobs unused for longest go first" },
	{ CACHE(free_bytes), .key = "free", .type = VALUE_BYTES, RANGE(0, 1024 * TIB),
	  .by_default = "2G", .reloadable = true,
	  .help = "floor of free space on the file system" },
	{ CACHE(scrub_ms), .key = "scrub", .type = VALUE_MS, RANGE(0, 365 * DAY),
	  .by_default = "7d", .reloadable = true,
	  .help = "how often each cached file is read again and verified; 0s: never" },
	{ CACHE(scrub_bytes), .key = "scrub_rate", .type = VALUE_BYTES, RANGE(MIB, TIB / 1024),
	  .by_default = "20M", .reloadable = true,
	  .help = "bytes that this reads in a second, at most" },
	{ CACHE(finish_after), .key = "finish_after", .type = VALUE_PERCENT, RANGE(0, 100),
	  .by_default = "25%", .reloadable = true,
	  .help = "a large blob that nobody waits for any more is finished if so much is there" },

	{ RESOLVER(nameservers), .key = "nameservers", .type = VALUE_SERVERS,
	  .help = "name servers; absent: the system's; /etc/hosts is always honoured" },
	{ RESOLVER(family), .key = "family", .type = VALUE_CHOICE, .choices = "any v4 v6",
	  .by_default = "any",
	  .help = "addresses to use of upstreams" },

	{ POOL(servers), .key = "servers", .type = VALUE_MEMBERS, .max = 16, .reloadable = true,
	  .help = "where the upstream is, with weights of 1 to 256; absent: by its own name" },
	{ POOL(balance), .key = "balance", .type = VALUE_CHOICE,
	  .choices = "roundrobin leastconn latency", .by_default = "roundrobin", .reloadable = true,
	  .help = "which member is next: in turn, the least used, the fastest" },
	{ POOL(check_ms), .key = "check", .type = VALUE_MS, RANGE(SECOND, HOUR), .reloadable = true,
	  .help = "how often each member is asked /v2/, and left out if not well; absent: never" },
	{ POOL(connect_timeout_ms), .key = "connect_timeout", .type = VALUE_MS, RANGE(100, HOUR),
	  .reloadable = true, .help = "time to connect, TLS included; absent: the mirror's" },
	{ POOL(first_byte_timeout_ms), .key = "first_byte_timeout", .type = VALUE_MS,
	  RANGE(100, HOUR), .reloadable = true,
	  .help = "time it has to begin its answer; absent: the mirror's" },
	{ POOL(idle_timeout_ms), .key = "idle_timeout", .type = VALUE_MS, RANGE(100, HOUR),
	  .reloadable = true,
	  .help = "time it may send no byte of a body; absent: the mirror's stall" },
	{ POOL(conns_max), .key = "max_conns", .type = VALUE_COUNT, RANGE(1, 100000),
	  .reloadable = true,
	  .help = "connections at once, shared by the workers; more requests wait" },
	{ POOL(queue_timeout_ms), .key = "queue_timeout", .type = VALUE_MS, RANGE(100, HOUR),
	  .by_default = "30s", .reloadable = true,
	  .help = "time a request may wait for one of max_conns" },
	{ POOL(keepalive), .key = "keepalive", .type = VALUE_COUNT, RANGE(0, 64),
	  .by_default = "64", .reloadable = true,
	  .help = "idle connections that each worker keeps" },
	{ POOL(keepalive_timeout_ms), .key = "keepalive_timeout", .type = VALUE_MS,
	  RANGE(SECOND, HOUR), .by_default = "50s", .reloadable = true,
	  .help = "time an idle connection is kept" },
	{ POOL(via), .key = "via", .type = VALUE_VIA, .reloadable = true,
	  .help = "outgoing proxy: socks5://user:password@host:port or http://host:port" },
	{ POOL(bind), .key = "bind", .type = VALUE_IPS, .max = 16, .reloadable = true,
	  .help = "own addresses to connect from, used in turn or by what is left of their quota" },
	{ POOL(congestion), .key = "congestion", .type = VALUE_WORD, .reloadable = true,
	  .help = "congestion control of its connections; absent: the kernel's" },
	{ POOL(sndbuf_bytes), .key = "sndbuf", .type = VALUE_BYTES, RANGE(4096, 1024 * MIB),
	  .reloadable = true, .help = "send buffer of a socket; absent: the kernel's" },
	{ POOL(rcvbuf_bytes), .key = "rcvbuf", .type = VALUE_BYTES, RANGE(4096, 1024 * MIB),
	  .reloadable = true, .help = "receive buffer of a socket; absent: the kernel's" },

	{ MIRROR(hosts), .key = "host", .type = VALUE_HOSTS, .reloadable = true,
	  .help = "names of this mirror alone" },
	{ MIRROR(upstreams), .key = "upstream", .type = VALUE_URLS, .max = UPSTREAMS_MAX,
	  .reloadable = true,
	  .help = "where the images come from, in order; known for the public registries" },
	{ MIRROR(ca), .key = "ca", .type = VALUE_PATH, .reloadable = true,
	  .check = files_check_readable,
	  .help = "PEM file: trust roots for its upstreams beside the system's" },
	{ MIRROR(credentials), .key = "credentials", .type = VALUE_PATHS, .max = ACCOUNTS_MAX,
	  .reloadable = true,
	  .help = "files of one line user:password each, readable by their owner alone" },
	{ MIRROR(credentials_for), .key = "credentials_for", .type = VALUE_URL, .reloadable = true,
	  .help = "which of several upstreams is given the credentials" },
	{ MIRROR(realms), .key = "realm", .type = VALUE_HOSTS, .reloadable = true,
	  .help = "more token servers that may be given the credentials" },
	{ MIRROR(pool_name), .key = "pool", .type = VALUE_WORD, .reloadable = true,
	  .help = "the [pool] by which this mirror connects; absent: that of its upstream's name" },
	{ MIRROR(auth), .key = "auth", .type = VALUE_CHOICE, .choices = "mirror client",
	  .by_default = "mirror", .reloadable = true,
	  .help = "client: each client needs upstream's permission by its own credentials" },
	{ MIRROR(private), .key = "private", .type = VALUE_BOOL, .by_default = "no",
	  .reloadable = true,
	  .help = "yes: upstream, token server and redirects may have private addresses" },
	{ MIRROR(probe_image), .key = "probe_image", .type = VALUE_IMAGE, .reloadable = true,
	  .help = "image that sluice doctor asks its upstreams for; absent: a well-known one" },
	{ MIRROR(tag_fresh_ms), .key = "tag_fresh", .type = VALUE_MS,
	  RANGE(0, 365 * DAY), .by_default = "60s", .reloadable = true,
	  .help = "how long a tag's answer is used without asking upstream" },
	{ MIRROR(stale_for_ms), .key = "stale_for", .type = VALUE_MS,
	  RANGE(0, 365 * DAY), .by_default = "7d", .reloadable = true,
	  .help = "how old a tag's answer may be to serve it while upstream gives none" },
	{ MIRROR(tag_policy), .key = "tag_policy", .type = VALUE_POLICY, .reloadable = true,
	  .help = "rules for tags: patterns, then immutable, always, or window TIME" },
	{ MIRROR(referrers_fresh_ms), .key = "referrers_fresh", .type = VALUE_MS,
	  RANGE(0, DAY), .by_default = "60s", .reloadable = true,
	  .help = "how long lists of referrers, and sha256-... tags, are used without asking" },
	{ MIRROR(negative_ms), .key = "negative", .type = VALUE_MS,
	  RANGE(0, HOUR), .by_default = "10s", .reloadable = true,
	  .help = "how long a 404 of upstream is repeated without asking; 0s: never" },
	{ MIRROR(retry_after_max_ms), .key = "retry_after_max", .type = VALUE_MS,
	  RANGE(0, DAY), .by_default = "1h", .reloadable = true,
	  .help = "longest time for which a 429 holds requests back; 0 holds none back" },
	{ MIRROR(connect_timeout_ms), .key = "connect_timeout", .type = VALUE_MS,
	  RANGE(100, HOUR), .by_default = "10s", .reloadable = true,
	  .help = "time to connect to upstream, TLS included" },
	{ MIRROR(first_byte_timeout_ms), .key = "first_byte_timeout", .type = VALUE_MS,
	  RANGE(100, HOUR), .by_default = "30s", .reloadable = true,
	  .help = "time upstream has to begin its answer" },
	{ MIRROR(stall_ms), .key = "stall", .type = VALUE_MS, RANGE(100, HOUR),
	  .by_default = "15s", .reloadable = true,
	  .help = "time upstream may send no byte of a body before the rest is asked for anew" },
	{ MIRROR(retries), .key = "retries", .type = VALUE_COUNT, RANGE(0, RETRIES_MAX),
	  .by_default = "5", .reloadable = true,
	  .help = "how often a body that breaks off is asked for again without coming on" },
	{ MIRROR(parallel), .key = "parallel", .type = VALUE_COUNT, RANGE(1, PARALLEL_MAX),
	  .by_default = "4", .reloadable = true,
	  .help = "connections by which a large blob is fetched, in ranges, if one is slow" },
	{ MIRROR(parallel_from), .key = "parallel_from", .type = VALUE_BYTES,
	  RANGE(MIB, 1024 * TIB), .by_default = "64M", .reloadable = true,
	  .help = "size from which a blob is large enough for that" },

	{ PASS(snis), .key = "sni", .type = VALUE_SNIS, .required = true, .reloadable = true,
	  .help = "names in the TLS greeting of what is passed on; * stands for one label" },
	{ PASS(upstream), .key = "upstream", .type = VALUE_PLACE, .reloadable = true,
	  .help = "host:port that it is passed on to; absent: the first server of 'pool'" },
	{ PASS(pool_name), .key = "pool", .type = VALUE_WORD, .reloadable = true,
	  .help = "the [pool] by which to connect; absent: that of the upstream's name" },
	{ PASS(proxy_protocol), .key = "proxy_protocol", .type = VALUE_CHOICE, .choices = "off v2",
	  .by_default = "off", .reloadable = true,
	  .help = "v2: a PROXY header tells the server who the client is" },
	{ PASS(private), .key = "private", .type = VALUE_BOOL, .by_default = "no",
	  .reloadable = true,
	  .help = "yes: a name of the upstream may resolve to private addresses" },
	{ PASS(connect_timeout_ms), .key = "connect_timeout", .type = VALUE_MS, RANGE(100, HOUR),
	  .by_default = "10s", .reloadable = true,
	  .help = "time to connect to the server" },
	{ PASS(idle_timeout_ms), .key = "idle_timeout", .type = VALUE_MS, RANGE(SECOND, DAY),
	  .by_default = "10m", .reloadable = true,
	  .help = "time in which no byte goes either way" },

	{ TENANT(secret), .key = "secret", .type = VALUE_SECRET, .reloadable = true,
	  .help = "first part of the path: https://mirror/SECRET; 12 or more of a-z, 0-9, '-'" },
	{ TENANT(allow), .key = "allow", .type = VALUE_NETS, .reloadable = true,
	  .help = "networks its clients come from, such as 10.0.0.0/8" },
	{ TENANT(htpasswd), .key = "htpasswd", .type = VALUE_PATH, .reloadable = true,
	  .help = "file of user:bcrypt lines (htpasswd -B): its clients log in by docker login" },
	{ TENANT(certificates), .key = "certificate", .type = VALUE_PATTERNS, .reloadable = true,
	  .help = "common names, * for any bytes, of the client certificates of client_ca" },
	{ TENANT(mirrors), .key = "mirrors", .type = VALUE_PATTERNS, .reloadable = true,
	  .help = "mirrors that it may use, by their names; absent: all" },
	{ TENANT(images), .key = "images", .type = VALUE_PATTERNS, .reloadable = true,
	  .help = "images that it may pull, docker.io/library/* say; absent: all" },
	{ TENANT(images_denied), .key = "images_denied", .type = VALUE_PATTERNS,
	  .reloadable = true,
	  .help = "images that it may not pull, whatever images allows" },
	{ TENANT(rate_bytes), .key = "rate", .type = VALUE_BYTES, RANGE(16384, TIB),
	  .reloadable = true,
	  .help = "bytes a second that its clients get together, shared fairly by them" },
	{ TENANT(client_bytes), .key = "per_client", .type = VALUE_BYTES, RANGE(16384, TIB),
	  .reloadable = true,
	  .help = "bytes a second that each of its clients, by address, gets at most" },
	{ TENANT(conns_max), .key = "connections", .type = VALUE_COUNT, RANGE(1, 1000000),
	  .reloadable = true,
	  .help = "connections that it may have at once" },
	{ TENANT(quota_bytes), .key = "quota", .type = VALUE_QUOTA, RANGE(MIB, 1024 * TIB),
	  .reloadable = true,
	  .help = "bytes that it may get in a calendar month (UTC), such as 500G/month" },

	{ SITE(hosts), .key = "host", .type = VALUE_SNIS, .required = true, .reloadable = true,
	  .help = "names of this web server; * stands for one label" },
	{ SITE(upstream), .key = "upstream", .type = VALUE_URL, .reloadable = true,
	  .help = "http or https URL that requests go to; absent: the first server of 'pool'" },
	{ SITE(pool_name), .key = "pool", .type = VALUE_WORD, .reloadable = true,
	  .help = "the [pool] by which to connect; absent: that of the upstream's name" },
	{ SITE(ca), .key = "ca", .type = VALUE_PATH, .reloadable = true,
	  .check = files_check_readable,
	  .help = "PEM file: trust roots for its upstream beside the system's" },
	{ SITE(host_rewrite), .key = "host_rewrite", .type = VALUE_HOST, .reloadable = true,
	  .help = "Host that the upstream is told; absent: the one that the client asked for" },
	{ SITE(private), .key = "private", .type = VALUE_BOOL, .by_default = "no",
	  .reloadable = true,
	  .help = "yes: a name of the upstream may resolve to private addresses" },
	{ SITE(connect_timeout_ms), .key = "connect_timeout", .type = VALUE_MS, RANGE(100, HOUR),
	  .by_default = "10s", .reloadable = true,
	  .help = "time to connect to the upstream, TLS included" },
	{ SITE(timeout_ms), .key = "timeout", .type = VALUE_MS, RANGE(100, DAY),
	  .by_default = "60s", .reloadable = true,
	  .help = "time in which neither the request nor its answer moves by a byte" },
	{ SITE(idle_timeout_ms), .key = "idle_timeout", .type = VALUE_MS, RANGE(SECOND, 30 * DAY),
	  .by_default = "1h", .reloadable = true,
	  .help = "the same for a WebSocket" },
};
/* clang-format on */

const unsigned schema_keys_count = countof(schema_keys);
_Static_assert(countof(schema_keys) <= SCHEMA_KEYS_MAX, "a draft has a line number for each key");

const void *schema_field(const struct schema_key *k, const void *section)
{
	return (const char *)section + k->at;
}

const struct schema_key *schema_find(enum section section, struct slice key)
{
	for (unsigned i = 0; i < schema_keys_count; i++)
		if (schema_keys[i].section == section &&
		    slice_eq(key, slice_of(schema_keys[i].key)))
			return &schema_keys[i];
	return NULL;
}

/* Levenshtein; anything too long to be a slip of the pen is far away. */
static unsigned distance(struct slice a, struct slice b)
{
	enum { LEN_MAX = 24, FAR = 99 };
	unsigned row[LEN_MAX + 1];

	if (a.len > LEN_MAX || b.len > LEN_MAX)
		return FAR;
	for (unsigned j = 0; j <= b.len; j++)
		row[j] = j;
	for (unsigned i = 0; i < a.len; i++) {
		unsigned diagonal = row[0];

		row[0] = i + 1;
		for (unsigned j = 0; j < b.len; j++) {
			unsigned best = diagonal + (a.ptr[i] != b.ptr[j]);

			diagonal = row[j + 1];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j + 1] + 1 < best)
				best = row[j + 1] + 1;
			row[j + 1] = best;
		}
	}
	return row[b.len];
}

/* Keeps the nearer one of <best> and <word>; a word is near when two edits make it. */
static const char *nearer(struct slice text, const char *best, const char *word)
{
	unsigned d = distance(text, slice_of(word));

	/* "key" is two edits away from "ca": that is no slip. */
	if (d > 2 || d * 2 > strlen(word))
		return best;
	return best && distance(text, slice_of(best)) <= d ? best : word;
}

const char *schema_guess_key(enum section section, struct slice key)
{
	const char *best = NULL;

	for (unsigned i = 0; i < schema_keys_count; i++)
		if (schema_keys[i].section == section)
			best = nearer(key, best, schema_keys[i].key);
	return best;
}

const char *schema_guess_word(struct slice text, const char *const *words, unsigned count)
{
	const char *best = NULL;

	for (unsigned i = 0; i < count; i++)
		best = nearer(text, best, words[i]);
	return best;
}

const char *schema_guess_section(struct slice name)
{
	const char *best = NULL;

	for (unsigned i = 0; i < SECTION_COUNT; i++)
		best = nearer(name, best, schema_sections[i].name);
	return best;
}
