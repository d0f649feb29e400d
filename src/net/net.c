/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/net.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/aead.h"

/* Buffers kept when nobody needs them: 64 small ones are 1.3 MB, 32 big ones 4 MB. */
enum { SMALL_KEPT = 64, BIG_KEPT = 32 };

int net_init(struct net *n, struct loop *l, struct stats *st, unsigned conns_max)
{
	*n = (struct net){ .loop = l, .stats = st };
	pool_init(&n->small, "net_small", NET_SMALL_BYTES, conns_max, SMALL_KEPT);
	pool_init(&n->big, "net_big", NET_BIG_BYTES, conns_max, BIG_KEPT);
	/* A receive must fit behind the largest record that is not whole. */
	if (loop_rx_buf_bytes(l) > NET_SMALL_BYTES - TLS_RECORD_MAX)
		return -EINVAL;
	n->aead = aead_engine_new();
	n->plain = aligned_alloc(64, NET_PLAIN_BYTES);
	n->sealed = aligned_alloc(64, NET_SEALED_BYTES);
	if (n->aead && n->plain && n->sealed)
		return 0;
	net_fini(n);
	return -ENOMEM;
}

void net_fini(struct net *n)
{
	pipes_fini(&n->pipes);
	pool_fini(&n->small);
	pool_fini(&n->big);
	aead_engine_free(n->aead);
	free(n->plain);
	free(n->sealed);
	*n = (struct net){ 0 };
}

void net_log_engines(const struct net *n)
{
	static const char *const names[AEAD_CIPHERS] = { "AES_128_GCM", "AES_256_GCM",
							 "CHACHA20_POLY1305" };

	for (int c = 0; c < AEAD_CIPHERS; c++)
		log_info("records cipher=%s engine=\"%s\" seals_mb_s=%.0f", names[c],
			 aead_engine_name(n->aead, (enum aead_cipher)c),
			 aead_engine_rate((enum aead_cipher)c) / 1e6);
}
