/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The engine of other architectures, tested on every one: the same tests over net/aead_wolf.c. */
#define AEAD_WOLFCRYPT 1
#include "net/aead_wolf.c"
#include "net_aead_test.c"
