/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/board.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/proxy.h"
#include "proxy/pull.h"

static void board_publish(struct timer *t)
{
	struct board *b = container_of(t, struct board, timer);
	struct proxy *p = container_of(b, struct proxy, board);

	pthread_mutex_lock(&b->lock);
	b->view->top = b->top;
	b->view->fills_shown = pulls_look(p, b->view->fills, BOARD_FILLS);
	b->view->fills_count = p->pulls_count;
	pthread_mutex_unlock(&b->lock);
	if (p->pulls_count > 0)
		board_stir(p);
}

int board_init(struct board *b)
{
	timer_init(&b->timer, board_publish);
	pthread_mutex_init(&b->lock, NULL);
	b->view = calloc(1, sizeof(*b->view));
	return b->view ? 0 : -ENOMEM;
}

void board_fini(struct board *b)
{
	free(b->view);
	b->view = NULL;
}

void board_stir(struct proxy *p)
{
	if (!timer_armed(&p->board.timer))
		loop_timer_set(p->loop, &p->board.timer, proxy_now(p) + BOARD_MS);
}

void board_note(struct proxy *p, struct slice mirror, struct slice repo, uint64_t bytes)
{
	top_add(&p->board.top, mirror, repo, 1, bytes);
	board_stir(p);
}

void board_look(struct board *b, struct board_view *out)
{
	pthread_mutex_lock(&b->lock);
	*out = *b->view;
	pthread_mutex_unlock(&b->lock);
}
