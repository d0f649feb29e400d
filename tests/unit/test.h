/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A unit test is a program: it includes this header once, defines tests, and has no main.
 *
 *	TEST(buf_wraps)                         the name says what it proves
 *	{
 *		check(buf_len(&b) > 0);         prints and counts a failure, goes on
 *		check_eq(buf_len(&b), 3);       integers; both values are printed
 *		check_str(name, "x");           strings, NULL allowed
 *		check_mem(p, "abc", 3);         bytes
 *		require(p);                     as check, but leaves the test
 *		skip("no IPv6 here");           leaves the test, not counted
 *	}
 *
 * The output is TAP.  Arguments pick tests: those whose name contains one of them.
 */
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct test_case {
	const char *name;
	void (*run)(void);
	struct test_case *next;
};

static struct test_case *test_first, **test_last = &test_first;
static int test_bad;          /* failed checks in the test that runs */
static const char *test_skip; /* why it was not run, or NULL */

#define TEST(fn)                                                                                   \
	static void fn(void);                                                                      \
	static struct test_case fn##_case = { #fn, fn, NULL };                                     \
	__attribute__((constructor)) static void fn##_add(void)                                    \
	{                                                                                          \
		*test_last = &fn##_case;                                                           \
		test_last = &fn##_case.next;                                                       \
	}                                                                                          \
	static void fn(void)

#define check(cond) test_true(!!(cond), __FILE__, __LINE__, #cond)
#define check_eq(a, b) test_eq((intmax_t)(a), (intmax_t)(b), __FILE__, __LINE__, #a " == " #b)
#define check_str(a, b) test_str(a, b, __FILE__, __LINE__, #a)
#define check_mem(a, b, bytes) check(memcmp(a, b, bytes) == 0)
#define require(cond)                                                                              \
	do {                                                                                       \
		if (!check(cond))                                                                  \
			return;                                                                    \
	} while (0)
#define skip(why)                                                                                  \
	do {                                                                                       \
		test_skip = (why);                                                                 \
		return;                                                                            \
	} while (0)

static inline bool test_true(bool ok, const char *file, int line, const char *text)
{
	if (!ok) {
		printf("# %s:%d: false: %s\n", file, line, text);
		test_bad++;
	}
	return ok;
}

static inline bool test_eq(intmax_t a, intmax_t b, const char *file, int line, const char *text)
{
	if (a != b)
		printf("# %s:%d: %jd is not %jd\n", file, line, a, b);
	return test_true(a == b, file, line, text);
}

static inline bool test_str(const char *a, const char *b, const char *file, int line,
			    const char *text)
{
	bool same = a == b || (a && b && strcmp(a, b) == 0);

	if (!same)
		printf("# %s:%d: \"%s\" is not \"%s\"\n", file, line, a ? a : "(NULL)",
		       b ? b : "(NULL)");
	return test_true(same, file, line, text);
}

static inline int test_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st, (void)kind, (void)at;
	return remove(path);
}

/* A folder and all that is in it. */
static inline void test_remove(const char *dir)
{
	nftw(dir, test_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline bool test_is_wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return argc < 2;
}

int main(int argc, char **argv)
{
	int run = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0); /* a crash loses no line */
	for (struct test_case *t = test_first; t; t = t->next) {
		if (!test_is_wanted(t->name, argc, argv))
			continue;
		test_bad = 0;
		test_skip = NULL;
		t->run();
		failed += test_bad > 0;
		printf("%sok %d - %s%s%s\n", test_bad ? "not " : "", ++run, t->name,
		       test_skip ? " # SKIP " : "", test_skip ? test_skip : "");
	}
	printf("1..%d\n", run);
	return failed > 0 || run == 0;
}
