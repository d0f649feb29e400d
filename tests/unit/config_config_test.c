/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

/* The least that is a configuration. */
#define LEAST "[server]\nplain = 127.0.0.1:8080\n[mirror docker.io]\n"

static struct config_errors errs;

/* NULL when it is refused; errs is valid until the next call. */
static struct config *parse(const char *text)
{
	struct config *c;

	config_errors_fini(&errs);
	if (config_parse("t.ini", slice_of(text), &c, &errs) == 0)
		return c;
	check(c == NULL);
	check(errs.errors.count > 0);
	return NULL;
}

static bool told(const struct config_messages *m, const char *words)
{
	for (unsigned i = 0; i < m->count; i++)
		if (strstr(m->text[i], words))
			return true;
	for (unsigned i = 0; i < m->count; i++)
		printf("# %s\n", m->text[i]);
	return false;
}

/* LEAST and <more> (which goes on in the mirror's section) is refused for the reason alone. */
static bool refused(const char *more, const char *words)
{
	char text[4096];
	struct config *c;

	snprintf(text, sizeof(text), "%s%s", LEAST, more);
	c = parse(text);
	if (c)
		config_unref(c);
	return !c && errs.errors.count == 1 && told(&errs.errors, words);
}

/* What config_dump says of it; valid until the next call. */
static const char *dump_of(const struct config *c)
{
	static char text[8192];
	struct buf b;

	buf_init(&b, text, sizeof(text) - 1);
	check(config_dump(c, &b));
	text[buf_len(&b)] = '\0';
	return text;
}

/* Its dump is read back the same. */
static void check_dump(const struct config *c)
{
	char *first = strdup(dump_of(c));
	struct config *again = parse(first);

	if (check(again)) {
		check_str(first, dump_of(again));
		config_unref(again);
	}
	free(first);
}

TEST(the_least_configuration_has_all_defaults)
{
	struct config *c = parse(LEAST);
	const struct conf_mirror *m;

	require(c);
	check_eq(c->server.plain.count, 1);
	check_str(c->server.plain.v[0].text, "127.0.0.1:8080");
	check_eq(c->server.plain.v[0].in.sin_port, htons(8080));
	check_eq(c->server.https.count, 0);
	check_eq(c->server.workers, 0);
	check(c->server.user == NULL);
	check_eq(c->server.access, ACCESS_STDOUT);
	check_eq(c->server.access_format, FORMAT_COMBINED);
	check_eq(c->server.log_level, 2);
	check_eq(c->server.drain_timeout_ms, 30000);
	check_str(c->cache.path, "/var/cache/sluice");
	check_eq(c->cache.size_bytes, 40ll << 30);
	check_eq(c->cache.free_bytes, 2ll << 30);
	check_eq(c->resolver.family, CONF_FAMILY_ANY);
	check_eq(c->certs_count, 0);
	check_eq(c->mirrors_count, 1);
	m = &c->mirrors[0];
	check_str(m->name, "docker.io");
	check_str(m->upstreams.v[0].host, "registry-1.docker.io");
	check_eq(m->upstreams.v[0].port, 443);
	check(m->upstreams.v[0].https);
	check(!m->private);
	check_eq(m->tag_fresh_ms, 60000);
	check_eq(m->accounts_count, 0);
	check_eq(errs.warnings.count, 0);
	config_unref(c);
}

TEST(everything_that_is_written_is_read)
{
	struct config *c = parse("[server]\n"
				 "https = 0.0.0.0:443 [::]:443\n"
				 "http = 0.0.0.0:80\n"
				 "admin = [::1]:15001\n"
				 "host = Mirror.Example.COM. b.example.com\n"
				 "       [2001:DB8::1] 127.0.0.1\n"
				 "workers = 4\n"
				 "user = sluice\n"
				 "hsts = max-age=15552000; includeSubDomains; preload\n"
				 "acme_webroot = /var/lib/sluice/acme\n"
				 "access_log = /var/log/sluice/access.log ; a comment\n"
				 "access_format = json\n"
				 "log_level = debug\n"
				 "[certificate main]\nchain = /c1\nkey = /k1\n"
				 "[certificate second]\nchain = /c2\nkey = /k2\n"
				 "[cache]\npath = /c\nsize = 1T\nfree = 0\n"
				 "[resolver]\nnameservers = 8.8.8.8 [::1]:53 127.0.0.1:5353 ::1\n"
				 "family = v4\n"
				 "[mirror LOCALHOST:5000]\n"
				 "host = r.example.com\n"
				 "upstream = http://[::1]:5000/\n"
				 "ca = /ca.pem\nrealm = Auth.example.com\nprivate = yes\n"
				 "tag_fresh = 0\nconnect_timeout = 500ms\n");
	const struct conf_mirror *m;

	require(c);
	check_eq(c->server.https.count, 2);
	check_eq(c->server.https.v[1].sa.sa_family, AF_INET6);
	check_eq(c->server.hosts.count, 4);
	check_str(c->server.hosts.v[0], "mirror.example.com");
	check_str(c->server.hosts.v[2], "2001:db8::1");
	check_str(c->server.hosts.v[3], "127.0.0.1");
	check_eq(c->server.workers, 4);
	check_str(c->server.hsts, "max-age=15552000; includeSubDomains; preload");
	check_eq(c->server.access, ACCESS_FILE);
	check_str(c->server.access_log, "/var/log/sluice/access.log");
	check_eq(c->server.access_format, FORMAT_JSON);
	check_eq(c->server.log_level, 3);
	check_eq(c->certs_count, 2);
	check_str(c->certs[1].name, "second");
	check_str(c->certs[1].key, "/k2");
	check_eq(c->cache.free_bytes, 0);
	check_eq(c->resolver.nameservers.count, 4);
	check_str(c->resolver.nameservers.v[1], "[::1]:53");
	check_eq(c->resolver.family, CONF_FAMILY_V4);
	m = &c->mirrors[0];
	check_str(m->name, "localhost:5000");
	check_str(m->upstreams.v[0].text, "http://[::1]:5000");
	check_str(m->upstreams.v[0].host, "::1");
	check_eq(m->upstreams.v[0].port, 5000);
	check(!m->upstreams.v[0].https);
	check(m->private);
	check_eq(m->tag_fresh_ms, 0);
	check_eq(m->connect_timeout_ms, 500);
	check_eq(errs.warnings.count, 1);
	check(told(&errs.warnings,
		   "t.ini:29: [mirror localhost:5000] upstream = http://[::1]:5000"));
	config_unref(c);
}

TEST(credentials_go_to_the_upstreams_own_realms_only)
{
	struct config *c = parse(LEAST "realm = more.example.com\n"
				       "[mirror lscr.io]\n[mirror quay.io]\n"
				       "[mirror hub]\nupstream = https://registry-1.docker.io\n");

	require(c);
	check(config_realm_ok(&c->mirrors[0], 0, SLICE("Auth.Docker.IO")));
	check(config_realm_ok(&c->mirrors[0], 0, SLICE("registry-1.docker.io")));
	check(config_realm_ok(&c->mirrors[0], 0, SLICE("more.example.com")));
	check(!config_realm_ok(&c->mirrors[0], 0, SLICE("docker.io")));
	check(!config_realm_ok(&c->mirrors[0], 0, SLICE("evil.auth.docker.io")));
	check(!config_realm_ok(&c->mirrors[0], 0, SLICE("")));
	check(config_realm_ok(&c->mirrors[1], 0, SLICE("ghcr.io")));
	check(config_realm_ok(&c->mirrors[2], 0, SLICE("quay.io")));
	check(!config_realm_ok(&c->mirrors[2], 0, SLICE("auth.docker.io")));
	check(config_realm_ok(&c->mirrors[3], 0, SLICE("auth.docker.io")));
	config_unref(c);
}

TEST(of_several_upstreams_one_gets_the_credentials)
{
	struct config *c = parse(LEAST "upstream = https://mirror.gcr.io\n"
				       "  https://registry-1.docker.io http://quay.io:5000/\n"
				       "credentials = /a /b\n"
				       "credentials_for = https://registry-1.docker.io/\n"
				       "realm = more.example.com\n");
	const struct conf_mirror *m;

	require(c);
	m = &c->mirrors[0];
	check_eq(m->upstreams.count, 3);
	check_str(m->upstreams.v[0].host, "mirror.gcr.io");
	check_str(m->upstreams.v[2].text, "http://quay.io:5000");
	check_eq(m->credentials_up, 1);
	check_eq(m->accounts_count, 2);
	check_str(m->accounts[1].file, "/b");
	check(config_realm_ok(m, 1, SLICE("auth.docker.io")));
	check(config_realm_ok(m, 1, SLICE("more.example.com")));
	check(!config_realm_ok(m, 1, SLICE("mirror.gcr.io")));
	check(config_realm_ok(m, 0, SLICE("mirror.gcr.io")));
	check(!config_realm_ok(m, 0, SLICE("auth.docker.io")));
	check(!config_realm_ok(m, 0, SLICE("more.example.com")));
	check(!config_realm_ok(m, 2, SLICE("registry-1.docker.io")));
	check(told(&errs.warnings, "http://quay.io:5000: without TLS anybody on the way can"));
	check(!told(&errs.warnings, "and read the credentials"));
	config_unref(c);
}

TEST(who_gets_the_credentials_is_never_guessed)
{
	check(!parse(LEAST "upstream = https://a.test https://b.test\ncredentials = /a\n"));
	check(told(&errs.errors,
		   "t.ini:5: [mirror docker.io] credentials: of several upstreams one "
		   "must be named to be given them; add 'credentials_for = "
		   "https://b.test'"));
	check(!parse(LEAST "upstream = https://a.test https://b.test\ncredentials = /a\n"
			   "credentials_for = https://a.test:444\n"));
	check(told(&errs.errors, "credentials_for = https://a.test:444: must be one of"));
	check(!parse(LEAST "credentials_for = https://registry-1.docker.io\n"));
	check(told(&errs.errors, "credentials_for: there are no 'credentials'"));
	check(!parse(LEAST "upstream = https://a.test https://A.test/\n"));
	check(told(&errs.errors, "stand there once"));
	check(!parse(LEAST "upstream = https://a https://b https://c https://d https://e https://f "
			   "https://g https://h https://i\n"));
	check(told(&errs.errors, "at most 8 may be given"));
}

TEST(clients_credentials_go_where_nobody_can_read_them)
{
	struct config *c = parse(LEAST);

	require(c);
	check_eq(c->mirrors[0].auth, AUTH_MIRROR);
	config_unref(c);
	c = parse(LEAST "auth = client\n");
	require(c);
	check_eq(c->mirrors[0].auth, AUTH_CLIENT);
	config_unref(c);
	check(!parse(LEAST "auth = client\nupstream = http://quay.io:5000\n"));
	check(told(&errs.errors, "auth = client: needs an https upstream"));
	check(!parse(LEAST "auth = client\nupstream = https://a.test https://b.test\n"));
	check(told(&errs.errors, "auth = client: needs a single upstream"));
	check(!parse(LEAST "auth = client\ncredentials = /a\n"));
	check(told(&errs.errors, "auth = client: the mirror has no credentials of its own"));
	check(!parse(LEAST "auth = both\n"));
}

TEST(all_mistakes_are_told_at_once_with_their_lines)
{
	check(!parse("[server]\nworkers = -3\nwokers = 1\nhttps = 1.2.3.4\nnonsense\n"
		     "[sever]\nx = 1\n[mirror example.com]\ntag_fresh = 5\n"));
	check(told(&errs.errors, "t.ini:2: [server] workers = -3: must be 'auto' or 1..1024"));
	check(told(&errs.errors, "t.ini:3: [server] wokers: no such key; did you mean 'workers'?"));
	check(told(&errs.errors,
		   "t.ini:4: [server] https = 1.2.3.4: '1.2.3.4' must be an address"));
	check(told(&errs.errors, "t.ini:5: must be 'key = value'"));
	check(told(&errs.errors, "t.ini:6: [sever]: no such section; did you mean [server]?"));
	check(told(&errs.errors,
		   "t.ini:9: [mirror example.com] tag_fresh = 5: must be a time with"));
	check(told(&errs.errors, "t.ini:8: [mirror example.com]: must have an 'upstream"));
	check(told(&errs.errors, "t.ini:4: [server] https: needs a certificate"));
	check_eq(errs.errors.count, 8);
}

TEST(what_is_missing_is_told)
{
	check(!parse(""));
	check(told(&errs.errors, "t.ini: there is no mirror; add [mirror docker.io]"));
	check(told(&errs.errors, "[server]: must have 'https' or 'plain'"));
	check_eq(errs.errors.count, 2);
	check(refused("[certificate main]\nchain = /c\n",
		      "t.ini:4: [certificate main]: must have a 'key'"));
	check(refused("[certificate]\n", "must have a name, such as [certificate main]"));
	check(refused("[mirror]\n", "must have a name, such as [mirror docker.io]"));
	check(refused("[mirror a/b]\n", "[mirror a/b]: must have a name"));
	check(refused("[cache x]\n", "[cache x]: must be just [cache]"));
}

TEST(twice_is_an_error)
{
	check(refused("host = a.b\nhost = c.d\n",
		      "t.ini:5: [mirror docker.io] host: stands twice, first in line 4"));
	check(refused("[mirror Docker.io]\n",
		      "t.ini:4: [mirror docker.io]: stands twice, first in line 3"));
	check(refused("[cache]\n[cache]\n", "t.ini:5: [cache]: stands twice, first in line 4"));
	check(!parse(LEAST "[server]\nplain = 127.0.0.1:1\n"));
	check(told(&errs.errors, "t.ini:4: [server]: stands twice, first in line 1"));
	check(told(&errs.errors, "t.ini:5: [server] plain: stands twice, first in line 2"));
	check_eq(errs.errors.count, 2);
}

TEST(a_name_may_be_claimed_once)
{
	check(refused("host = a.b\n[mirror quay.io]\nhost = c.d A.B\n",
		      "t.ini:6: [mirror quay.io] host = a.b: is taken by [mirror docker.io] host"));
	check(!parse("[server]\nplain = 127.0.0.1:1\nhost = x.y\n[mirror quay.io]\nhost = x.y.\n"));
	check(told(&errs.errors,
		   "t.ini:5: [mirror quay.io] host = x.y: is taken by [server] host"));
	check(!parse("[server]\nplain = 1.1.1.1:1 [::]:2\nadmin = [0::0]:2\n[mirror quay.io]\n"));
	check(told(&errs.errors, "t.ini:3: [server] admin = [0::0]:2: is taken by [server] plain"));
}

TEST(only_lists_go_on)
{
	check(refused("tag_fresh = 5s\n  6s\n",
		      "t.ini:5: [mirror docker.io] tag_fresh = 6s: the line"));
}

TEST(bad_values_are_refused)
{
	static const struct {
		const char *line, *words;
	} bad[] = {
		{ "host =", "must not be empty" },
		{ "host = a.b:443", "'a.b:443' must be a host name without a port" },
		{ "host = *.b", "must be a host name" },
		{ "host = -a.b", "must be a host name" },
		{ "host = a..b", "must be a host name" },
		{ "host = 1.2.3", "must be a host name" },
		{ "host = 1.2.3.4.5", "must be a host name" },
		{ "host = [1.2.3.4]", "must be a host name" },
		{ "host = [::1", "must be a host name" },
		{ "host = good.example bad_/", "'bad_/' must be" },
		{ "upstream = registry.example.com", "must be https://host" },
		{ "upstream = https://", "must be https://host" },
		{ "upstream = https://a/b", "must be https://host" },
		{ "upstream = https://a?b", "must be https://host" },
		{ "upstream = https://a:0", "must be https://host" },
		{ "upstream = https://a:", "must be https://host" },
		{ "upstream = https://a:70000", "must be https://host" },
		{ "upstream = https://[::1]x", "must be https://host" },
		{ "upstream = HTTPS://a", "must be https://host" },
		{ "ca = ca.pem", "must be an absolute path" },
		{ "credentials = /", "must be an absolute path" },
		{ "private = true", "must be yes or no" },
		{ "tag_fresh = 366d", "from 0s to 365d" },
		{ "connect_timeout = 99ms", "from 100ms to 1h" },
		{ "[cache]\nsize = 63M", "must be a size such as 512M or 40G, from 64M to" },
		{ "[cache]\nsize = 40 G", "must be a size" },
		{ "[cache]\npath = cache", "must be an absolute path" },
		{ "[resolver]\nfamily = ipv4", "must be one of: any v4 v6" },
		{ "[resolver]\nnameservers = dns.example", "'dns.example' must be the address" },
		{ "[resolver]\nnameservers = 1.1.1.1:0", "must be the address" },
	};

	for (size_t i = 0; i < countof(bad); i++)
		if (!check(refused(bad[i].line, bad[i].words)))
			printf("# %s\n", bad[i].line);
}

TEST(bad_server_values_are_refused)
{
	static const struct {
		const char *line, *words;
	} bad[] = {
		{ "https = :443", "must be an address and a port" },
		{ "https = ::443", "must be an address and a port" },
		{ "https = [::]", "must be an address and a port" },
		{ "https = localhost:443", "must be an address and a port" },
		{ "https = 1.2.3.4:99999", "must be an address and a port" },
		{ "workers = 0", "must be 'auto' or 1..1024" },
		{ "workers = 1025", "must be 'auto' or 1..1024" },
		{ "workers = two", "must be 'auto' or 1..1024" },
		{ "user = a b", "must be the name of a user" },
		{ "user = 0", "must be the name of a user" },
		{ "hsts = 15552000", "max-age=15552000" },
		{ "access_log = access.log", "must be stdout, off, or an absolute path" },
		{ "access_format = JSON", "must be one of: combined json" },
		{ "log_level = verbose", "must be one of: error warn info debug" },
		{ "conns_max = 15", "must be 16..1000000" },
		{ "drain_timeout = 30", "must be a time with a unit" },
	};
	char text[300];

	for (size_t i = 0; i < countof(bad); i++) {
		snprintf(text, sizeof(text),
			 "[mirror quay.io]\n[server]\nplain = 127.0.0.1:1\n%s\n", bad[i].line);
		if (!check(!parse(text)) || !check(told(&errs.errors, bad[i].words)))
			printf("# %s\n", bad[i].line);
	}
}

TEST(a_password_in_an_address_is_not_repeated)
{
	check(refused("upstream = https://user:secret@host\n", "upstream = (not shown)"));
}

TEST(strange_bytes_are_shown_harmless)
{
	check(refused("ca = \xff\x1b\n", "control character"));
	check(refused("ca = \xff\"\n", "ca = \\xff\\\": must be"));
}

TEST(messages_are_bounded)
{
	static char text[64 * 1024];
	size_t len = (size_t)snprintf(text, sizeof(text), LEAST);

	for (int i = 0; i < 1000; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "nonsense\n");
	check(!parse(text));
	check_eq(errs.errors.count, CONFIG_MESSAGES_MAX);
	check_eq(errs.errors.more, 1000 - CONFIG_MESSAGES_MAX);
}

TEST(lists_and_sections_are_bounded)
{
	static char text[64 * 1024];
	size_t len = (size_t)snprintf(text, sizeof(text), LEAST "host = a0\n");

	for (int i = 1; i < 300; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, " a%d\n", i);
	check(!parse(text));
	check(told(&errs.errors, "at most 256 may be given"));
	len = (size_t)snprintf(text, sizeof(text), LEAST);
	for (int i = 1; i < 1100; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"[mirror m%d]\nupstream = https://m\n", i);
	check(!parse(text));
	check(told(&errs.errors, "at most 1000 sections"));
}

TEST(too_large_a_file_is_refused)
{
	char *text = malloc(CONFIG_FILE_MAX + 2);

	require(text);
	memset(text, '\n', CONFIG_FILE_MAX + 1);
	memcpy(text, LEAST, sizeof(LEAST) - 1);
	text[CONFIG_FILE_MAX + 1] = '\0';
	check(!parse(text));
	check(told(&errs.errors, "t.ini: is larger than 1 MiB"));
	text[CONFIG_FILE_MAX] = '\0';
	config_unref(parse(text));
	free(text);
}

TEST(the_dump_is_read_back_the_same)
{
	struct config *c = parse("[server]\nhttps = 0.0.0.0:443\n [::]:443\nhost = a.b [::1]\n"
				 "workers = 3\nhsts = max-age=1; preload\naccess_log = off\n"
				 "[certificate main]\nchain = /c\nkey = /k\n[cache]\nsize = 1000M\n"
				 "[mirror docker.io]\nhost = d.e\ncredentials = /cred /2\n"
				 "upstream = https://u https://v:1\ncredentials_for = https://u\n"
				 "realm = x.y\ntag_fresh = 90s\n[mirror x:5000]\n"
				 "upstream = http://x:5000\nprivate = yes\n");
	char little[100];
	struct buf b;

	require(c);
	check_dump(c);
	check(strstr(dump_of(c), "\nsize = 1000M\n") != NULL);
	buf_init(&b, little, sizeof(little));
	check(!config_dump(c, &b));
	config_unref(c);
}

TEST(pools_are_found_by_name_and_by_host)
{
	struct config *c = parse(LEAST "pool = corp\n[mirror x.y]\nupstream = https://up.x.y\n"
				       "[pool corp]\nvia = socks5://me:p%4055@10.0.0.1:1080\n"
				       "[pool up.x.y]\nservers = a.b:1 weight=3 [::1]\n"
				       "bind = 127.0.0.1 ::1\n");
	const char *dump;
	bool servers;

	require(c);
	require(c->pools_count == 2);
	check(c->mirrors[0].pool == &c->pools[0]);
	check(c->mirrors[1].pool == &c->pools[1]);
	check_str(c->pools[0].via.user, "me");
	check_str(c->pools[0].via.password, "p@55");
	check_eq(c->pools[1].servers.count, 2);
	check_eq(c->pools[1].servers.v[0].weight, 3);
	check_str(c->pools[1].servers.v[1].host, "::1");
	check_eq(c->pools[1].bind.count, 2);
	check(config_pool(c, &c->mirrors[1], SLICE("up.x.y"), &servers) == &c->pools[1]);
	check(servers);
	check(config_pool(c, &c->mirrors[1], SLICE("cdn.x.y"), &servers) == &c->pools[1]);
	check(!servers);
	check(config_pool(c, &c->mirrors[0], SLICE("up.x.y"), &servers) == &c->pools[1]);
	dump = dump_of(c);
	check(!strstr(dump, "p@55") && !strstr(dump, "p%40") && !strstr(dump, "me:"));
	check(strstr(dump, "via = socks5://(hidden)@10.0.0.1:1080\n") != NULL);
	config_unref(c);
}

TEST(mistakes_in_pools)
{
	static const char *const bad[] = {
		"servers = a.b weight=0",   "servers = weight=2",
		"servers = a.b:99999",      "via = socks4://a.b:1",
		"via = http://a.b",         "via = http://s3cret@a.b:1",
		"via = http://u:s3%zz@a:1", "bind = a.b",
		"congestion = b b",         "max_conns = 0",
		"balance = best",           "via = http://a:1\nservers = b",
	};

	for (unsigned i = 0; i < countof(bad); i++) {
		char text[400];

		snprintf(text, sizeof(text), LEAST "[pool p]\n%s\n", bad[i]);
		check(!parse(text));
		check(errs.errors.count >= 1);
		check(!strstr(errs.errors.text[0], "s3"));
	}
}

#define PASS                                                                                       \
	"[server]\nhttps = 0.0.0.0:443\nhost = a.b\n[certificate main]\nchain = /c\nkey = /k\n"    \
	"[mirror quay.io]\nhost = in.corp.example\n"

TEST(passthroughs_are_found_by_name)
{
	struct config *c = parse(PASS "[passthrough git]\nsni = Git.Example.com *.corp.example\n"
				      "upstream = git.internal:8443\nproxy_protocol = v2\n"
				      "[passthrough two]\nsni = x.corp.example *.a.b\npool = p\n"
				      "[pool p]\nservers = [::1] 10.0.0.1:7\n"
				      "[passthrough three]\nsni = t.x\nupstream = 10.0.0.1:9\n");
	static const struct {
		const char *sni;
		int pass;
	} cases[] = {
		{ "git.example.com", 0 },
		{ "a.corp.example", 0 },
		{ "x.corp.example", 1 },
		{ "in.corp.example", -1 },
		{ "corp.example", -1 },
		{ ".corp.example", -1 },
		{ "a.b.corp.example", -1 },
		{ "agit.example.com", -1 },
		{ "", -1 },
		{ "c.a.b", 1 },
		{ "a.b", -1 },
		{ "*.corp.example", 0 },
	};

	require(c);
	require(c->passes_count == 3);
	for (unsigned i = 0; i < countof(cases); i++)
		if (!check_eq(config_passthrough(c, cases[i].sni), cases[i].pass))
			printf("# %s\n", cases[i].sni);
	check_str(c->passes[0].upstream.host, "git.internal");
	check_eq(c->passes[0].upstream.port, 8443);
	check(!c->passes[0].as_mirror.private);
	check_str(c->passes[1].upstream.text, "[::1]:443");
	check(c->passes[1].as_mirror.pool == &c->pools[0]);
	check(!c->passes[1].as_mirror.private);
	check(c->passes[2].as_mirror.private); /* the address is written there */
	check_eq(c->passes[2].as_mirror.auth, AUTH_MIRROR);
	check_dump(c);
	config_unref(c);
}

TEST(mistakes_in_passthroughs)
{
	static const struct {
		const char *text;
		const char *words;
	} bad[] = {
		{ "upstream = x:1\n", "must have a 'sni'" },
		{ "sni = x.y\n", "must have 'upstream = host:port', or a 'pool'" },
		{ "sni = x.y\nupstream = x\n", "must be host:port" },
		{ "sni = x.y\nupstream = https://x:1\n", "must be host:port" },
		{ "sni = x.y\npool = no\n", "add [pool no]" },
		{ "sni = *\nupstream = x:1\n", "must be a name such as" },
		{ "sni = a.*.b\nupstream = x:1\n", "must be a name such as" },
		{ "sni = 1.2.3.4\nupstream = x:1\n", "must be a name such as" },
		{ "sni = [::1]\nupstream = x:1\n", "must be a name such as" },
		{ "sni = a.b\nupstream = x:1\n", "sni = a.b: is taken by [server] host" },
		{ "sni = in.corp.example\nupstream = x:1\n", "is taken by [mirror quay.io] host" },
		{ "sni = *.x\nupstream = x:1\n[passthrough h]\nsni = *.x\nupstream = x:1\n",
		  "[passthrough h] sni = *.x: is taken by [passthrough g] sni" },
		{ "sni = x.y\nupstream = x:1\nproxy_protocol = v1\n", "must be one of: off v2" },
	};

	for (unsigned i = 0; i < countof(bad); i++) {
		char text[800];
		struct config *c;

		snprintf(text, sizeof(text), PASS "[passthrough g]\n%s", bad[i].text);
		c = parse(text);
		if (!check(!c && told(&errs.errors, bad[i].words)))
			printf("# %s\n", bad[i].text);
		if (c)
			config_unref(c);
	}
	check(refused("[passthrough g]\nsni = x.y\nupstream = x:1\n", "needs [server] https"));
}

TEST(sites_are_found_by_name)
{
	struct config *c = parse(PASS
				 "[site wiki]\nhost = Wiki.Example.com *.corp.example\n"
				 "upstream = http://wiki.internal:8080\nhost_rewrite = Wiki:1\n"
				 "[site two]\nhost = x.corp.example\npool = p\ntimeout = 5s\n"
				 "[pool p]\nservers = 10.0.0.1 [::1]:7\n"
				 "[site three]\nhost = t.x\nupstream = https://10.0.0.1\n"
				 "[passthrough git]\nsni = *.x\nupstream = g:1\n");
	static const struct {
		const char *host;
		int site;
	} cases[] = {
		{ "wiki.example.com", 0 },
		{ "WIKI.example.com", 0 },
		{ "a.corp.example", 0 },
		{ "x.corp.example", 1 },
		{ "in.corp.example", -1 },
		{ "corp.example", -1 },
		{ "a.b.corp.example", -1 },
		{ "t.x", 2 },
		{ "", -1 },
		{ "a.b", -1 },
	};

	require(c);
	require(c->sites_count == 3);
	for (unsigned i = 0; i < countof(cases); i++)
		if (!check_eq(config_site(c, slice_of(cases[i].host)), cases[i].site))
			printf("# %s\n", cases[i].host);
	check_eq(config_passthrough(c, "t.x"), -1);
	check_eq(config_passthrough(c, "u.x"), 0);
	check_str(c->sites[0].host_rewrite, "wiki:1");
	check(!c->sites[0].as_mirror.private);
	check_str(c->sites[1].upstream.text, "http://10.0.0.1:80");
	check(c->sites[1].as_mirror.pool == &c->pools[0]);
	check_eq(c->sites[1].as_mirror.stall_ms, 5000);
	check(c->sites[2].as_mirror.private && c->sites[2].upstream.https);
	check_dump(c);
	config_unref(c);
}

TEST(mistakes_in_sites)
{
	static const struct {
		const char *text;
		const char *words;
	} bad[] = {
		{ "upstream = http://x\n", "must have a 'host'" },
		{ "host = x.y\n", "must have 'upstream = http://host:port', or a 'pool'" },
		{ "host = x.y\nupstream = x:1\n", "must be https://host or" },
		{ "host = x.y\nupstream = http://x/y\n", "without path" },
		{ "host = x.y\npool = no\n", "add [pool no]" },
		{ "host = a.b\nupstream = http://x\n", "host = a.b: is taken by [server] host" },
		{ "host = x.y\nupstream = http://x\nhost_rewrite = a b\n",
		  "must be a host name, perhaps with a port" },
		{ "host = x.y\nupstream = http://x\nca = /x\n", "ca: is of no use" },
		{ "host = x.y\nupstream = http://x\ntimeout = 1ms\n", "from 100ms" },
	};

	for (unsigned i = 0; i < countof(bad); i++) {
		char text[800];
		struct config *c;

		snprintf(text, sizeof(text), PASS "[site w]\n%s", bad[i].text);
		c = parse(text);
		if (!check(!c && told(&errs.errors, bad[i].words)))
			printf("# %s\n", bad[i].text);
		if (c)
			config_unref(c);
	}
}

TEST(rules_for_tags_are_read_in_any_form)
{
	struct config *c = parse(LEAST "tag_policy = [0-9]* v[0-9]* immutable, * window 60s\n"
				       "\tnightly-* window 1m revalidate 10m\n"
				       "\t[a-c]* immutable\n"
				       "tag_policy = edge always ; a comment\n"
				       "tag_policy = a/*:x always\nnegative = 0\n");
	const struct conf_mirror *m;
	const char *dump;

	require(c);
	m = &c->mirrors[0];
	require(m->tag_policy.count == 7);
	check_str(m->tag_policy.v[1].tag, "v[0-9]*");
	check_eq(m->tag_policy.v[1].kind, POLICY_IMMUTABLE);
	check_eq(m->tag_policy.v[3].revalidate_ms, 600000);
	check_str(m->tag_policy.v[4].tag, "[a-c]*");
	check_str(m->tag_policy.v[5].tag, "edge");
	check_str(m->tag_policy.v[6].repo, "a/*");
	check_eq(m->negative_ms, 0);
	check_eq(m->referrers_fresh_ms, 60000);
	dump = dump_of(c);
	check(strstr(dump, "\ttag_policy") == NULL && strstr(dump, "tag_fresh") == NULL);
	check(strstr(dump, "tag_policy = [0-9]* immutable\n\tv[0-9]* immutable\n\t* window"));
	check_dump(c);
	config_unref(c);
}

TEST(wrong_rules_for_tags_name_their_line)
{
	check(refused("tag_policy = * always\ntag_policy = v* imutable\n",
		      "t.ini:5: [mirror docker.io] tag_policy = v* imutable: "));
	check(refused("tag_policy = * always, v* always\n  x* always\n  v* immutable\n",
		      "t.ini:6: [mirror docker.io] tag_policy = v* immutable: 'v*' stands in"));
	check(refused("tag_policy = * always\ntag_fresh = 1m\n",
		      "t.ini:5: [mirror docker.io] tag_fresh: is of no use: tag_policy (line 4)"));
	check(refused("stale_for = 1m\ntag_policy = a window 30s revalidate 31s\n",
		      "t.ini:5: [mirror docker.io] tag_policy: window and revalidate of 'a'"));
	check(refused("tag_policy = a/b always\n", "'a/b' must be a pattern for a tag"));
	check(refused("tag_policy = ,\n", "must end with immutable"));
}

TEST(references_keep_it)
{
	struct config *c = parse(LEAST);

	require(c);
	check(config_ref(c) == c);
	config_unref(c);
	check_str(c->mirrors[0].name, "docker.io");
	config_unref(c);
}

/* From here on: what config_load() sees of the file system. */
static char dir[64];

static const char *put(const char *name, const char *text, mode_t mode)
{
	static char path[4][200];
	static unsigned turn;
	char *p = path[turn++ % 4];
	int fd;

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	unlink(p);
	fd = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
	    fchmod(fd, mode) < 0)
		printf("# cannot write %s\n", p);
	close(fd);
	return p;
}

static struct config *load(const char *text)
{
	struct config *c;

	config_errors_fini(&errs);
	if (config_load(put("sluice.ini", text, 0600), &c, &errs) == 0)
		return c;
	check(c == NULL);
	return NULL;
}

/* Loads LEAST with "credentials = <a file of that text>". */
static struct config *load_credentials(const char *text, mode_t mode)
{
	char ini[500];

	snprintf(ini, sizeof(ini), LEAST "credentials = %s\n", put("cred", text, mode));
	return load(ini);
}

TEST(files_folder_is_made)
{
	snprintf(dir, sizeof(dir), "/tmp/sluice-config-XXXXXX");
	require(mkdtemp(dir));
}

TEST(credentials_are_read)
{
	struct config *c = load_credentials("me:p4ss:w\"ord\n", 0600);
	const char *dump;

	require(c);
	check_str(c->mirrors[0].accounts[0].user, "me");
	check_str(c->mirrors[0].accounts[0].password, "p4ss:w\"ord");
	dump = dump_of(c);
	check(strstr(dump, "p4ss") == NULL);
	check(strstr(dump, "/cred\n") != NULL);
	config_unref(c);
	c = load_credentials("a:b", 0400);
	require(c);
	check_str(c->mirrors[0].accounts[0].password, "b");
	config_unref(c);
}

TEST(bad_credentials_are_refused_and_not_repeated)
{
	check(!load_credentials("me:secret\n", 0640));
	check(told(&errs.errors, "others may read it: chmod 600"));
	check(!load_credentials("mesecret\n", 0600));
	check(told(&errs.errors, "there is no ':'"));
	check(!load_credentials("me:secret\nmore\n", 0600));
	check(told(&errs.errors, "without control characters"));
	check(!load_credentials(":secret\n", 0600));
	check(told(&errs.errors, "one of them is empty"));
	check(!load_credentials("secret:\n", 0600));
	check(!load_credentials("", 0600));
	for (unsigned i = 0; i < errs.errors.count; i++)
		check(strstr(errs.errors.text[i], "secret") == NULL);
}

TEST(credentials_of_somebody_else_are_refused)
{
	char ini[500];
	const char *path = put("cred", "me:secret", 0600);

	if (geteuid() != 0)
		skip("needs root");
	require(chown(path, 12345, 12345) == 0);
	snprintf(ini, sizeof(ini), LEAST "credentials = %s\n", path);
	check(!load(ini));
	check(told(&errs.errors, "belongs to somebody else"));
}

TEST(unreadable_files_are_told_all_at_once)
{
	char ini[1000];

	snprintf(ini, sizeof(ini),
		 "[server]\nplain = 127.0.0.1:1\nacme_webroot = %s/none\nuser = nobody-here\n"
		 "access_log = %s/none/access.log\n"
		 "[certificate main]\nchain = %s/none\nkey = %s\n"
		 "[cache]\npath = %s\n"
		 "[mirror quay.io]\nca = %s\ncredentials = /dev/null\n",
		 dir, dir, dir, dir, put("file", "x", 0600), put("empty", "", 0600));
	check(!load(ini));
	check(told(&errs.errors, "sluice.ini:3: [server] acme_webroot ="));
	check(told(&errs.errors,
		   "sluice.ini:4: [server] user = nobody-here: there is no such user"));
	check(told(&errs.errors, "none/access.log: the folder for it"));
	check(told(&errs.errors, "none: No such file or directory"));
	check(told(&errs.errors, ": Is a directory"));
	check(told(&errs.errors, ": Not a directory"));
	check(told(&errs.errors, "empty: the file is empty"));
	check(told(&errs.errors, "credentials = /dev/null: it is not a regular file"));
	check_eq(errs.errors.count, 8);
}

TEST(a_file_that_is_none_is_refused)
{
	struct config *c;

	config_errors_fini(&errs);
	check_eq(config_load("/nonexistent/sluice.ini", &c, &errs), -EINVAL);
	check(told(&errs.errors, "/nonexistent/sluice.ini: No such file or directory"));
	config_errors_fini(&errs);
	check_eq(config_load(dir, &c, &errs), -EINVAL);
	check(told(&errs.errors, "Is a directory"));
	config_errors_fini(&errs);
}

TEST(files_folder_is_removed)
{
	static const char *const names[] = { "sluice.ini", "cred", "file", "empty" };
	char path[200];

	for (size_t i = 0; i < countof(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	check_eq(rmdir(dir), 0);
}
