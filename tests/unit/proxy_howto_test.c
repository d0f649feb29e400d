/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/howto.h"

#include "proxy/guide.h"
#include "test.h"

static const char *docker_hosts[] = { "127.0.0.1", "docker.example.com" };
static const char *all_hosts[] = { "mirror.example.com" };
static struct conf_mirror mirrors[] = {
	{ .name = "docker.io", .hosts = { docker_hosts, 2 } },
	{ .name = "quay.io" },
};
static struct conf_addr at = { .in = { .sin_family = AF_INET } };
static struct config config = { .mirrors = mirrors, .mirrors_count = countof(mirrors) };
static struct arena arena;
static struct howto howto;

static bool make(enum howto_client client, unsigned hosts, uint16_t port)
{
	at.in.sin_port = htons(port);
	config.server.https = (struct conf_addrs){ &at, 1 };
	config.server.hosts = (struct conf_names){ all_hosts, hosts };
	arena_fini(&arena);
	arena_init(&arena, howto_bytes(&config) + 4096);
	return howto_make(&arena, &config, client, &howto);
}

TEST(docker_goes_to_a_name_of_its_own)
{
	require(make(HOWTO_DOCKER, 1, 443));
	check_eq(howto.files_count, 1);
	check_str(howto.files[0].text,
		  "{\n  \"registry-mirrors\": [\"https://docker.example.com\"]\n}\n");
	require(make(HOWTO_DOCKER, 1, 8443));
	check_str(howto.files[0].text,
		  "{\n  \"registry-mirrors\": [\"https://docker.example.com:8443\"]\n}\n");
}

TEST(who_has_no_name_goes_by_path_or_is_left_out)
{
	struct howto_place place;

	require(make(HOWTO_PODMAN, 1, 443));
	check(strstr(howto.files[0].text, "location = \"quay.io\"\n[[registry.mirror]]\n"
					  "location = \"mirror.example.com/quay.io\"\n") != NULL);
	require(howto_look(&arena, &config, &place));
	check_eq(place.left_out_count, 0);
	check_str(place.authority, "mirror.example.com");
	require(make(HOWTO_PODMAN, 0, 443));
	check(strstr(howto.files[0].text, "quay.io") == NULL);
	require(howto_look(&arena, &config, &place));
	check_eq(place.left_out_count, 1);
	check_str(place.left_out[0], "quay.io");
	check_str(place.authority, NULL);
}

TEST(containerd_has_a_file_for_each)
{
	require(make(HOWTO_CONTAINERD, 1, 443));
	check_eq(howto.files_count, 2);
	check_str(howto.files[1].path, "/etc/containerd/certs.d/quay.io/hosts.toml");
	check(strncmp(howto.files[1].text, "[host.\"https://mirror.example.com\"]\n", 36) == 0);
}

/* Names of 253 bytes everywhere fit the memory that is asked for. */
TEST(the_longest_names_fit)
{
	static char name[254];
	static const char *names[] = { name };
	const char *was = mirrors[1].name;

	memset(name, 'x', sizeof(name) - 1);
	mirrors[1].name = name;
	mirrors[0].hosts = (struct conf_names){ names, 1 };
	all_hosts[0] = name;
	for (int i = 0; i < HOWTO_COUNT; i++)
		check(make((enum howto_client)i, 1, 65535));
	arena_fini(&arena);
	arena_init(&arena, 1024 * 1024);
	check(guide_make(&arena, &config) != NULL);
	mirrors[1].name = was;
	mirrors[0].hosts = (struct conf_names){ docker_hosts, 2 };
	all_hosts[0] = "mirror.example.com";
}

TEST(the_page_escapes_and_is_whole)
{
	char *html;

	require(make(HOWTO_DOCKER, 1, 443));
	arena_fini(&arena);
	arena_init(&arena, 1024 * 1024);
	html = guide_make(&arena, &config);
	require(html);
	check(strstr(html, "[host.&quot;https://mirror.example.com&quot;]\n") != NULL);
	check(strstr(html, "<script") == NULL);
	check(strstr(html, "http://") == NULL);
	check(strcmp(html + strlen(html) - 8, "</html>\n") == 0);
	arena_fini(&arena);
}

TEST(only_our_names_have_a_page)
{
	check(howto_is_ours(&config, SLICE("DOCKER.example.com")));
	check(howto_is_ours(&config, SLICE("mirror.example.com")));
	check(!howto_is_ours(&config, SLICE("git.example.com")));
	check(!howto_is_ours(&config, SLICE_NONE));
}
