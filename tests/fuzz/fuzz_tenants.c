/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What tenants, their clients and balancers before us send, and the files of both. */
#include <stdint.h>

#include "config/htpasswd.h"
#include "http/basic.h"
#include "net/ppin.h"
#include "proxy/badge.h"
#include "proxy/forwarded.h"
#include "proxy/tenant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void proxy_header(struct slice in)
{
	struct addr client = { .len = 0 };
	size_t used = 0;

	/* What is decided of a beginning stays so. */
	if (ppin_parse(in, &used, &client) == PPIN_DONE) {
		size_t again = 0;

		assert(used > 0 && used <= in.len);
		for (size_t n = 0; n < used; n++)
			assert(ppin_parse(slice_first(in, n), &again, &client) == PPIN_MORE);
		assert(ppin_parse(slice_first(in, used), &again, &client) == PPIN_DONE);
		assert(again == used);
	}
}

static void login(struct slice value)
{
	char mem[BASIC_MAX + 1], name[BADGE_USER_MAX + 1];
	struct slice user, password;

	if (basic_parse(value, mem, &user, &password)) {
		assert(user.len > 0 && user.len + password.len < BASIC_MAX);
		assert(strlen(user.ptr) == user.len && strlen(password.ptr) == password.len);
	}
	if (badge_user(value, name)) {
		assert(strlen(name) > 0);
		assert(!badge_is_good(value, slice_of(name), SLICE("$2y$05$x"), 1000000));
	}
}

static void files(struct slice text)
{
	struct slice rest = text, name, hash;
	const char *why;
	unsigned line = 0, month;
	uint64_t bytes;
	bool bad;

	while (htpasswd_next(&rest, &name, &hash, &line, &why) == HTPASSWD_LINE)
		assert(name.len > 0 && hash.len == HTPASSWD_HASH_BYTES);
	rest = text;
	while (tenant_parse(&rest, &name, &month, &bytes, &bad))
		assert(name.len > 0 && name.len < TENANT_NAME_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size };
	struct conf_net all[] = { { .bits = 0 } };
	struct conf_nets trusted = { all, 1 };
	struct msg m = { .fields_count = 1, .fields = { { SLICE("x-forwarded-for"), in } } };
	struct addr client;

	proxy_header(in);
	login(in);
	files(in);
	assert(addr_parse_ip(SLICE("192.0.2.1"), &client) == 0);
	forwarded_find(&m, &trusted, &client);
	assert(client.sa.sa_family == AF_INET || client.sa.sa_family == AF_INET6);
	return 0;
}
