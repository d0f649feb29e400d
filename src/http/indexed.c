/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/indexed.h"

#include "base/assert.h"

/* Those that differ from answer to answer.  The first ones have marks; others may be secrets. */
static const struct slice fresh[] = {
	{ "ETag", 4 },     { "Docker-Content-Digest", 21 }, { "Content-Range", 13 },
	{ "Link", 4 },     { "WWW-Authenticate", 16 },      { "Set-Cookie", 10 },
	{ "Location", 8 },
};
/* A bit for each length that there is among them: most names end here. */
static const uint32_t lengths = 1U << 4 | 1U << 8 | 1U << 10 | 1U << 13 | 1U << 16 | 1U << 21;

/* Which of them it is; countof(fresh): none. */
static unsigned find(struct slice name)
{
	unsigned i = 0;

	if (name.len >= 32 || !(lengths >> name.len & 1))
		return countof(fresh);
	while (i < countof(fresh) && !slice_ieq(name, fresh[i]))
		i++;
	return i;
}

/* Differs for different values, nearly always. */
static uint32_t mark_of(struct slice value)
{
	uint64_t mark = value.len + 1, word;
	size_t i = 0;

	for (; value.len - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, value.ptr + i, sizeof(word));
		mark = (mark ^ word) * 0x9e3779b97f4a7c15;
		mark ^= mark >> 32;
	}
	for (; i < value.len; i++)
		mark = (mark ^ (unsigned char)value.ptr[i]) * 0x9e3779b97f4a7c15;
	return (uint32_t)(mark >> 32);
}

bool indexed_field(struct indexed *x, struct slice name, struct slice value)
{
	unsigned kind = find(name);
	uint32_t mark;
	bool again;

	if (kind == countof(fresh))
		return true;
	if (kind >= INDEXED_MARKS)
		return false;
	mark = mark_of(value);
	again = x->marks[kind] == mark;
	x->marks[kind] = mark;
	return again;
}
