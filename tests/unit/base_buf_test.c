/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/buf.h"

#include "test.h"

static bool holds(const struct buf *b, const char *text)
{
	return slice_eq(buf_data(b), slice_of(text));
}

TEST(bytes_come_out_as_they_went_in)
{
	char mem[8];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	check(buf_append(&b, SLICE("abcd")));
	buf_take(&b, 2);
	check(holds(&b, "cd"));
	memcpy(buf_tail(&b), "ef", 2);
	buf_grew(&b, 2);
	check(holds(&b, "cdef"));
}

TEST(an_emptied_buffer_has_all_its_room)
{
	char mem[4];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	check(buf_append(&b, SLICE("abcd")));
	check_eq(buf_room(&b), 0);
	buf_take(&b, 4);
	check_eq(buf_room(&b), 4);
}

TEST(append_moves_the_data_when_it_must)
{
	char mem[6];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	check(buf_append(&b, SLICE("abcdef")));
	buf_take(&b, 4);
	check(buf_append(&b, SLICE("ghij")));
	check(holds(&b, "efghij"));
}

TEST(append_is_all_or_nothing)
{
	char mem[4];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	check(buf_append(&b, SLICE("ab")));
	check(!buf_append(&b, SLICE("cde")));
	check(holds(&b, "ab"));
	check(buf_append(&b, SLICE_NONE));
	check(holds(&b, "ab"));
}

TEST(printf_is_all_or_nothing)
{
	char mem[8];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	check(buf_printf(&b, "%d", 1234));
	check(!buf_printf(&b, "%d", 56789));
	check(holds(&b, "1234"));
	buf_take(&b, 3);
	check(buf_printf(&b, "%d", 567890)); /* with the NUL that is not kept: 1 + 6 + 1 */
	check(holds(&b, "4567890"));
}

TEST(no_memory_is_no_buffer)
{
	struct buf b;

	buf_init(&b, NULL, 0);
	check_eq(buf_len(&b), 0);
	check(!buf_append(&b, SLICE("a")));
	check(buf_append(&b, SLICE("")));
}
