/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Answers of the http listener, that need no registry: the redirect to https, ACME challenges. */
#pragma once

#include "proxy/xfer.h"

void local_http(struct xfer *x);
