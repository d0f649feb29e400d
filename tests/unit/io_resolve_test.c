/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The .c, not the header: to let names expire without waiting. */
#include "io/resolve.c" /* NOLINT */

#include <pthread.h>
#include <unistd.h>

#include "test.h"

enum { LIMIT_MS = 10000, TIMEOUT_MS = 1000 };

/*
 * A name server in a thread.  The first letter of a name says what it is:
 *	a: A 10.1.2.3    b: A 10.1.2.3 and AAAA fd00::1    c: CNAME b.test, with its addresses
 *	m: 20 A          s: silence                        else: NXDOMAIN
 *	h: A is answered, AAAA is not
 */
static int dns_fd;
static unsigned dns_asked;                                           /* questions */
static enum { DNS_WELL, DNS_SILENT, DNS_FAILS, DNS_SAYS_NO } dns_is; /* whatever the letter is */
static pthread_t dns_thread;

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28 };

/* <owner>: offset of the name in the message. */
static size_t put_record(uint8_t *at, size_t owner, unsigned type, const void *data, size_t len)
{
	uint8_t head[12] = { 0xc0, (uint8_t)owner, 0, (uint8_t)type, 0, 1, 0, 0, 0, 60,
			     0,    (uint8_t)len };

	memcpy(at, head, sizeof(head));
	memcpy(at + sizeof(head), data, len);
	return sizeof(head) + len;
}

static int now_is(void)
{
	return (int)__atomic_load_n(&dns_is, __ATOMIC_RELAXED);
}

static size_t dns_answer(uint8_t *msg, size_t len)
{
	uint8_t a[4] = { 10, 1, 2, 3 }, aaaa[16] = { 0xfd, [15] = 1 };
	uint8_t cname[8] = { 1, 'b', 4, 't', 'e', 's', 't', 0 };
	char letter = (char)msg[13];
	size_t end = 12, owner = 12;
	unsigned type, count = 0, n;

	while (end < len && msg[end])
		end += 1u + msg[end];
	type = msg[end + 2];
	end += 5;
	if (letter == 's' || (letter == 'h' && type == TYPE_AAAA) || now_is() == DNS_SILENT)
		return 0;
	if (now_is() != DNS_WELL)
		letter = 'x';
	if (letter == 'c') {
		owner = end + 12;
		end += put_record(msg + end, 12, TYPE_CNAME, cname, sizeof(cname));
		count++;
	}
	n = letter == 'm' ? 20 : 1;
	for (unsigned i = 0; i < n && type == TYPE_A && strchr("abchm", letter); i++) {
		a[3] = (uint8_t)(3 + i);
		end += put_record(msg + end, owner, TYPE_A, a, sizeof(a));
		count++;
	}
	if (type == TYPE_AAAA && strchr("bc", letter)) {
		end += put_record(msg + end, owner, TYPE_AAAA, aaaa, sizeof(aaaa));
		count++;
	}
	msg[2] = 0x84;
	msg[3] = strchr("abchm", letter) ? 0x80 : now_is() == DNS_FAILS ? 0x82 : 0x83;
	memset(msg + 4, 0, 8);
	msg[5] = 1;
	msg[7] = (uint8_t)count;
	return end;
}

static void *dns_serve(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100000; i++) {
		uint8_t msg[1500];
		struct sockaddr_in from;
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(dns_fd, msg, 512, 0, (struct sockaddr *)&from, &from_len);
		size_t len;

		if (n < 17) /* one byte: the end */
			break;
		__atomic_add_fetch(&dns_asked, 1, __ATOMIC_RELAXED);
		len = dns_answer(msg, (size_t)n);
		if (len > 0)
			sendto(dns_fd, msg, len, 0, (struct sockaddr *)&from, from_len);
	}
	return NULL;
}

static unsigned asked_now(void)
{
	return __atomic_load_n(&dns_asked, __ATOMIC_RELAXED);
}

static struct sockaddr_in dns_at;
static struct loop *loop;
static struct resolver *resolver;
static struct stats stats;
static struct timer watchdog;
static unsigned awaited;

static void watchdog_fired(struct timer *t)
{
	(void)t;
	check(!"the loop came to an end in time");
	loop_stop(loop);
}

/* port 0: of the server here. */
static bool start_for(enum addr_family family, unsigned port)
{
	struct loop_opts opts = { .entries = 64 };
	char text[64];
	const char *servers[] = { text };
	struct resolve_opts ropts = { .servers = servers,
				      .servers_count = 1,
				      .family = family,
				      .timeout_ms = TIMEOUT_MS,
				      .stats = &stats };
	socklen_t len = sizeof(dns_at);
	const char *why;

	dns_asked = 0;
	dns_is = DNS_WELL;
	dns_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	dns_at = (struct sockaddr_in){ .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (!check(bind(dns_fd, (struct sockaddr *)&dns_at, sizeof(dns_at)) == 0) ||
	    !check(getsockname(dns_fd, (struct sockaddr *)&dns_at, &len) == 0) ||
	    !check(pthread_create(&dns_thread, NULL, dns_serve, NULL) == 0))
		return false;
	memset(&stats, 0, sizeof(stats));
	snprintf(text, sizeof(text), "127.0.0.1:%u", port ? port : ntohs(dns_at.sin_port));
	if (!check(loop_new(&loop, &opts, &why) == 0) ||
	    !check(resolver_new(&resolver, loop, &ropts) == 0))
		return false;
	timer_init(&watchdog, watchdog_fired);
	loop_timer_set(loop, &watchdog, loop_now_ms(loop) + LIMIT_MS);
	return true;
}

static bool start(enum addr_family family)
{
	return start_for(family, 0);
}

static void quiet_run(struct task *t)
{
	if (loop_inflight(loop) == 0)
		loop_stop(loop);
	else
		loop_wake(loop, t);
}

static void finish(void)
{
	struct task quiet;

	resolver_free(resolver);
	task_init(&quiet, quiet_run);
	loop_wake(loop, &quiet);
	loop_run(loop);
	loop_unwake(loop, &quiet);
	loop_timer_clear(loop, &watchdog);
	check_eq(loop_inflight(loop), 0);
	loop_free(loop);
	check(sendto(dns_fd, "", 1, 0, (struct sockaddr *)&dns_at, sizeof(dns_at)) == 1);
	pthread_join(dns_thread, NULL);
	close(dns_fd);
}

struct asker {
	struct resolve q;
	unsigned calls;
	int err;
};

static void asker_done(struct resolve *q, int err)
{
	struct asker *a = container_of(q, struct asker, q);

	a->calls++;
	a->err = err;
	check(!q->busy);
	if (awaited > 0 && --awaited == 0)
		loop_stop(loop);
}

static void ask(struct asker *a, const char *host)
{
	*a = (struct asker){ .q.done = asker_done };
	resolve_start(resolver, &a->q, host, 443);
	check_eq(a->calls, 0);
	check(a->q.busy);
}

static void run_until(unsigned answers)
{
	awaited = answers;
	loop_run(loop);
}

static void check_addr(const struct addr *a, const char *text)
{
	char buf[INET6_ADDRSTRLEN];

	if (a->sa.sa_family == AF_INET) {
		check_eq(a->len, sizeof(a->in));
		check_eq(ntohs(a->in.sin_port), 443);
		inet_ntop(AF_INET, &a->in.sin_addr, buf, sizeof(buf));
	} else {
		check_eq(a->len, sizeof(a->in6));
		check_eq(ntohs(a->in6.sin6_port), 443);
		inet_ntop(AF_INET6, &a->in6.sin6_addr, buf, sizeof(buf));
	}
	check_str(buf, text);
}

static void check_one(const char *host, int err, const char *addr)
{
	struct asker a;

	ask(&a, host);
	run_until(1);
	check_eq(a.err, err);
	check_eq(a.q.count, addr != NULL);
	if (addr && a.q.count)
		check_addr(&a.q.addrs[0], addr);
}

TEST(literals_are_answered_without_asking)
{
	char longest[300];

	require(start(FAMILY_ANY));
	check_one("192.0.2.7", 0, "192.0.2.7");
	check_one("2001:db8::1", 0, "2001:db8::1");
	check_one("[2001:db8::2]", 0, "2001:db8::2");
	check_one("", ERR_DNS, NULL);
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	check_one(longest, ERR_DNS, NULL);
	check_eq(asked_now(), 0);
	check_eq(stat_get(&stats, STAT_DNS_QUERIES), 0);
	finish();
}

TEST(the_family_holds_for_literals_and_names)
{
	require(start(FAMILY_V4));
	check_one("::1", ERR_DNS, NULL);
	check_one("b.test", 0, "10.1.2.3");
	finish();
	require(start(FAMILY_V6));
	check_one("127.0.0.1", ERR_DNS, NULL);
	check_one("b.test", 0, "fd00::1");
	check_one("a.test", ERR_DNS, NULL);
	finish();
}

TEST(both_families_are_given)
{
	struct asker a;

	require(start(FAMILY_ANY));
	for (int i = 0; i < 2; i++) {
		ask(&a, i ? "c.test" : "b.test");
		run_until(1);
		check_eq(a.err, 0);
		require(a.q.count == 2);
		check(a.q.addrs[0].sa.sa_family != a.q.addrs[1].sa.sa_family);
	}
	ask(&a, "m.test");
	run_until(1);
	check_eq(a.q.count, RESOLVE_ADDRS_MAX);
	finish();
}

TEST(hosts_file_is_honoured)
{
	require(start(FAMILY_V4));
	check_one("localhost", 0, "127.0.0.1");
	check_eq(asked_now(), 0);
	finish();
}

TEST(one_query_serves_many_and_the_cache_serves_the_rest)
{
	struct asker many[20];
	unsigned asked;

	require(start(FAMILY_V4));
	for (int i = 0; i < 20; i++)
		ask(&many[i], i % 2 ? "a.test" : "A.Test");
	run_until(20);
	for (int i = 0; i < 20; i++) {
		check_eq(many[i].calls, 1);
		check_eq(many[i].err, 0);
		check_addr(&many[i].q.addrs[0], "10.1.2.3");
	}
	check_eq(asked_now(), 1);
	check_one("a.test", 0, "10.1.2.3");
	check_eq(asked_now(), 1);
	check_eq(stat_get(&stats, STAT_DNS_QUERIES), 1);
	names_get(resolver, "a.test")->expires_ms = 1;
	check_one("a.test", 0, "10.1.2.3");
	check_eq(asked_now(), 2);
	check_one("x.test", ERR_DNS, NULL);
	asked = asked_now();
	check_one("x.test", ERR_DNS, NULL); /* no is kept, too */
	check_eq(asked_now(), asked);
	check_eq(stat_get(&stats, STAT_DNS_QUERIES), 3);
	finish();
}

TEST(the_time_to_live_is_clamped)
{
	uint64_t now;

	require(start(FAMILY_V4));
	check_one("a.test", 0, "10.1.2.3");
	now = loop_now_ms(loop);
	check(names_get(resolver, "a.test")->expires_ms > now + 50 * 1000);
	check(names_get(resolver, "a.test")->expires_ms <= now + 60 * 1000);
	check_one("localhost", 0, "127.0.0.1");
	now = loop_now_ms(loop);
	check(names_get(resolver, "localhost")->expires_ms > now + 4 * 1000);
	check(names_get(resolver, "localhost")->expires_ms <= now + 5 * 1000);
	finish();
}

TEST(silence_ends_by_the_limit)
{
	struct asker silent, other;
	uint64_t began;

	require(start(FAMILY_ANY));
	began = loop_now_ms(loop);
	ask(&silent, "s.test");
	ask(&other, "b.test");
	run_until(1);
	check_eq(other.err, 0);
	check_eq(silent.calls, 0);
	run_until(1);
	check_eq(silent.err, ERR_DNS_TIMEOUT);
	check(loop_now_ms(loop) - began <= TIMEOUT_MS + 200);
	finish();
}

TEST(one_silent_family_does_not_lose_the_other)
{
	require(start(FAMILY_ANY));
	check_one("h.test", 0, "10.1.2.3");
	finish();
}

TEST(nobody_at_the_servers_port_is_not_a_no)
{
	require(start_for(FAMILY_V4, 1));
	check_one("a.test", ERR_DNS_TIMEOUT, NULL);
	finish();
}

static void expire(const char *host)
{
	names_get(resolver, host)->expires_ms = 1;
}

TEST(the_last_answer_is_given_while_servers_fail)
{
	static const char *const hosts[] = { [DNS_SILENT] = "a.test", [DNS_FAILS] = "aa.test" };
	unsigned asked;

	require(start(FAMILY_V4));
	for (int how = DNS_SILENT; how <= DNS_FAILS; how++) {
		__atomic_store_n(&dns_is, DNS_WELL, __ATOMIC_RELAXED);
		check_one(hosts[how], 0, "10.1.2.3");
		check(!names_get(resolver, hosts[how])->stale);
		__atomic_store_n(&dns_is, how, __ATOMIC_RELAXED);
		expire(hosts[how]);
		check_one(hosts[how], 0, "10.1.2.3");
		check(names_get(resolver, hosts[how])->stale);
		/* Then nobody waits for the servers any more. */
		expire(hosts[how]);
		asked = asked_now();
		check_one(hosts[how], 0, "10.1.2.3");
		check(asked_now() <= asked + 1);
	}
	finish();
}

TEST(an_old_answer_ends_with_a_no_or_its_time)
{
	struct asker a;

	require(start(FAMILY_V4));
	check_one("a.test", 0, "10.1.2.3");
	check_one("aa.test", 0, "10.1.2.3");
	__atomic_store_n(&dns_is, DNS_SAYS_NO, __ATOMIC_RELAXED);
	expire("a.test");
	check_one("a.test", ERR_DNS, NULL);
	__atomic_store_n(&dns_is, DNS_FAILS, __ATOMIC_RELAXED);
	expire("aa.test");
	names_get(resolver, "aa.test")->stale_until_ms = 1;
	ask(&a, "aa.test");
	run_until(1);
	check(a.err != 0);
	check_eq(a.q.count, 0);
	finish();
}

TEST(cancelled_is_not_called_back)
{
	struct asker a, b, c;

	require(start(FAMILY_V4));
	ask(&a, "a.test");
	ask(&b, "a.test");
	ask(&c, "192.0.2.1");
	resolve_cancel(&a.q);
	resolve_cancel(&c.q);
	resolve_cancel(&c.q);
	run_until(1);
	check_eq(a.calls, 0);
	check_eq(b.err, 0);
	check_eq(b.calls, 1);
	check_eq(c.calls, 0);
	finish();
}

TEST(free_calls_back_what_is_in_flight)
{
	struct asker silent, literal;

	require(start(FAMILY_ANY));
	check_one("a.test", 0, "10.1.2.3");
	ask(&silent, "s.test");
	ask(&literal, "192.0.2.1");
	loop_stop(loop);
	loop_run(loop);
	finish();
	check_eq(silent.calls, 1);
	check_eq(silent.err, ERR_DNS);
	check_eq(literal.calls, 1);
}

TEST(names_are_bounded)
{
	struct asker a;
	char host[64];

	require(start(FAMILY_V4));
	for (int i = 0; i < NAMES_MAX + 50; i++) {
		snprintf(host, sizeof(host), "a%d.test", i);
		ask(&a, host);
		run_until(1);
		check_eq(a.err, 0);
	}
	check_eq(resolver->names_count, NAMES_MAX);
	finish();
}

TEST(a_bad_server_is_refused)
{
	const char *servers[] = { "not-an-address" };
	struct resolve_opts ropts = {
		.servers = servers, .servers_count = 1, .timeout_ms = TIMEOUT_MS, .stats = &stats
	};
	struct resolver *r;
	struct loop_opts opts = { .entries = 8 };
	const char *why;

	require(loop_new(&loop, &opts, &why) == 0);
	check_eq(resolver_new(&r, loop, &ropts), -EINVAL);
	check(r == NULL);
	loop_free(loop);
}
