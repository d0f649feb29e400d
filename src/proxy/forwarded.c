/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/forwarded.h"

#include "config/nets.h"

bool forwarded_trusts(const struct conf_nets *trusted, const struct addr *a)
{
	uint8_t ip[16];

	if (trusted->count == 0)
		return false;
	addr_ip(a, ip);
	return nets_match(trusted, ip) >= 0;
}

/* Takes the last item off a list with commas. */
static struct slice cut_last(struct slice *list)
{
	size_t at = list->len;
	struct slice last;

	while (at > 0 && list->ptr[at - 1] != ',')
		at--;
	last = slice_trim(slice_skip(*list, at));
	*list = slice_first(*list, at > 0 ? at - 1 : 0);
	return last;
}

void forwarded_find(const struct msg *m, const struct conf_nets *trusted, struct addr *client)
{
	if (!forwarded_trusts(trusted, client))
		return;
	for (unsigned i = m->fields_count; i-- > 0;) {
		struct slice list = m->fields[i].value;

		if (!slice_ieq(m->fields[i].name, SLICE("X-Forwarded-For")))
			continue;
		while (list.len) {
			struct addr a;

			if (addr_parse_ip(cut_last(&list), &a) != 0)
				return;
			*client = a;
			if (!forwarded_trusts(trusted, client))
				return;
		}
	}
}
