/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/err.h"

#include <string.h>

const char *err_text(int err)
{
	const char *text;

	switch (err) {
#define X(name, code, words)                                                                       \
	case name: return words;
		ERR_LIST(X)
#undef X
	}
	if (err >= 0)
		return "no error";
	text = strerrordesc_np(-err);
	return text ? text : "unknown error";
}
