/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/err.h"

#include <errno.h>

#include "test.h"

TEST(every_code_has_a_text)
{
	check_str(err_text(ERR_DIGEST), "digest differs");
	check_str(err_text(-ENOENT), "No such file or directory");
	check_str(err_text(0), "no error");
	check_str(err_text(5), "no error");
	check_str(err_text(-999999), "unknown error");
}

TEST(our_codes_are_apart_from_errno)
{
#define X(name, code, text)                                                                        \
	check((code) < -1000);                                                                     \
	check_str(err_text(name), text);
	ERR_LIST(X)
#undef X
}
