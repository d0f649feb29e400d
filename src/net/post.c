/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/post.h"

enum {
	MSG_NEW_SESSION_TICKET = 4,
	MSG_KEY_UPDATE = 24,
	MSG_HEADER = 4,
	/* RFC 8446 4.6.1: two vectors of 64 KiB, one of 255 bytes, eight bytes, two lengths. */
	TICKET_MAX = 2 * 65535 + 255 + 8 + 5,
};

static enum post_event key_update(struct post *p, struct slice rest)
{
	/* RFC 8446 5.1: nothing may stand behind it in its record. */
	if (rest.len > 0 || p->head[MSG_HEADER] > 1)
		return POST_BAD;
	p->have = 0;
	return p->head[MSG_HEADER] ? POST_KEY_UPDATE_ASKED : POST_KEY_UPDATE;
}

enum post_event post_feed(struct post *p, struct slice payload, bool client)
{
	while (payload.len > 0) {
		size_t skip = p->skip < payload.len ? p->skip : payload.len;

		p->skip -= (uint32_t)skip;
		payload = slice_skip(payload, skip);
		if (payload.len == 0)
			break;
		p->head[p->have++] = (uint8_t)payload.ptr[0];
		payload = slice_skip(payload, 1);
		if (p->have < MSG_HEADER)
			continue;
		uint32_t len = (uint32_t)p->head[1] << 16 | (uint32_t)p->head[2] << 8 | p->head[3];

		if (p->have > MSG_HEADER)
			return key_update(p, payload);
		if (p->head[0] == MSG_KEY_UPDATE && len == 1)
			continue;
		if (p->head[0] != MSG_NEW_SESSION_TICKET || !client || len > TICKET_MAX)
			return POST_BAD;
		p->skip = len;
		p->have = 0;
	}
	return POST_NONE;
}
