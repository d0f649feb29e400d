/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/tcpinfo.h"

#include <linux/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

TEST(a_shorter_struct_of_an_older_kernel_leaves_the_rest_zero)
{
	struct tcp_info i;
	struct tcpinfo t = { 0 };

	memset(&i, 0xee, sizeof(i));
	i.tcpi_rtt = 200000;
	tcpinfo_take(&t, &i, offsetof(struct tcp_info, tcpi_pacing_rate));
	check_eq(t.rtt_us, 200000);
	check_eq(t.pacing, 0);
	check_eq(t.delivery, 0);
	check_eq(t.acked_bytes, 0);
}

TEST(a_longer_struct_of_a_newer_kernel_is_cut)
{
	char longer[sizeof(struct tcp_info) + 64];
	struct tcpinfo t = { 0 };

	memset(longer, 0, sizeof(longer));
	tcpinfo_take(&t, longer, sizeof(longer));
	check_eq(t.rtt_us, 0);
}

TEST(no_bound_on_pacing_is_not_a_rate)
{
	struct tcp_info i = { .tcpi_pacing_rate = UINT64_MAX, .tcpi_min_rtt = UINT32_MAX };
	struct tcpinfo t = { 0 };

	tcpinfo_take(&t, &i, sizeof(i));
	check_eq(t.pacing, 0);
	check_eq(t.rtt_min_us, 0);
}

TEST(a_socket_tells_what_it_was_given)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct tcpinfo t;

	check_eq(tcpinfo_set_cc(fd, "reno"), 0);
	check_eq(tcpinfo_get(fd, &t), 0);
	check_str(t.cc, "reno");
	check(tcpinfo_set_cc(fd, "nonesuch") < 0);
	close(fd);
}
