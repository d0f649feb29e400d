/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tune/links.h"

#include <dirent.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tune/hostfs.h"
#include "tune/netlink.h"

static const char links_file[] = "/links", initcwnd_file[] = "/initcwnd";

/* Folders in sys/class/net/NAME/queues that begin with <kind>. */
static unsigned count_queues(const char *root, const char *link, const char *kind)
{
	char path[HOST_PATH_MAX], full[HOST_PATH_MAX];
	unsigned n = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/class/net/%s/queues", link);
	d = hostfs_path(full, root, path) ? opendir(full) : NULL;
	while (d && (e = readdir(d)))
		n += strncmp(e->d_name, kind, strlen(kind)) == 0;
	if (d)
		closedir(d);
	return n;
}

static bool has_device(const char *root, const char *link)
{
	char path[HOST_PATH_MAX];

	snprintf(path, sizeof(path), "/sys/class/net/%s/device", link);
	return hostfs_exists(root, path);
}

static struct link *link_add(struct links *out, const char *root, const char *name)
{
	struct link *l = &out->v[out->count];

	if (out->count == LINKS_MAX) {
		out->more++;
		return NULL;
	}
	out->count++;
	*l = (struct link){ 0 };
	snprintf(l->name, sizeof(l->name), "%s", name);
	l->hardware = has_device(root, name);
	l->rx_queues = count_queues(root, name, "rx-");
	l->tx_queues = count_queues(root, name, "tx-");
	return l;
}

/* A made-up host. */

static int from_file(const char *root, struct links *out)
{
	char *text = hostfs_slurp(root, links_file), *save = NULL;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		char name[LINK_NAME_MAX], qdisc[QDISC_NAME_MAX], leaf[QDISC_NAME_MAX], more[64];
		unsigned handle;
		struct link *l;

		if (sscanf(line, "%15s %15s %15s %x %63s", name, qdisc, leaf, &handle, more) != 5) {
			free(text);
			return -EINVAL;
		}
		l = link_add(out, root, name);
		if (!l)
			continue;
		memcpy(l->qdisc, qdisc, sizeof(qdisc));
		memcpy(l->leaf, leaf, sizeof(leaf));
		l->by_hand = handle != 0;
		l->offloads_known = true;
		l->gro = strstr(more, "gro");
		l->gso = strstr(more, "gso");
		l->tso = strstr(more, "tso");
	}
	free(text);
	return 0;
}

static int to_file(const char *root, const struct link *changed, const char *kind, bool by_hand)
{
	struct links all = { .count = 0 };
	char text[LINKS_MAX * 128];
	size_t len = 0;
	int err = from_file(root, &all);

	for (unsigned i = 0; i < all.count && err == 0; i++) {
		struct link *l = &all.v[i];

		if (strcmp(l->name, changed->name) == 0) {
			bool mq = strcmp(l->qdisc, "mq") == 0;

			snprintf(mq ? l->leaf : l->qdisc, QDISC_NAME_MAX, "%s", kind);
			l->by_hand = by_hand;
		}
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s %s %x -%s%s%s\n",
					l->name, l->qdisc, l->leaf, l->by_hand ? 0x80010000 : 0,
					l->gro ? ",gro" : "", l->gso ? ",gso" : "",
					l->tso ? ",tso" : "");
	}
	return err == 0 ? hostfs_replace(root, links_file, text) : err;
}

/* This machine. */

static void take_link(void *arg, struct nlmsghdr *h)
{
	const struct ifinfomsg *i = NLMSG_DATA(h);
	char name[LINK_NAME_MAX];
	struct link *l;

	if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof(*i)))
		return;
	netlink_text(h, sizeof(*i), IFLA_IFNAME, name, sizeof(name));
	if (!(i->ifi_flags & IFF_UP) || i->ifi_flags & IFF_LOOPBACK || !name[0])
		return;
	l = link_add(arg, "", name);
	if (l)
		l->index = i->ifi_index;
}

static void take_qdisc(void *arg, struct nlmsghdr *h)
{
	const struct tcmsg *t = NLMSG_DATA(h);
	struct links *all = arg;
	char kind[QDISC_NAME_MAX];

	if (h->nlmsg_type != RTM_NEWQDISC || h->nlmsg_len < NLMSG_LENGTH(sizeof(*t)))
		return;
	netlink_text(h, sizeof(*t), TCA_KIND, kind, sizeof(kind));
	for (unsigned i = 0; i < all->count; i++) {
		struct link *l = &all->v[i];

		if (l->index != t->tcm_ifindex || t->tcm_parent == TC_H_INGRESS)
			continue;
		if (t->tcm_parent == TC_H_ROOT) {
			memcpy(l->qdisc, kind, sizeof(kind));
			l->by_hand = t->tcm_handle != 0;
		} else if (!l->leaf[0]) {
			memcpy(l->leaf, kind, sizeof(kind));
		} else if (strcmp(l->leaf, kind) != 0) {
			snprintf(l->leaf, sizeof(l->leaf), "mixed");
		}
	}
}

static bool ethtool_get(int fd, const char *link, uint32_t command, bool *on)
{
	struct ethtool_value v = { .cmd = command };
	struct ifreq r = { 0 };

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", link);
	r.ifr_data = (void *)&v;
	if (ioctl(fd, SIOCETHTOOL, &r) < 0)
		return false;
	*on = v.data != 0;
	return true;
}

static void find_offloads(struct links *all)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (unsigned i = 0; i < all->count && fd >= 0; i++) {
		struct link *l = &all->v[i];

		l->offloads_known = ethtool_get(fd, l->name, ETHTOOL_GGRO, &l->gro) &&
				    ethtool_get(fd, l->name, ETHTOOL_GGSO, &l->gso) &&
				    ethtool_get(fd, l->name, ETHTOOL_GTSO, &l->tso);
	}
	if (fd >= 0)
		close(fd);
}

/* One question to rtnetlink. */
static int ask_route(struct netlink_request *r, netlink_take *take, void *arg)
{
	struct netlink *n = netlink_open(NETLINK_ROUTE);
	int err;

	if (!n)
		return -errno;
	err = netlink_ask(n, r, take, arg);
	netlink_close(n);
	return err;
}

int links_find(const char *root, struct links *out)
{
	struct ifinfomsg link = { .ifi_family = AF_UNSPEC };
	struct tcmsg qdisc = { .tcm_family = AF_UNSPEC };
	struct netlink_request r;
	int err;

	*out = (struct links){ .count = 0 };
	if (root[0])
		return from_file(root, out);
	netlink_begin(&r, RTM_GETLINK, NLM_F_DUMP, &link, sizeof(link));
	err = ask_route(&r, take_link, out);
	netlink_begin(&r, RTM_GETQDISC, NLM_F_DUMP, &qdisc, sizeof(qdisc));
	if (err == 0)
		err = ask_route(&r, take_qdisc, out);
	find_offloads(out);
	return err;
}

const char *link_sends_by(const struct link *l)
{
	return strcmp(l->qdisc, "mq") == 0 && l->leaf[0] ? l->leaf : l->qdisc;
}

static int change_qdisc(int index, uint16_t type, uint16_t flags, const char *kind)
{
	struct tcmsg t = { .tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_parent = TC_H_ROOT };
	struct netlink_request r;

	netlink_begin(&r, type, flags, &t, sizeof(t));
	if (kind)
		netlink_attr(&r, TCA_KIND, kind, strlen(kind) + 1);
	return ask_route(&r, NULL, NULL);
}

int link_set_qdisc(const char *root, const struct link *l, const char *kind)
{
	if (root[0])
		return to_file(root, l, kind, true);
	/* A new mq gives each of its queues the default. */
	if (strcmp(l->qdisc, "mq") == 0)
		kind = "mq";
	return change_qdisc(l->index, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, kind);
}

int link_reset_qdisc(const char *root, const struct link *l)
{
	char kind[HOST_VALUE_MAX];
	int err;

	if (root[0]) {
		err = hostfs_read(root, "/proc/sys/net/core/default_qdisc", kind);
		return err == 0 ? to_file(root, l, kind, false) : err;
	}
	/* One that the kernel chose by itself cannot be deleted, but replaced, and then deleted. */
	if (!l->by_hand) {
		err = change_qdisc(l->index, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, "pfifo");
		if (err < 0)
			return err;
	}
	return change_qdisc(l->index, RTM_DELQDISC, 0, NULL);
}

struct route_found {
	bool any;
	uint32_t initcwnd;
};

static void take_route(void *arg, struct nlmsghdr *h)
{
	const struct rtmsg *m = NLMSG_DATA(h);
	struct route_found *f = arg;
	void *first, *metrics, *at;
	size_t bytes, len, room;

	if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) ||
	    m->rtm_dst_len != 0 || m->rtm_table != RT_TABLE_MAIN || m->rtm_type != RTN_UNICAST ||
	    f->any)
		return;
	f->any = true;
	first = netlink_attrs(h, sizeof(*m), &bytes);
	metrics = netlink_find(first, bytes, RTA_METRICS, &room);
	at = metrics ? netlink_find(metrics, room, RTAX_INITCWND, &len) : NULL;
	if (at && len >= sizeof(f->initcwnd))
		memcpy(&f->initcwnd, at, sizeof(f->initcwnd));
}

int links_initcwnd(const char *root)
{
	struct rtmsg m = { .rtm_family = AF_INET };
	struct route_found f = { 0 };
	struct netlink_request r;
	int err;

	if (root[0]) {
		char text[HOST_VALUE_MAX];

		err = hostfs_read(root, initcwnd_file, text);
		return err == 0 ? (int)strtol(text, NULL, 10) : err;
	}
	netlink_begin(&r, RTM_GETROUTE, NLM_F_DUMP, &m, sizeof(m));
	err = ask_route(&r, take_route, &f);
	if (err < 0)
		return err;
	return f.any ? (int)(f.initcwnd & 0xffff) : -ENOENT;
}

enum { TRY_YES, TRY_NO, TRY_UNKNOWN };

int links_try_qdisc(const char *kind)
{
	int status;
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (child == 0) {
		int err;

		if (unshare(CLONE_NEWNET) < 0)
			_exit(TRY_UNKNOWN);
		err = change_qdisc(1, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, kind); /* lo */
		_exit(err == 0 ? TRY_YES : err == -ENOENT ? TRY_NO : TRY_UNKNOWN);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (!WIFEXITED(status) || WEXITSTATUS(status) == TRY_UNKNOWN)
		return -EPERM;
	return WEXITSTATUS(status) == TRY_YES;
}
