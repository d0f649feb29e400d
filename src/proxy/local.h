/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Answers that need no registry: the redirect to https, ACME challenges, the admin listener. */
#pragma once

#include "proxy/xfer.h"

void local_http(struct xfer *x);
void local_admin(struct xfer *x);
