/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/pool.h"

#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { ALIGN = 64 };

struct pool_block {
	struct pool_block *next;
};

void pool_init(struct pool *p, const char *name, size_t block_bytes, unsigned out_max,
	       unsigned kept_max)
{
	assert(block_bytes >= sizeof(struct pool_block));
	*p = (struct pool){
		.name = name,
		.block_bytes = (block_bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1),
		.out_max = out_max,
		.kept_max = kept_max,
	};
}

static struct pool_block *pool_pop(struct pool *p)
{
	struct pool_block *b = p->free;

	ASAN_UNPOISON_MEMORY_REGION(b, p->block_bytes);
	p->free = b->next;
	p->kept--;
	return b;
}

void pool_fini(struct pool *p)
{
	assert(p->out == 0);
	while (p->free)
		free(pool_pop(p));
	assert(p->kept == 0);
}

void *pool_get(struct pool *p)
{
	void *b;

	if (p->out == p->out_max)
		return NULL;
	b = p->free ? pool_pop(p) : aligned_alloc(ALIGN, p->block_bytes);
	if (b)
		p->out++;
	return b;
}

void pool_put(struct pool *p, void *block)
{
	struct pool_block *b = block;

	assert(block != NULL);
	assert(p->out > 0);
	p->out--;
	if (p->kept == p->kept_max) {
		free(block);
		return;
	}
	b->next = p->free;
	p->free = b;
	p->kept++;
	ASAN_POISON_MEMORY_REGION(b, p->block_bytes);
}
