/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/tcpinfo.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

void tcpinfo_take(struct tcpinfo *out, const void *info, size_t bytes)
{
	struct tcp_info i = { 0 };

	memcpy(&i, info, bytes < sizeof(i) ? bytes : sizeof(i));
	out->rtt_us = i.tcpi_rtt;
	out->rtt_min_us = i.tcpi_min_rtt == UINT32_MAX ? 0 : i.tcpi_min_rtt;
	/* All ones: as fast as it goes. */
	out->pacing = i.tcpi_pacing_rate == UINT64_MAX ? 0 : i.tcpi_pacing_rate;
	out->delivery = i.tcpi_delivery_rate;
	out->acked_bytes = i.tcpi_bytes_acked;
	out->received_bytes = i.tcpi_bytes_received;
	out->cwnd = i.tcpi_snd_cwnd;
	out->retransmits = i.tcpi_total_retrans;
	out->unacked = i.tcpi_unacked;
}

int tcpinfo_get(int fd, struct tcpinfo *out)
{
	struct tcp_info i = { 0 };
	socklen_t len = sizeof(i), cc = sizeof(out->cc) - 1;

	*out = (struct tcpinfo){ 0 };
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len) < 0 ||
	    getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, out->cc, &cc) < 0)
		return -errno;
	tcpinfo_take(out, &i, len);
	return 0;
}

int tcpinfo_set_cc(int fd, const char *cc)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cc, (socklen_t)strlen(cc)) < 0 ? -errno
											  : 0;
}

void tcpinfo_head(FILE *to)
{
	fprintf(to, "%-8s %9s %9s %6s %8s %10s %10s %10s %10s\n", "cc", "rtt ms", "least", "cwnd",
		"resent", "pace Mb/s", "rate Mb/s", "acked KB", "got KB");
}

void tcpinfo_print(FILE *to, const struct tcpinfo *t)
{
	fprintf(to, "%-8s %9.2f %9.2f %6u %8u %10.2f %10.2f %10.1f %10.1f\n", t->cc,
		(double)t->rtt_us / 1e3, (double)t->rtt_min_us / 1e3, t->cwnd, t->retransmits,
		(double)t->pacing * 8 / 1e6, (double)t->delivery * 8 / 1e6,
		(double)t->acked_bytes / 1e3, (double)t->received_bytes / 1e3);
}
