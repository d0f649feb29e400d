/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/list.h"

#include "test.h"

struct item {
	int number;
	struct list node;
};

static int number(struct list *l)
{
	return l ? container_of(l, struct item, node)->number : -1;
}

static void make(struct item *items, int count)
{
	for (int i = 0; i < count; i++) {
		items[i].number = i;
		list_init(&items[i].node);
	}
}

TEST(push_and_pop_are_first_in_first_out)
{
	struct item v[3];
	struct list head;

	make(v, 3);
	list_init(&head);
	check(list_empty(&head));
	for (int i = 0; i < 3; i++)
		list_push(&head, &v[i].node);
	for (int i = 0; i < 3; i++)
		check_eq(number(list_pop(&head)), i);
	check(list_pop(&head) == NULL);
}

TEST(push_front_goes_first)
{
	struct item v[2];
	struct list head;

	make(v, 2);
	list_init(&head);
	list_push(&head, &v[0].node);
	list_push_front(&head, &v[1].node);
	check_eq(number(list_pop(&head)), 1);
	check_eq(number(list_pop(&head)), 0);
}

TEST(removal_is_legal_twice)
{
	struct item v[2];
	struct list head;

	make(v, 2);
	list_init(&head);
	list_push(&head, &v[0].node);
	list_push(&head, &v[1].node);
	list_remove(&v[0].node);
	list_remove(&v[0].node);
	check_eq(number(head.next), 1);
	check(head.next == head.prev);
	list_push(&head, &v[0].node); /* and may be put back */
	check_eq(number(head.prev), 0);
}

TEST(a_safe_walk_may_remove)
{
	struct item v[4];
	struct list head;
	int seen = 0, left = 0;

	make(v, 4);
	list_init(&head);
	for (int i = 0; i < 4; i++)
		list_push(&head, &v[i].node);
	list_for_each_safe(it, &head) {
		seen++;
		if (number(it) % 2)
			list_remove(it);
	}
	list_for_each(it, &head)
		left += number(it);
	check_eq(seen, 4);
	check_eq(left, 2);
}
