/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The end of a client's token. */
#include "proxy/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	assert(gate_life_ms((struct slice){ (const char *)data, size }, 1000) <= GATE_LIFE_MAX_MS);
	return 0;
}
