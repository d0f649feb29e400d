/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Assertions that stay on in every build.  An assertion states what our own code guarantees; bytes
 * from outside are parsed, never asserted.  A failed one prints file:line and aborts.
 */
#pragma once

_Noreturn void assert_failed(const char *file, int line, const char *what);

#undef assert
#define assert(cond) ((cond) ? (void)0 : assert_failed(__FILE__, __LINE__, #cond))
#define unreachable(why) assert_failed(__FILE__, __LINE__, "unreachable: " why)

/* Checks too dear for production: list walks, whole-object checks on every turn. */
#ifdef SLOW_CHECKS
#define assert_slow(cond) assert(cond)
#else
#define assert_slow(cond) ((void)0)
#endif

#define must_check __attribute__((warn_unused_result))
#define cold __attribute__((cold, noinline))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define countof(a) (sizeof(a) / sizeof((a)[0]))
