/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proxy/put.h"

#include <stdlib.h>

void put_uint(cJSON *to, const char *key, uint64_t n)
{
	(void)cJSON_AddNumberToObject(to, key, (double)n);
}

void put_text(cJSON *to, const char *key, struct slice s)
{
	char *text = strndup(s.ptr ? s.ptr : "", s.len);

	(void)cJSON_AddStringToObject(to, key, text ? text : "");
	free(text);
}
